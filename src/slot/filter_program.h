/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes programs for seccomp (classic BPF, Documentation/networking/filter.rst): instructions with labels to jump to, and a
 * search tree over the numbers of system calls. Jumps go forward only, and 255 instructions at most; whatever does not fit is
 * reported by filter_finish() and not before.
 */
#ifndef SLOT_FILTER_PROGRAM_H
#define SLOT_FILTER_PROGRAM_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FILTER_CODE_MAX = 600, FILTER_LABELS_MAX = 600 };

/* The caller's own labels are 1 and up, below FILTER_LABELS_OWN. */
enum { FILTER_NEXT = 0, FILTER_LABELS_OWN = 32 };

struct filter_program {
    struct sock_filter code[FILTER_CODE_MAX];
    uint16_t yes[FILTER_CODE_MAX], no[FILTER_CODE_MAX]; /* labels; both are FILTER_NEXT where nothing jumps */
    uint16_t at[FILTER_LABELS_MAX]; /* the instruction of a label; 0, where none can jump to: not placed */
    size_t n;
    uint16_t labels; /* given out by the tree */
    bool too_long;
};

/* Loads the word at this offset of struct seccomp_data. */
void filter_load(struct filter_program *p, size_t offset);
/* op: BPF_JEQ, BPF_JGE, BPF_JSET. Goes to a label or on (FILTER_NEXT). */
void filter_jump(struct filter_program *p, int op, uint32_t value, uint16_t yes, uint16_t no);
void filter_return(struct filter_program *p, uint32_t value);
/* The next instruction is what the label stands for. */
void filter_label(struct filter_program *p, uint16_t label);

/* Goes to label_of[k], where k is what is loaded, and to `beyond` from n on. */
void filter_dispatch(struct filter_program *p, const uint8_t *label_of, uint32_t n, uint16_t beyond);

/* The program in memory of its own (free ret->filter). -E2BIG: too long, or a jump too far; -EINVAL: a label without a place. */
int filter_finish(struct filter_program *p, struct sock_fprog *ret);

#endif
