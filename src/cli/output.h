/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes to standard output. Texts that come from tasks and nodes are made harmless where a person reads them: control
 * characters would let a task write to the terminal whatever it likes.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/cli.h"
#include "taskworker.pb-c.h"

/* Flushes standard output; `code`, or EXIT_TROUBLE after a message if not all of it could be written. */
int output_finish(struct cli *cli, int code);

/*
 * Tasks do not have to end what they print in a newline. output_left() keeps in mind whether they did; output_begin_line() starts
 * a new line where one is open, which is the same one for both streams if they lead to the same terminal or file.
 */
void output_left(struct cli *cli, FILE *out, bool mid_line);
void output_begin_line(struct cli *cli, FILE *out);

/* Text on one line, control characters as spaces. */
void output_text(FILE *out, const char *text);
/* Text of several lines, each with this indent. */
void output_block(FILE *out, const char *text, const char *indent);

/*
 * Bytes of a task, piece by piece: as they are, or (`safe`, for terminals) with control characters other than newline, tab
 * and carriage return shown as U+FFFD. A character may be cut by the end of a piece.
 */
struct output_stream {
    FILE *out;
    bool safe;
    uint8_t held[4]; /* the beginning of a character whose end is still to come */
    size_t n_held;
    bool mid_line; /* the last byte was no newline */
};
void output_stream_init(struct output_stream *s, FILE *out, bool raw);
void output_stream_write(struct output_stream *s, const void *data, size_t len);
/* What was held back, and everything to the file. 0, or -1 if that failed. */
int output_stream_flush(struct output_stream *s);

/* One compact JSON object on a line of its own; takes it over. 0, or -1 (also for NULL). */
int output_json(FILE *out, json_t *object);
/*
 * The same with a result in the field "result": as it stands if it is `json` (it is checked, since tasks can forge it), else
 * as json_set_bytes does.
 */
int output_json_result(FILE *out, json_t *object, const ProtobufCBinaryData *result, bool json);
/* A string; bytes that are no UTF-8 are replaced. */
json_t *json_text(const char *s);
/* {"data":"..."} or, for what is not UTF-8, {"data_base64":"..."}; into an object. 0 or -1. */
int json_set_bytes(json_t *object, const char *key, const void *data, size_t len);
json_t *json_task(const Taskworker__Task *task);
json_t *json_attempt(const Taskworker__Attempt *attempt);

/* Names: "RUNNING", "timeout_wall"; "?" for a number that this program does not know. */
const char *task_state_name(Taskworker__Task__State state);
const char *task_reason_name(Taskworker__Task__Reason reason, char out[32]);
bool task_has_ended(const Taskworker__Task *task);
/* What run, result and wait exit with for a task that ended like this. */
int task_exit_code(const Taskworker__Task *task);

/* Colours, empty when there are none. */
const char *color_of_state(const struct cli *cli, Taskworker__Task__State state);
const char *color_off(const struct cli *cli);

/* "350ms", "12.3s", "5m02s", "3h12m", "4d03h" */
const char *format_span(uint64_t us, char out[32]);
/* "512 B", "1.5 MiB" */
const char *format_bytes(uint64_t bytes, char out[32]);

#endif
