/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever reads standard output, for verbs that go on for long: `hivemind logs -f ID | head` is to end when head has, and not
 * only when there is something to write again.
 */
#ifndef CLI_READER_H
#define CLI_READER_H

#include <stdbool.h>

#include <uv.h>

struct cli;

struct cli_reader {
    uv_poll_t poll;
    int epoll_fd;
    bool watched;
    bool gone;
    void (*on_gone)(void *ctx);
    void *ctx;
};

/* What a program ends with whose reader has left, without a word: as a shell shows SIGPIPE. */
enum { EXIT_READER_GONE = 128 + 13 };

/* After cli_connect(). `on_gone` is called once, from the loop, when nobody can read standard output any more. */
void reader_watch(struct cli *cli, void (*on_gone)(void *ctx), void *ctx);
/* It is not called any more; whether it was, or writing found the same, stays in cli->reader.gone. */
void reader_unwatch(struct cli *cli);
/* After a failed write: notes in cli->reader.gone if it failed because nobody reads, as long as that is watched. */
bool reader_has_left(struct cli *cli, int write_errno);

#endif
