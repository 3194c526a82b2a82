/* SPDX-License-Identifier: Apache-2.0 */
/* An index over a serialized google.protobuf.FileDescriptorSet: which file defines what. The bytes are borrowed. */
#ifndef RPC_DESCRIPTORS_H
#define RPC_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"

enum { DESCRIPTOR_FILES_MAX = 64 };

struct descriptor_file {
    const uint8_t *data; /* a serialized FileDescriptorProto */
    size_t len;
    char *name;
};

struct descriptor_symbol {
    size_t file; /* index */
    bool is_message;
    struct descriptor_symbol *next;
    char name[];
};

struct descriptor_extension {
    size_t file;
    int32_t number;
    struct descriptor_extension *next;
    char extendee[]; /* without the leading dot */
};

struct descriptors {
    struct descriptor_file files[DESCRIPTOR_FILES_MAX];
    size_t n_files;
    struct map by_symbol; /* full name -> struct descriptor_symbol */
    struct descriptor_symbol *symbols;
    struct descriptor_extension *extensions;
};

/* 0, -EBADMSG (not a descriptor set), -E2BIG (too many files) or -ENOMEM. On failure, too, done must be called. */
int descriptors_init(struct descriptors *d, const uint8_t *set, size_t len);
void descriptors_done(struct descriptors *d);

/* The index of a file, -1 if there is none. */
ptrdiff_t descriptors_file(const struct descriptors *d, const char *name);
ptrdiff_t descriptors_extension(const struct descriptors *d, const char *extendee, int32_t number);
/* NULL if there is none. Services, methods, messages, fields, oneofs, enums, enum values. */
const struct descriptor_symbol *descriptors_symbol(const struct descriptors *d, const char *full_name);

/* The file and everything that it imports, each once, what is imported first; returns how many. */
size_t descriptors_with_imports(const struct descriptors *d, size_t file, size_t ret[DESCRIPTOR_FILES_MAX]);

#endif
