/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads descriptors straight from their wire form, as far as names go: the numbers of the fields are those of
 * google/protobuf/descriptor.proto.
 */
#include "rpc/descriptors.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "base/util.h"

enum { NAME_MAX_LEN = 500, NESTING_MAX = 32 };

/* One field of a message: its number, and its bytes or its value. */
struct field {
    uint32_t number;
    const uint8_t *data; /* NULL: a number */
    size_t len;
    uint64_t value;
};

static bool read_varint(struct cursor *c, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte;
        if (!cursor_u8(c, &byte))
            return false;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = v;
            return true;
        }
    }
    c->bad = true;
    return false;
}

/* False at the end, and at what is no message (then c->bad is set). */
static bool next_field(struct cursor *c, struct field *f)
{
    uint64_t tag, len;
    const uint8_t *skipped;
    while (c->left && read_varint(c, &tag)) {
        *f = (struct field){.number = (uint32_t)(tag >> 3)};
        switch (tag & 7) {
        case 0:
            return read_varint(c, &f->value);
        case 1:
            (void)cursor_bytes(c, 8, &skipped);
            break;
        case 2:
            if (!read_varint(c, &len) || !cursor_bytes(c, len, &f->data))
                return false;
            f->len = len;
            return true;
        case 5:
            (void)cursor_bytes(c, 4, &skipped);
            break;
        default:
            c->bad = true;
        }
        if (c->bad)
            return false;
    }
    return false;
}

/* The string in a field of a message; "" if it has none. Returns 0, -EBADMSG or -E2BIG. */
static int find_string(const uint8_t *data, size_t len, uint32_t number, char out[NAME_MAX_LEN])
{
    struct cursor c = cursor_of(data, len);
    struct field f;
    out[0] = '\0';
    while (next_field(&c, &f)) {
        if (f.number != number || !f.data)
            continue;
        if (f.len >= NAME_MAX_LEN)
            return -E2BIG;
        memcpy(out, f.data, f.len);
        out[f.len] = '\0';
    }
    return c.bad ? -EBADMSG : 0;
}

static int add_symbol(struct descriptors *d, size_t file, const char *name, bool is_message)
{
    size_t size = strlen(name) + 1;
    struct descriptor_symbol *s = calloc(1, sizeof *s + size);
    if (!s)
        return -ENOMEM;
    s->file = file;
    s->is_message = is_message;
    memcpy(s->name, name, size);
    s->next = d->symbols;
    d->symbols = s;
    int r = map_put(&d->by_symbol, s->name, s);
    return r == -EEXIST ? 0 : r;
}

static int add_extension(struct descriptors *d, size_t file, const uint8_t *data, size_t len)
{
    char extendee[NAME_MAX_LEN];
    struct cursor c = cursor_of(data, len);
    struct field f;
    int32_t number = 0;
    int r = find_string(data, len, 2, extendee);
    while (next_field(&c, &f)) {
        if (f.number == 3)
            number = (int32_t)f.value;
    }
    const char *name = extendee[0] == '.' ? extendee + 1 : extendee;
    size_t size = strlen(name) + 1;
    struct descriptor_extension *e = r < 0 ? NULL : calloc(1, sizeof *e + size);
    if (!e)
        return r < 0 ? r : -ENOMEM;
    e->file = file;
    e->number = number;
    memcpy(e->extendee, name, size);
    e->next = d->extensions;
    d->extensions = e;
    return 0;
}

/* What a descriptor may hold that has a name: in which field, and how to go on there. */
enum kind { KIND_MESSAGE, KIND_ENUM, KIND_SERVICE, KIND_EXTENSION, KIND_LEAF, KIND_SIBLING };
struct member {
    uint32_t number;
    enum kind kind;
};
static const struct member file_members[] = {
    {4, KIND_MESSAGE}, {5, KIND_ENUM}, {6, KIND_SERVICE}, {7, KIND_EXTENSION}, {0, KIND_LEAF}};
static const struct member message_members[] = {
    {2, KIND_LEAF}, {3, KIND_MESSAGE}, {4, KIND_ENUM}, {6, KIND_EXTENSION}, {8, KIND_LEAF}, {0, KIND_LEAF}};
static const struct member enum_members[] = {{2, KIND_SIBLING}, {0, KIND_LEAF}};
static const struct member service_members[] = {{2, KIND_LEAF}, {0, KIND_LEAF}};
static const struct member no_members[] = {{0, KIND_LEAF}};

static const struct member *members_of(enum kind kind)
{
    switch (kind) {
    case KIND_MESSAGE:
        return message_members;
    case KIND_ENUM:
        return enum_members;
    case KIND_SERVICE:
        return service_members;
    default:
        return no_members;
    }
}

