/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef FILES_INTERNAL_H
#define FILES_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <taskworker/storage.h>

#include "base/list.h"
#include "base/map.h"
#include "base/sqlite.h"
#include "base/util.h"
#include "files/root.h"

enum {
    SHA_BYTES = 32,
    TMP_NAME_MAX = 33,
    CHUNK_BYTES = 256 << 10, /* what reading for oneself takes at a time */
    PAGE_MAX = 1000,         /* of lists */
};

/* As they are in the database. */
enum blob_state { BLOB_GOOD = 0, BLOB_DAMAGED = 1, BLOB_MISSING = 2 };

struct limits {
    uint64_t max_bytes, max_owner_bytes, max_owner_files, retention_us; /* 0: none */
};

/* Why a content may not be removed: somebody has it open, or is about to refer to it. */
struct pin {
    size_t n;
    char key[TW_SHA256_LEN + 1];
};

struct tw_storage {
    struct root root;

    pthread_mutex_t db_lock; /* before `lock` where both are taken */
    struct db db;

    pthread_mutex_t lock; /* for what is below; never held while anything waits for the disk */
    struct limits limits;
    struct map pins;     /* struct pin, by hash */
    struct list uploads; /* struct tw_upload: what they set aside is what is reserved */

    pthread_t cleaner; /* gc.c */
    pthread_cond_t woken;
    bool has_cleaner, wake, stop; /* the last two: under `lock` */
};

/* --- schema.c, catalog.c: the database; under db_lock --- */

#define FILES_COLUMNS                                                                                       \
    "f.seq, f.id, o.name, f.name, b.sha256, b.size, f.created_us, f.modified_us, f.version, b.state, b.id " \
    "FROM files f JOIN owners o ON o.id = f.owner JOIN blobs b ON b.id = f.blob "

#define FILES_STATEMENTS(X)                                                                                          \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                                      \
    X(COMMIT, "COMMIT")                                                                                              \
    X(USE,                                                                                                           \
        "SELECT t.bytes, coalesce(o.bytes, 0), coalesce(o.files, 0), coalesce((SELECT b.size FROM files f JOIN "     \
        "blobs b ON b.id = f.blob WHERE f.owner = o.id AND f.name = ?2), 0) FROM totals t LEFT JOIN owners o ON "    \
        "o.name = ?1")                                                                                               \
    X(BLOB, "SELECT id, size, state FROM blobs WHERE sha256 = ?1")                                                   \
    X(BLOB_ADD,                                                                                                      \
        "INSERT INTO blobs (sha256, size, state, checked_us) VALUES (?1, ?2, 0, ?3) "                                \
        "ON CONFLICT (sha256) DO UPDATE SET state = 0, checked_us = excluded.checked_us")                            \
    X(BLOB_MARK, "UPDATE blobs SET state = ?2, checked_us = ?3 WHERE id = ?1")                                       \
    X(BLOB_REMOVE, "DELETE FROM blobs WHERE id = ?1 AND refs = 0")                                                   \
    X(BLOB_AFTER, "SELECT id, sha256, size, state FROM blobs WHERE id > ?1 ORDER BY id LIMIT 1")                     \
    X(UNUSED, "SELECT id, sha256, size FROM blobs WHERE refs = 0 AND id > ?1 ORDER BY id LIMIT ?2")                  \
    X(OWNER_ADD, "INSERT INTO owners (name) VALUES (?1) ON CONFLICT DO NOTHING")                                     \
    X(FILE_ADD,                                                                                                      \
        "INSERT INTO files (id, owner, name, blob, version, created_us, modified_us) SELECT ?1, o.id, ?3, b.id, 1, " \
        "?5, ?5 FROM owners o, blobs b WHERE o.name = ?2 AND b.sha256 = ?4")                                         \
    X(FILE_CHANGE,                                                                                                   \
        "UPDATE files SET blob = (SELECT id FROM blobs WHERE sha256 = ?2), version = version + 1, "                  \
        "modified_us = max(?3, modified_us) WHERE seq = ?1")                                                         \
    X(FILE_REMOVE, "DELETE FROM files WHERE seq = ?1")                                                               \
    X(FIND_ID, "SELECT " FILES_COLUMNS "WHERE f.id = ?1 AND (?2 IS NULL OR o.name = ?2)")                            \
    X(FIND_NAME, "SELECT " FILES_COLUMNS "WHERE o.name = ?1 AND f.name = ?2")                                        \
    X(EXPIRED,                                                                                                       \
        "SELECT f.seq, f.modified_us, b.sha256 FROM files f JOIN blobs b ON b.id = f.blob WHERE f.modified_us < ?1 " \
        "AND (f.modified_us, f.seq) > (?2, ?3) ORDER BY f.modified_us, f.seq LIMIT ?4")                              \
    X(LIST,                                                                                                          \
        "SELECT " FILES_COLUMNS "WHERE o.name = ?1 AND f.name > ?2 AND f.name >= ?3 AND f.name < ?4 "                \
        "ORDER BY f.name LIMIT ?5")                                                                                  \
    X(LIST_ALL,                                                                                                      \
        "SELECT f.seq, f.id, o.name, f.name, b.sha256, b.size, f.created_us, f.modified_us, f.version, b.state, "    \
        "b.id FROM owners o CROSS JOIN files f ON f.owner = o.id JOIN blobs b ON b.id = f.blob WHERE o.name >= ?1 "  \
        "AND (o.name > ?1 OR f.name > ?2) AND f.name >= ?3 AND f.name < ?4 ORDER BY o.name, f.name LIMIT ?5")        \
    X(OWNERS, "SELECT name, files, bytes FROM owners WHERE (?1 IS NULL OR name > ?1) ORDER BY name LIMIT ?2")        \
    X(STAT_OWNER, "SELECT files, bytes FROM owners WHERE name = ?1")                                                 \
    X(STAT,                                                                                                          \
        "SELECT (SELECT coalesce(sum(files), 0) FROM owners), (SELECT coalesce(sum(bytes), 0) FROM owners), "        \
        "t.blobs, t.bytes, (SELECT coalesce(sum(size), 0) FROM blobs WHERE refs = 0), "                              \
        "(SELECT count(*) FROM blobs WHERE state <> 0) FROM totals t")                                               \
    X(LOST_FILES, "SELECT count(*) FROM blobs b JOIN files f ON f.blob = b.id WHERE b.state <> 0")

