/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a storage that holds very many contents which no file uses, as after a large deletion: what cleaning up then costs is
 * measured from outside (bench.py, gc). The rows and files are made directly. Usage: storage_many FOLDER COUNT
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include <taskworker/storage.h>

#include "base/parse.h"
#include "base/text.h"
#include "files/digest.h"

enum { SHA_BYTES = 32, SIZE = 4096 };

static void die(const char *what, const char *why)
{
    fprintf(stderr, "storage_many: %s: %s\n", what, why);
    exit(1);
}

static void make_content(uint64_t n, uint8_t ret[SIZE], uint8_t sha[SHA_BYTES])
{
    memset(ret, 0, SIZE);
    memcpy(ret, &n, sizeof n);
    EVP_MD_CTX *hash = digest_begin(NULL);
    if (!hash || EVP_DigestUpdate(hash, ret, SIZE) != 1 || EVP_DigestFinal_ex(hash, sha, NULL) != 1)
        die("SHA-256", "failed");
    EVP_MD_CTX_free(hash);
}

static void write_content(const char *folder, const uint8_t content[SIZE], const uint8_t sha[SHA_BYTES])
{
    char hex[2 * SHA_BYTES + 1], path[4096];
    text_hex(sha, SHA_BYTES, hex);
    snprintf(path, sizeof path, "%s/blobs/%.2s/%s", folder, hex, hex + 2);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, content, SIZE) != SIZE || close(fd) < 0)
        die(path, "cannot be written");
}

static void fill(const char *folder, uint64_t n)
{
    char path[4096];
    sqlite3 *db;
    sqlite3_stmt *insert;
    uint8_t content[SIZE], sha[SHA_BYTES];
    snprintf(path, sizeof path, "%s/files.db", folder);
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA synchronous = OFF; BEGIN", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "INSERT INTO blobs (sha256, size, state, checked_us) VALUES (?, ?, 0, 1)", -1, &insert,
            NULL) != SQLITE_OK)
        die(path, sqlite3_errmsg(db));
    for (uint64_t i = 0; i < n; i++) {
        make_content(i, content, sha);
        write_content(folder, content, sha);
        sqlite3_bind_blob(insert, 1, sha, SHA_BYTES, SQLITE_STATIC);
        sqlite3_bind_int(insert, 2, SIZE);
        if (sqlite3_step(insert) != SQLITE_DONE || sqlite3_reset(insert) != SQLITE_OK)
            die(path, sqlite3_errmsg(db));
    }
    sqlite3_finalize(insert);
    if (sqlite3_exec(db, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL) != SQLITE_OK)
        die(path, sqlite3_errmsg(db));
    sqlite3_close(db);
}

int main(int argc, char **argv)
{
    uint64_t n = 0;
    struct tw_error error;
    struct tw_storage *storage;
    if (argc != 3 || parse_u64(argv[2], 1, 100000000, &n) < 0)
        die("usage", "storage_many FOLDER COUNT");
    const struct tw_storage_options options = {.size = sizeof options, .path = argv[1], .no_background = true};
    if (tw_storage_open(&options, &storage, &error) < 0)
        die(argv[1], error.message);
    tw_storage_close(storage);
    fill(argv[1], n);
    return 0;
}