/* Adds what stands in a descriptor. `scope` is its full name, `outer` that of what it stands in (enum values live there). */
static int add_members(struct descriptors *d, size_t file, const uint8_t *data, size_t len,
    const struct member *members, const char *outer, const char *scope, unsigned depth)
{
    struct cursor c = cursor_of(data, len);
    struct field f;
    if (depth > NESTING_MAX)
        return -E2BIG;
    while (next_field(&c, &f)) {
        const struct member *m = members;
        while (m->number && m->number != f.number)
            m++;
        if (!m->number || !f.data)
            continue;
        char name[NAME_MAX_LEN], full[NAME_MAX_LEN];
        int r = find_string(f.data, f.len, 1, name);
        const char *parent = m->kind == KIND_SIBLING ? outer : scope;
        int n = snprintf(full, sizeof full, "%s%s%s", parent, *parent ? "." : "", name);
        if (r == 0 && (n < 0 || (size_t)n >= sizeof full))
            r = -E2BIG;
        if (r == 0)
            r = add_symbol(d, file, full, m->kind == KIND_MESSAGE);
        if (r == 0 && m->kind == KIND_EXTENSION)
            r = add_extension(d, file, f.data, f.len);
        if (r == 0)
            r = add_members(d, file, f.data, f.len, members_of(m->kind), scope, full, depth + 1);
        if (r < 0)
            return r;
    }
    return c.bad ? -EBADMSG : 0;
}

static int add_file(struct descriptors *d, const uint8_t *data, size_t len)
{
    char name[NAME_MAX_LEN], package[NAME_MAX_LEN];
    if (d->n_files == DESCRIPTOR_FILES_MAX)
        return -E2BIG;
    int r = find_string(data, len, 1, name);
    if (r == 0)
        r = find_string(data, len, 2, package);
    if (r < 0)
        return r;
    struct descriptor_file *file = &d->files[d->n_files];
    *file = (struct descriptor_file){.data = data, .len = len, .name = strdup(name)};
    if (!file->name)
        return -ENOMEM;
    d->n_files++;
    return add_members(d, d->n_files - 1, data, len, file_members, "", package, 0);
}

int descriptors_init(struct descriptors *d, const uint8_t *set, size_t len)
{
    struct cursor c = cursor_of(set, len);
    struct field f;
    *d = (struct descriptors){0};
    map_init(&d->by_symbol);
    while (next_field(&c, &f)) {
        int r = f.number == 1 && f.data ? add_file(d, f.data, f.len) : 0;
        if (r < 0)
            return r;
    }
    return c.bad ? -EBADMSG : 0;
}

void descriptors_done(struct descriptors *d)
{
    for (size_t i = 0; i < d->n_files; i++)
        free(d->files[i].name);
    while (d->symbols) {
        struct descriptor_symbol *next = d->symbols->next;
        free(d->symbols);
        d->symbols = next;
    }
    while (d->extensions) {
        struct descriptor_extension *next = d->extensions->next;
        free(d->extensions);
        d->extensions = next;
    }
    map_done(&d->by_symbol);
    d->n_files = 0;
}

ptrdiff_t descriptors_file(const struct descriptors *d, const char *name)
{
    for (size_t i = 0; i < d->n_files; i++) {
        if (!strcmp(d->files[i].name, name))
            return (ptrdiff_t)i;
    }
    return -1;
}

ptrdiff_t descriptors_extension(const struct descriptors *d, const char *extendee, int32_t number)
{
    for (const struct descriptor_extension *e = d->extensions; e; e = e->next) {
        if (e->number == number && !strcmp(e->extendee, extendee))
            return (ptrdiff_t)e->file;
    }
    return -1;
}

const struct descriptor_symbol *descriptors_symbol(const struct descriptors *d, const char *full_name)
{
    return map_get(&d->by_symbol, full_name);
}

static void collect(const struct descriptors *d, size_t file, bool *seen, size_t *ret, size_t *count)
{
    struct cursor c = cursor_of(d->files[file].data, d->files[file].len);
    struct field f;
    if (seen[file])
        return;
    seen[file] = true;
    while (next_field(&c, &f)) {
        char name[NAME_MAX_LEN];
        if (f.number != 3 || !f.data || f.len >= sizeof name)
            continue;
        memcpy(name, f.data, f.len);
        name[f.len] = '\0';
        ptrdiff_t import = descriptors_file(d, name);
        if (import >= 0)
            collect(d, (size_t)import, seen, ret, count);
    }
    ret[(*count)++] = file;
}

size_t descriptors_with_imports(const struct descriptors *d, size_t file, size_t ret[DESCRIPTOR_FILES_MAX])
{
    bool seen[DESCRIPTOR_FILES_MAX] = {0};
    size_t count = 0;
    collect(d, file, seen, ret, &count);
    return count;
}