enum files_statement {
#define X(name, sql) FILES_SQL_##name,
    FILES_STATEMENTS(X)
#undef X
        FILES_SQL_MAX
};

/* Checks the database file, makes the schema, proves that it can be written. */
int catalog_open(struct db *db, const struct root *root, struct tw_error *error);
/* One more connection, which only reads. */
int catalog_open_reader(struct db *db, const struct root *root, struct tw_error *error);

/* A file's row. */
struct catalog_file {
    int64_t seq, blob;
    uint8_t sha[SHA_BYTES];
    enum blob_state state;
    struct tw_file_info info;
};
/* From the current row of a statement that selects FILES_COLUMNS. */
int catalog_load(const struct db_query *q, struct catalog_file *ret, struct tw_error *error);
/* 1, or 0: there is none. */
int catalog_find_name(
    struct tw_storage *s, const char *owner, const char *name, struct catalog_file *ret, struct tw_error *error);
/* NOT_FOUND where there is none, or it is none of the asking owner's. */
int catalog_find(struct tw_storage *s, const struct tw_file_ref *ref, struct catalog_file *ret, struct tw_error *error);
/* 1, or 0: there is none. */
int catalog_find_blob(struct tw_storage *s, const uint8_t sha[SHA_BYTES], int64_t *ret_id, uint64_t *ret_size,
    enum blob_state *ret_state, struct tw_error *error);
/* A content's row. */
struct catalog_blob {
    int64_t id;
    uint64_t size;
    enum blob_state state;
    uint8_t sha[SHA_BYTES];
};
/* The next behind this number; 1, or 0: there is none. */
int catalog_next_blob(struct tw_storage *s, int64_t after, struct catalog_blob *ret, struct tw_error *error);
int catalog_mark(struct tw_storage *s, int64_t blob, enum blob_state state, struct tw_error *error);
/* Of db_lock. */
void catalog_lock(struct tw_storage *s);
void catalog_unlock(struct tw_storage **s);
#define CATALOG_LOCKED(s)                                                   \
    CLEANUP(catalog_unlock) UNUSED struct tw_storage *catalog_locked = (s); \
    catalog_lock(s)

/* --- name.c: what comes from outside --- */

int name_check_owner(const char *owner, struct tw_error *error);
int name_check(const char *name, struct tw_error *error);
bool name_is_hex(const char *s, size_t len);                    /* of exactly that length, in lower case */
int name_sha_from_hex(const char *hex, uint8_t ret[SHA_BYTES]); /* 0 or -EINVAL */
int name_u64_from_hex(const char *hex, uint64_t *ret);          /* of 16 digits; likewise */
/* The cursor of a list, behind a file of this owner and name. NULL: no memory. */
char *name_cursor(const char *owner, const char *name);
/* Free both; INVALID_ARGUMENT for what name_cursor() never wrote. */
int name_from_cursor(const char *cursor, char **ret_owner, char **ret_name, struct tw_error *error);

