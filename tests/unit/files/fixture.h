/* SPDX-License-Identifier: Apache-2.0 */
/* A storage in a folder of its own, and calls that end the test where they go wrong. */
#ifndef FILES_FIXTURE_H
#define FILES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <taskworker/storage.h>

#include "base/util.h"

struct fixture {
    char folder[64], path[80]; /* path: of the storage, in the folder */
    struct tw_storage_options options;
    struct tw_storage *s;
    struct tw_error error;
};

/* Nothing is open; options.no_background is set. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);
/* The code of the error; the error is in f->error. */
enum tw_code fixture_open_fails(struct fixture *f);

/* A whole put; the code of the error, or TW_OK. */
enum tw_code fixture_put(struct fixture *f, const char *owner, const char *name, const void *data, size_t len);
static inline enum tw_code fixture_put_text(struct fixture *f, const char *owner, const char *name, const char *text)
{
    return fixture_put(f, owner, name, text, strlen(text));
}
/* Opened and read to the end in pieces; compares with `data` where it goes well. */
enum tw_code fixture_get(struct fixture *f, const char *owner, const char *name, const void *data, size_t len);
static inline enum tw_code fixture_get_text(struct fixture *f, const char *owner, const char *name, const char *text)
{
    return fixture_get(f, owner, name, text, strlen(text));
}
enum tw_code fixture_delete(struct fixture *f, const char *owner, const char *name);
/* It has to be there; release it. */
struct tw_file_info fixture_find(struct fixture *f, const char *owner, const char *name);
struct tw_storage_stat fixture_stat(struct fixture *f, const char *owner);
struct tw_storage_gc_report fixture_gc(struct fixture *f);
struct tw_fsck_report fixture_fsck(struct fixture *f);

/* Files below the storage's `folder` ("blobs", "tmp"), at any depth. */
size_t fixture_count(struct fixture *f, const char *folder);
/* Where the content with this hash lies. */
void fixture_blob_path(struct fixture *f, const char *sha256, char ret[200]);
/* fsck finds nothing, gc nothing that no crash explains; after it the folder holds what the database says and no more. */
void fixture_assert_sound(struct fixture *f);
/* Changes the byte at `at` of a content; it keeps its size. */
void fixture_corrupt(struct fixture *f, const char *sha256, size_t at);

/* Bytes that look like nothing, the same for the same seed. */
void fixture_fill(void *data, size_t len, uint64_t seed);

#endif
