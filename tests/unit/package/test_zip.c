/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of archives: what another program reads, what is refused, and that it is left incomplete where it fails. */
#include "unit.h"

#include "package/zip.h"
#include "python.h"

static int with_bytes(const char *bytes, size_t len)
{
    int fd = new_file();
    assert_int_equal(fd_write_all(fd, bytes, len), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static ssize_t thrice(void *arg, void *to, size_t max)
{
    int *left = arg;
    assert_true(max >= 5);
    if (*left == 0)
        return 0;
    memcpy(to, "again", 5);
    (*left)--;
    return 5;
}

static void every_kind(void **state)
{
    CLEANUP_FD int out = new_file(), in = with_bytes("print(1)\n", 9);
    CLEANUP_ZIP struct zip *zip = NULL;
    struct tw_error error = {0};
    const struct zip_file file = {.path = "d/caf\xc3\xa9.py", .executable = true},
                          dated = {.path = "dated", .mtime_us = 1700000000999999};
    uint64_t bytes = 0;
    int left = 3;
    (void)state;
    assert_int_equal(zip_open(&zip, out, 0, &error), 0);
    assert_int_equal(zip_add_folder(zip, "d", &error), 0);
    assert_int_equal(zip_add_file(zip, &file, in, 9, &error), 0);
    assert_int_equal(zip_add_file(zip, &dated, in, 0, &error), 0);
    assert_int_equal(zip_add_link(zip, "l", "d/caf\xc3\xa9.py", &error), 0);
    assert_int_equal(zip_add_bytes(zip, "b", "\0x", 2, &error), 0);
    assert_int_equal(zip_add_bytes(zip, "empty", NULL, 0, &error), 0);
    assert_int_equal(zip_add_stream(zip, "s", thrice, &left, &error), 0);
    assert_int_equal(zip_finish(zip, &bytes, &error), 0);
    assert_int_equal(lseek(out, 0, SEEK_END), bytes);
    expect_python(out,
        "for i in z.infolist(): print(i.filename, oct(i.external_attr >> 16), z.read(i), i.date_time[0])",
        "d/ 0o40755 b'' 1980\n"
        "d/caf\xc3\xa9.py 0o100755 b'print(1)\\n' 1980\n"
        "dated 0o100644 b'' 2023\n"
        "l 0o120777 b'd/caf\\xc3\\xa9.py' 1980\n"
        "b 0o100644 b'\\x00x' 1980\n"
        "empty 0o100644 b'' 1980\n"
        "s 0o100644 b'againagainagain' 1980\n");
    assert_int_equal(zip_add_bytes(zip, "more", "x", 1, &error), -1);
    assert_int_equal(error.code, TW_FAILED_PRECONDITION);
}

static void paths(void **state)
{
    static const char *const bad[] = {"", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/..", "a/../b", "\xff"};
    static const char *const good[] = {"a", "a/b", "..a", "a..", "...", ".a/.b", "a\nb", "\xc3\xa9", "a\\b"};
    CLEANUP_FD int out = new_file();
    CLEANUP_ZIP struct zip *zip = NULL;
    struct tw_error error = {0};
    char longest[ZIP_PATH_MAX + 2];
    (void)state;
    assert_int_equal(zip_open(&zip, out, 0, &error), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(zip_add_bytes(zip, bad[i], "", 0, &error), -1);
        assert_int_equal(error.code, TW_INVALID_ARGUMENT);
    }
    assert_int_equal(zip_add_link(zip, "l", "", &error), -1);
    assert_int_equal(zip_add_link(zip, "l", "\xff", &error), -1);
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(zip_add_bytes(zip, good[i], "", 0, &error), 0);
    memset(longest, 'a', sizeof longest);
    longest[ZIP_PATH_MAX + 1] = '\0';
    assert_false(zip_path_is_valid(longest));
    longest[ZIP_PATH_MAX] = '\0';
    assert_int_equal(zip_add_bytes(zip, longest, "", 0, &error), 0);
    assert_int_equal(zip_finish(zip, NULL, &error), 0);
    expect_python(out, "print(len(z.namelist()))", "10\n");
}

static void a_file_that_changes(void **state)
{
    static char much[3 * 65536 + 10];
    static const struct {
        uint64_t size, said;
        bool ok;
    } cases[] = {{0, 0, true}, {0, 1, false}, {1, 0, false}, {65536, 65536, true}, {65536, 65535, false},
        {65535, 65535, true}, {65535, 65536, false}, {65536, 65537, false}, {sizeof much, sizeof much, true},
        {sizeof much, 65536, false}, {10, INT64_MAX, false}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_FD int out = new_file(), in = with_bytes(much, cases[i].size);
        CLEANUP_ZIP struct zip *zip = NULL;
        struct tw_error error = {0};
        const struct zip_file file = {.path = "f"};
        assert_int_equal(zip_open(&zip, out, 0, &error), 0);
        assert_int_equal(zip_add_file(zip, &file, in, cases[i].said, &error), cases[i].ok ? 0 : -1);
        if (cases[i].ok)
            continue;
        assert_int_equal(error.code, TW_ABORTED);
        assert_string_equal(error.message, "f was changed while it was read");
        /* And that is what it stays. */
        assert_int_equal(zip_add_bytes(zip, "x", "", 0, &error), -1);
        assert_int_equal(error.code, TW_ABORTED);
        assert_int_equal(zip_finish(zip, NULL, &error), -1);
    }
    CLEANUP_FD int out = new_file(), folder = open("/", O_RDONLY | O_CLOEXEC);
    CLEANUP_ZIP struct zip *zip = NULL;
    struct tw_error error = {0};
    const struct zip_file file = {.path = "f"};
    assert_int_equal(zip_open(&zip, out, 0, &error), 0);
    assert_int_equal(zip_add_file(zip, &file, folder, 1, &error), -1);
    assert_int_equal(error.sys_errno, EISDIR);
}

static void what_cannot_be_written(void **state)
{
    CLEANUP_FD int full = open("/dev/full", O_WRONLY | O_CLOEXEC), out = new_file();
    CLEANUP_ZIP struct zip *first = NULL, *second = NULL;
    struct tw_error error = {0};
    (void)state;
    assert_int_equal(zip_open(&first, full, 0, &error), 0);
    assert_int_equal(zip_add_bytes(first, "x", "", 0, &error), 0);
    assert_int_equal(zip_finish(first, NULL, &error), -1);
    assert_int_equal(error.sys_errno, ENOSPC);
    assert_int_equal(zip_finish(first, NULL, &error), -1);
    assert_int_equal(zip_open(&second, out, 200, &error), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(zip_add_bytes(second, "x", "", 0, &error), 0);
    assert_int_equal(zip_finish(second, NULL, &error), -1);
    assert_int_equal(error.code, TW_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(error.message, "larger than 200 bytes"));
    assert_int_equal(lseek(out, 0, SEEK_END), 0);
}

/* One that is freed before its end has no directory, which is what makes it an archive. */
static void half_of_one(void **state)
{
    CLEANUP_FD int out = new_file();
    struct zip *zip = NULL;
    struct tw_error error = {0};
    char bytes[1 << 16];
    (void)state;
    assert_int_equal(zip_open(&zip, out, 0, &error), 0);
    for (int i = 0; i < 2000; i++)
        assert_int_equal(zip_add_bytes(zip, "some/name", "x", 1, &error), 0);
    assert_null(zip_free(zip));
    assert_true(lseek(out, 0, SEEK_END) > 0);
    ssize_t n = pread(out, bytes, sizeof bytes, 0);
    assert_true(n > 0);
    assert_null(memmem(bytes, (size_t)n, "PK\1\2", 4));
    assert_null(memmem(bytes, (size_t)n, "PK\5\6", 4));
    assert_null(zip_free(NULL));
}

/* More than 65535, which is what the directory has room for without zip64. */
static void very_many(void **state)
{
    CLEANUP_FD int out = new_file();
    CLEANUP_ZIP struct zip *zip = NULL;
    struct tw_error error = {0};
    char name[32];
    (void)state;
    assert_int_equal(zip_open(&zip, out, 0, &error), 0);
    for (int i = 0; i < 66000; i++) {
        snprintf(name, sizeof name, "f%d", i);
        assert_int_equal(zip_add_bytes(zip, name, NULL, 0, &error), 0);
    }
    assert_int_equal(zip_finish(zip, NULL, &error), 0);
    expect_python(out, "print(len(z.namelist()), z.namelist()[-1])", "66000 f65999\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind),
        cmocka_unit_test(paths),
        cmocka_unit_test(a_file_that_changes),
        cmocka_unit_test(what_cannot_be_written),
        cmocka_unit_test(half_of_one),
        cmocka_unit_test(very_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