/* --- blob.c: contents on disk, and who holds them --- */

/* NULL: no memory. */
struct pin *pin_take(struct tw_storage *s, const uint8_t sha[SHA_BYTES]);
/* NULL is allowed. */
void pin_drop(struct tw_storage *s, struct pin *pin);
bool pin_is_held(struct tw_storage *s, const uint8_t sha[SHA_BYTES]);

/* The fd, -ENOENT, -EBADMSG (it is not of that size, or no file), or another -errno. */
int blob_open(const struct root *root, const uint8_t sha[SHA_BYTES], uint64_t size);
/* 0, or as above. */
int blob_look(const struct root *root, const uint8_t sha[SHA_BYTES], uint64_t size);
/* Moves the file `tmp`, which is durable, there from tmp/, and makes that durable; -errno. */
int blob_publish(const struct root *root, const char *tmp, const uint8_t sha[SHA_BYTES]);
/* Moves it to tmp/, which is quick; tmp_remove() does the rest, which may take its time. "": there was none. */
void blob_take_away(const struct root *root, const uint8_t sha[SHA_BYTES], char ret_tmp[TMP_NAME_MAX]);
/* Is the open file still what is there under its hash? */
bool blob_is_same(const struct root *root, const uint8_t sha[SHA_BYTES], int fd);
/* Takes a content away that no row refers to and nobody holds. Whether there was one. */
bool blob_drop_stray(struct tw_storage *s, const uint8_t sha[SHA_BYTES]);

int tmp_name(char ret[TMP_NAME_MAX]); /* random; 0 or -errno */
/* Also right for "". */
void tmp_remove(const struct root *root, const char *name);

/* --- quota.c --- */

/*
 * Sees that at least `need` bytes in all are set aside for the upload, and takes a little more ahead if it may. Removes what
 * is unused where that helps. RESOURCE_EXHAUSTED otherwise.
 */
int quota_reserve(struct tw_upload *u, uint64_t need, bool ahead, struct tw_error *error);
/* Whether the owner is within its bounds, with what the transaction has done so far. Under db_lock. */
int quota_check_owner(struct tw_storage *s, const char *owner, struct tw_error *error);
/* What all uploads have set aside. */
uint64_t quota_reserved(struct tw_storage *s, const char *owner);

/* --- put.c --- */

struct tw_upload {
    struct tw_storage *storage;
    struct list link;
    uint64_t reserved; /* as `link`, under `lock` */
    char *owner, *name;
    char tmp[TMP_NAME_MAX]; /* does not change while it is in the list */
    int fd;
    struct evp_md_ctx_st *hash;
    uint64_t size, flushed; /* written; of these, begun to be sent to the disk */
    uint64_t length, base_version;
    bool unknown_length, failed;
    bool published; /* what was in tmp/ is where it belongs */
    bool wants_sha;
    uint8_t wanted[SHA_BYTES];
};

/* --- gc.c, sweep.c --- */

int gc_start(struct tw_storage *s, struct tw_error *error);
void gc_stop(struct tw_storage *s);
/* There is something to remove. */
void gc_wake(struct tw_storage *s);
/* Removes what no file uses. */
int gc_collect(struct tw_storage *s, struct tw_storage_gc_report *report, struct tw_error *error);
bool gc_is_stopping(struct tw_storage *s);
/* Compares what is in the folder with what is in the database. */
int sweep_tmp(struct tw_storage *s, struct tw_storage_gc_report *report, struct tw_error *error);
int sweep_blobs(struct tw_storage *s, struct tw_storage_gc_report *report, struct tw_error *error);

/* Reads from the descriptor's start without moving its offset, and compares; 1: right, 0: not, -errno. */
int content_check(int fd, uint64_t size, const uint8_t sha[SHA_BYTES], bool (*go_on)(void *ctx, uint64_t n), void *ctx);

/* --- inputs.c --- */

enum { INPUTS_NAME_SIZE = 17 };
/* Of the folder of a set, or an environment. */
void inputs_name(uint64_t number, char ret[INPUTS_NAME_SIZE]);

/* The folder below `at` in which the last part of the path belongs, made where it is missing, or -1; *ret_name points to that part. */
int inputs_make_folders(
    const struct root *root, int at, const char *path, bool durable, const char **ret_name, struct tw_error *error);

#endif
