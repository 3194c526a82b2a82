/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    log_set_level(LOG_ERROR);
    strcpy(f->folder, "/tmp/hivemind-files-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/files", f->folder);
    f->options = (struct tw_storage_options){.size = sizeof f->options, .path = f->path, .no_background = true};
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    log_done();
    return 0;
}

void fixture_open(struct fixture *f)
{
    if (tw_storage_open(&f->options, &f->s, &f->error) < 0)
        fail_msg("tw_storage_open: %s", f->error.message);
}

void fixture_close(struct fixture *f)
{
    tw_storage_close(f->s);
    f->s = NULL;
}

enum tw_code fixture_open_fails(struct fixture *f)
{
    struct tw_storage *s = NULL;
    memset(&f->error, 0, sizeof f->error);
    assert_int_equal(tw_storage_open(&f->options, &s, &f->error), -1);
    assert_null(s);
    assert_true(f->error.message[0]);
    return f->error.code;
}

static enum tw_code code_of(struct fixture *f, int r)
{
    if (r < 0)
        assert_true(f->error.code != TW_OK && f->error.message[0]);
    return r < 0 ? f->error.code : TW_OK;
}

enum tw_code fixture_put(struct fixture *f, const char *owner, const char *name, const void *data, size_t len)
{
    const struct tw_put_options o = {.size = sizeof o, .owner = owner, .name = name, .length = len};
    struct tw_upload *u = NULL;
    struct tw_file_info info;
    if (tw_storage_put(f->s, &o, &u, &f->error) < 0)
        return code_of(f, -1);
    size_t half = len / 2;
    if (tw_upload_write(u, data, half, &f->error) < 0 ||
        tw_upload_write(u, (const char *)data + half, len - half, &f->error) < 0) {
        tw_upload_abort(u);
        return code_of(f, -1);
    }
    if (tw_upload_commit(u, &info, &f->error) < 0)
        return code_of(f, -1);
    assert_string_equal(info.owner, owner ? owner : "");
    assert_string_equal(info.name, name);
    assert_int_equal(info.size, len);
    assert_int_equal(strlen(info.id), TW_FILE_ID_LEN);
    assert_false(info.is_damaged);
    tw_file_info_done(&info);
    return TW_OK;
}

enum tw_code fixture_get(struct fixture *f, const char *owner, const char *name, const void *data, size_t len)
{
    const struct tw_file_ref ref = {.owner = owner, .name = name};
    struct tw_file *file = NULL;
    if (tw_storage_get(f->s, &ref, &file, &f->error) < 0)
        return code_of(f, -1);
    assert_int_equal(tw_file_info(file)->size, len);
    size_t got = 0;
    ssize_t n;
    char piece[5000];
    while ((n = tw_file_read(file, piece, sizeof piece, &f->error)) > 0) {
        assert_true(got + (size_t)n <= len);
        assert_memory_equal(piece, (const char *)data + got, (size_t)n);
        got += (size_t)n;
    }
    if (n == 0)
        assert_int_equal(got, len);
    tw_file_close(file);
    return code_of(f, n < 0 ? -1 : 0);
}

enum tw_code fixture_delete(struct fixture *f, const char *owner, const char *name)
{
    const struct tw_file_ref ref = {.owner = owner, .name = name};
    return code_of(f, tw_storage_delete(f->s, &ref, &f->error));
}

struct tw_file_info fixture_find(struct fixture *f, const char *owner, const char *name)
{
    const struct tw_file_ref ref = {.owner = owner, .name = name};
    struct tw_file_info info = {0};
    if (tw_storage_find(f->s, &ref, &info, &f->error) < 0)
        fail_msg("find %s: %s", name, f->error.message);
    return info;
}

struct tw_storage_stat fixture_stat(struct fixture *f, const char *owner)
{
    struct tw_storage_stat stat = {0};
    if (tw_storage_stat(f->s, owner, &stat, &f->error) < 0)
        fail_msg("stat: %s", f->error.message);
    return stat;
}

struct tw_storage_gc_report fixture_gc(struct fixture *f)
{
    struct tw_storage_gc_report report = {0};
    if (tw_storage_gc(f->s, &report, &f->error) < 0)
        fail_msg("gc: %s", f->error.message);
    return report;
}

struct tw_fsck_report fixture_fsck(struct fixture *f)
{
    struct tw_fsck_report report = {0};
    if (tw_storage_fsck(f->s, NULL, NULL, &report, &f->error) < 0)
        fail_msg("fsck: %s", f->error.message);
    return report;
}

static size_t counted;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path, (void)st, (void)ftw;
    counted += type == FTW_F;
    return 0;
}

size_t fixture_count(struct fixture *f, const char *folder)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", f->path, folder);
    counted = 0;
    assert_int_equal(nftw(path, count_one, 16, FTW_PHYS), 0);
    return counted;
}

void fixture_blob_path(struct fixture *f, const char *sha256, char ret[200])
{
    snprintf(ret, 200, "%s/blobs/%.2s/%s", f->path, sha256, sha256 + 2);
}

void fixture_assert_sound(struct fixture *f)
{
    fixture_gc(f);
    struct tw_fsck_report report = fixture_fsck(f);
    assert_int_equal(report.damaged + report.missing + report.lost_files + report.healed, 0);
    assert_int_equal(report.wrong_counts, 0);
    struct tw_storage_stat stat = fixture_stat(f, NULL);
    assert_int_equal(fixture_count(f, "tmp"), 0);
    assert_int_equal(fixture_count(f, "blobs"), stat.blobs);
    assert_int_equal(stat.unused_bytes, 0);
    assert_int_equal(stat.reserved_bytes, 0);
}

void fixture_corrupt(struct fixture *f, const char *sha256, size_t at)
{
    char path[200];
    uint8_t byte;
    fixture_blob_path(f, sha256, path);
    assert_int_equal(chmod(path, 0600), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
    assert_int_equal(chmod(path, 0400), 0);
}

void fixture_fill(void *data, size_t len, uint64_t seed)
{
    uint8_t *p = data;
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        p[i] = (uint8_t)(x >> 32);
    }
}
