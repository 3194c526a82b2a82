/* SPDX-License-Identifier: Apache-2.0 */
/* Text: UTF-8, hostile bytes made showable, copies. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Valid UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool text_is_utf8(const void *data, size_t len);

/* Decodes one code point of valid UTF-8 at s (s < end) and returns its length in bytes; 0 if it is not valid there. */
size_t text_decode_utf8(const uint8_t *s, const uint8_t *end, uint32_t *ret);

/* C0, DEL, C1, line and paragraph separators, and the characters that reorder or hide text. */
bool text_is_control(uint32_t code_point);
/* Whether one of them is in a valid UTF-8 text. */
bool text_has_control(const char *s, size_t len);

/*
 * Copies at most `max` bytes of hostile text into a new string that can be shown: invalid bytes become U+FFFD, control
 * characters other than newline and tab become spaces. What is longer is cut in front (`keep_end`) or behind. NULL: no memory.
 */
char *text_printable(const void *data, size_t len, size_t max, bool keep_end);

/* The same for one line of a message or log: newlines and tabs become spaces as well, and what is too long is cut behind. */
char *text_line(const void *data, size_t len, size_t max);

/* A copy of len bytes with a NUL behind; NULL: no memory. */
char *text_dup(const void *data, size_t len);

/* Lower-case hex of len bytes into out, which holds 2 * len + 1. */
void text_hex(const void *data, size_t len, char *out);

#endif
