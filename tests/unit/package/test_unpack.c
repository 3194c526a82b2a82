/* SPDX-License-Identifier: Apache-2.0 */
/* Packages, made by libarchive's own writer and then spoilt. */
#include "unit.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <locale.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "package/unpack.h"

enum format { ZIP, TAR, TAR_GZ, TAR_ZST, TAR_XZ, TAR_GZ_GZ, FORMATS };

struct item {
    const char *path;
    mode_t mode; /* 0: a file of 0644 */
    const char *text, *link, *hard;
    size_t zeros; /* so many in place of the text */
};

static struct archive *writer(enum format format, int fd)
{
    struct archive *a = archive_write_new();
    if (format == ZIP) {
        assert_int_equal(archive_write_set_format_zip(a), ARCHIVE_OK);
    } else {
        assert_int_equal(archive_write_set_format_pax_restricted(a), ARCHIVE_OK);
        if (format == TAR_ZST)
            assert_int_equal(archive_write_add_filter_zstd(a), ARCHIVE_OK);
        else if (format == TAR_XZ)
            assert_int_equal(archive_write_add_filter_xz(a), ARCHIVE_OK);
        else if (format != TAR)
            assert_int_equal(archive_write_add_filter_gzip(a), ARCHIVE_OK);
        if (format == TAR_GZ_GZ)
            assert_int_equal(archive_write_add_filter_gzip(a), ARCHIVE_OK);
    }
    assert_int_equal(archive_write_open_fd(a, fd), ARCHIVE_OK);
    return a;
}

static int make(enum format format, const struct item *items, size_t n)
{
    int fd = memfd_create("package", MFD_CLOEXEC);
    struct archive *a = writer(format, fd);
    for (size_t i = 0; i < n; i++) {
        const struct item *item = &items[i];
        size_t len = item->zeros ? item->zeros : item->text ? strlen(item->text) : 0;
        struct archive_entry *e = archive_entry_new();
        archive_entry_set_pathname(e, item->path);
        archive_entry_set_mode(e, item->link ? S_IFLNK | 0777 : item->mode ? item->mode : S_IFREG | 0644);
        archive_entry_set_mtime(e, 1000000000, 0);
        if (item->link)
            archive_entry_set_symlink(e, item->link);
        else if (item->hard)
            archive_entry_set_hardlink(e, item->hard);
        else
            archive_entry_set_size(e, (la_int64_t)len);
        assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
        char *zeros = item->zeros ? calloc(1, item->zeros) : NULL;
        if (len)
            assert_int_equal(archive_write_data(a, zeros ? zeros : item->text, len), len);
        free(zeros);
        archive_entry_free(e);
    }
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    return fd;
}

static bool is_empty(int folder)
{
    DIR *dir = fdopendir(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    unsigned n = 0;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n == 2;
}

static const struct package_limits no_limits;

/* Refused, in words with this in them, and nothing is left; the fd is closed. */
static void refused(const struct folder *f, int fd, const char *words)
{
    struct tw_error error = {0};
    int r = package_unpack(fd, f->fd, &no_limits, NULL, &error);
    if (r == 0)
        fail_msg("it was taken, but: %s", words);
    if (!strstr(error.message, words))
        fail_msg("\"%s\" has no \"%s\" in it", error.message, words);
    assert_true(is_empty(f->fd));
    close(fd);
}

static void check_file(const struct folder *f, const char *path, const char *text, mode_t mode)
{
    char full[300], got[64] = "";
    struct stat st;
    snprintf(full, sizeof full, "%s/%s", f->root, path);
    FILE *file = fopen(full, "re");
    if (!file)
        fail_msg("%s is not there", path);
    assert_int_equal(fread(got, 1, sizeof got - 1, file), strlen(text));
    fclose(file);
    assert_string_equal(got, text);
    assert_int_equal(lstat(full, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | mode);
    assert_int_equal(st.st_mtime, 1000000000);
}

static void each_format(void **state)
{
    struct folder *f = *state;
    static const struct item items[] = {
        {.path = "main.py", .text = "print(1)"},
        {.path = "./deep/er/run.sh", .text = "#!", .mode = S_IFREG | 0775},
        {.path = "empty/", .mode = S_IFDIR | 0700},
        {.path = "deep/", .mode = S_IFDIR | 0700},
        {.path = "nothing"},
        {.path = "link", .link = "deep/er/run.sh"},
        {.path = "\xc3\xa4/\xe6\x97\xa5.txt", .text = "utf8"},
    };
    static const enum format formats[] = {ZIP, TAR, TAR_GZ, TAR_ZST};
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        struct package_stats stats;
        struct tw_error error = {0};
        char sub[24], target[40] = "", full[120];
        snprintf(sub, sizeof sub, "/%zu", i);
        tree_folder(f->root, sub);
        struct folder own = {.fd = openat(f->fd, sub + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        assert_true(snprintf(own.root, sizeof own.root, "%.40s/%zu", f->root, i) < (int)sizeof own.root);
        CLEANUP_FD int fd = make(formats[i], items, ARRAY_LEN(items));
        if (package_unpack(fd, own.fd, &no_limits, &stats, &error) < 0)
            fail_msg("format %zu: %s", i, error.message);
        assert_int_equal(stats.files, 4);
        assert_int_equal(stats.folders, 2);
        assert_int_equal(stats.links, 1);
        assert_int_equal(stats.bytes, 14);
        check_file(&own, "main.py", "print(1)", 0644);
        check_file(&own, "deep/er/run.sh", "#!", 0755);
        check_file(&own, "nothing", "", 0644);
        check_file(&own, "\xc3\xa4/\xe6\x97\xa5.txt", "utf8", 0644);
        snprintf(full, sizeof full, "%s/link", own.root);
        assert_int_equal(readlink(full, target, sizeof target - 1), 14);
        assert_string_equal(target, "deep/er/run.sh");
        close(own.fd);
    }
}

static void names_and_kinds(void **state)
{
    struct folder *f = *state;
    static const struct {
        struct item items[2];
        const char *words;
    } cases[] = {
        {{{.path = "a", .text = "x"}, {.path = "../b", .text = "x"}}, "\"../b\" has a part that is . or .."},
        {{{.path = "a", .text = "x"}, {.path = "/etc/x", .text = "x"}}, "\"/etc/x\" is absolute"},
        {{{.path = "a", .text = "x"}, {.path = "b//c", .text = "x"}}, "has an empty part"},
        {{{.path = "a", .text = "x"}, {.path = "b\x1b[0m", .text = "x"}}, "has control characters"},
        {{{.path = "a", .text = "x"}, {.path = "a", .text = "y"}}, "\"a\" comes twice"},
        {{{.path = "a", .text = "x"}, {.path = "A", .text = "y"}}, "upper and lower case only"},
        {{{.path = "a", .text = "x"}, {.path = "a/b", .text = "y"}}, "has a file for a folder"},
        {{{.path = "a/b", .text = "x"}, {.path = "a", .text = "y"}}, "comes twice"},
        {{{.path = "a", .text = "x"}, {.path = "b", .link = "/etc"}}, "leads out of the package"},
        {{{.path = "a", .text = "x"}, {.path = "b", .link = "../x"}}, "leads out of the package"},
        {{{.path = "b", .link = "a"}, {.path = "b/c", .text = "x"}}, "has a file for a folder"},
        {{{.path = "a", .text = "x"}, {.path = "b", .mode = S_IFREG | 04755, .text = "x"}}, "has a setuid"},
        {{{.path = "a/", .mode = S_IFDIR | 0755}, {.path = "b/", .mode = S_IFDIR | 0755}}, "has no file in it"},
    };
    static const struct {
        struct item items[2];
        const char *words;
    } tar_only[] = {
        {{{.path = "a", .text = "x"}, {.path = "b", .hard = "a"}}, "\"b\" is a hard link"},
        {{{.path = "a", .text = "x"}, {.path = "b", .mode = S_IFIFO | 0644}}, "neither a file"},
        {{{.path = "a", .text = "x"}, {.path = "b\\c", .text = "x"}}, "has a backslash"},
        {{{.path = "a", .text = "x"}, {.path = "b", .mode = S_IFCHR | 0644}}, "neither a file"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        refused(f, make(ZIP, cases[i].items, 2), cases[i].words);
        refused(f, make(TAR_GZ, cases[i].items, 2), cases[i].words);
    }
    for (size_t i = 0; i < ARRAY_LEN(tar_only); i++)
        refused(f, make(TAR, tar_only[i].items, 2), tar_only[i].words);
}

static const struct item one[] = {
    {.path = "main.py", .text = "print('a long enough text to be packed, packed, packed')"}};

static off_t size_of(int fd)
{
    return lseek(fd, 0, SEEK_END);
}

/* Every byte of it changed, and cut off at every place: taken as it was, or refused whole. */
static void damaged(void **state)
{
    struct folder *f = *state;
    for (int format = ZIP; format <= TAR_GZ; format += TAR_GZ - ZIP) {
        CLEANUP_FD int whole = make((enum format)format, one, 1);
        off_t size = size_of(whole);
        char *bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, whole, 0);
        assert_ptr_not_equal(bytes, MAP_FAILED);
        for (off_t i = 0; i < 2 * size; i++) {
            CLEANUP_FD int fd = memfd_create("damaged", MFD_CLOEXEC);
            struct tw_error error = {0};
            off_t len = i < size ? size : i - size;
            assert_int_equal(write(fd, bytes, (size_t)len), len);
            if (i < size) {
                char changed = (char)(bytes[i] ^ 0x41);
                assert_int_equal(pwrite(fd, &changed, 1, i), 1);
            }
            if (package_unpack(fd, f->fd, &no_limits, NULL, &error) < 0) {
                assert_int_not_equal(error.code, TW_OK);
                assert_true(is_empty(f->fd));
                continue;
            }
            /* The name or the time may have been what was changed, but no byte of the text. */
            DIR *dir = fdopendir(openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
            for (struct dirent *entry; (entry = readdir(dir));) {
                char text[100] = "";
                int file = entry->d_name[0] == '.' ? -1 : openat(f->fd, entry->d_name, O_RDWR | O_CLOEXEC);
                if (file < 0) /* or a letter has become a slash */
                    continue;
                assert_int_equal(read(file, text, sizeof text), strlen(one[0].text));
                assert_string_equal(text, one[0].text);
                close(file);
                assert_int_equal(unlinkat(f->fd, entry->d_name, 0), 0);
            }
            closedir(dir);
            assert_int_equal(tree_remove(f->root), 0); /* also a name with a dot in front */
            assert_int_equal(mkdir(f->root, 0755), 0);
            close(f->fd);
            f->fd = open(f->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        munmap(bytes, (size_t)size);
    }
}

static void no_packages(void **state)
{
    struct folder *f = *state;
    int fd = memfd_create("nothing", MFD_CLOEXEC);
    refused(f, dup(fd), "is empty");
    assert_int_equal(write(fd, "print('no package')", 19), 19);
    refused(f, dup(fd), "no zip, tar.gz or tar.zst");
    close(fd);
    refused(f, make(ZIP, NULL, 0), "is an empty zip");
    refused(f, make(TAR_XZ, one, 1), "no zip, tar.gz or tar.zst");
    refused(f, make(TAR_GZ_GZ, one, 1), "no zip, tar.gz or tar.zst");
}

static void two_things_at_once(void **state)
{
    struct folder *f = *state;
    char bytes[1024];
    CLEANUP_FD int zip = make(ZIP, one, 1);
    ssize_t len = pread(zip, bytes, sizeof bytes, 0);
    assert_in_range(len, 100, sizeof bytes - 1);
    int behind = memfd_create("behind", MFD_CLOEXEC);
    assert_int_equal(write(behind, bytes, (size_t)len), len);
    assert_int_equal(write(behind, "#!", 2), 2);
    refused(f, behind, "with something behind it");
    int front = memfd_create("front", MFD_CLOEXEC);
    assert_int_equal(write(front, "#!/bin/sh\n", 10), 10);
    assert_int_equal(write(front, bytes, (size_t)len), len);
    refused(f, front, "no zip");
    int twice = memfd_create("twice", MFD_CLOEXEC);
    assert_int_equal(write(twice, bytes, (size_t)len), len);
    assert_int_equal(write(twice, bytes, (size_t)len), len);
    refused(f, twice, "in front of it or within");
}

/* Its bytes, to be freed. */
static char *bytes_of(int fd, size_t *ret_len)
{
    *ret_len = (size_t)size_of(fd);
    char *bytes = malloc(*ret_len);
    assert_int_equal(pread(fd, bytes, *ret_len, 0), *ret_len);
    close(fd);
    return bytes;
}

static int file_of(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int fd = memfd_create("made", MFD_CLOEXEC);
    assert_int_equal(write(fd, a, a_len), a_len);
    assert_int_equal(write(fd, b, b_len), b_len);
    return fd;
}

static void add_u32le(char *p, unsigned more)
{
    unsigned char *u = (unsigned char *)p;
    unsigned v = (unsigned)u[0] | (unsigned)u[1] << 8 | (unsigned)u[2] << 16 | (unsigned)u[3] << 24;
    for (unsigned i = 0; i < 4; i++)
        p[i] = (char)((v + more) >> 8 * i);
}

/* The two places in which a zip says what is in it do not say the same, or there is more than they speak of. */
static void a_zip_in_two_minds(void **state)
{
    struct folder *f = *state;
    size_t len;
    CLEANUP_FREE char *zip = bytes_of(make(ZIP, one, 1), &len);
    char *list = memmem(zip, len, "PK\1\2", 4), *end = memmem(zip, len, "PK\5\6", 4);
    assert_true(list && end);
    static const struct {
        int from_list, at;
        char with;
        const char *words;
    } changes[] = {
        {1, 46, 'n', "says something else"}, /* the name */
        {0, 30, 'n', "says something else"},
        {1, 10, 0, "says something else"}, /* the method */
        {1, 8, 1, "is encrypted"},
        {0, 6, 1, "says something else"},
        {1, 47, 0, "a NUL in its name"},
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        CLEANUP_FREE char *copy = malloc(len);
        memcpy(copy, zip, len);
        copy[(changes[i].from_list ? list - zip : 0) + changes[i].at] = changes[i].with;
        refused(f, file_of(copy, len, "", 0), changes[i].words);
    }
    CLEANUP_FREE char *gap = malloc(len + 5); /* five bytes between the last file and the list */
    size_t at = (size_t)(list - zip);
    memcpy(gap, zip, at);
    memcpy(gap + at, "extra", 5);
    memcpy(gap + at + 5, list, len - at);
    add_u32le(gap + (end - zip) + 5 + 16, 5);
    refused(f, file_of(gap, len + 5, "", 0), "no part of a zip");
    CLEANUP_FREE char *fewer = malloc(len);
    memcpy(fewer, zip, len);
    fewer[end - zip + 8] = fewer[end - zip + 10] = 2; /* two files, of which one is there */
    refused(f, file_of(fewer, len, "", 0), "damaged list of files");
    memset(fewer + (end - zip) + 16, 0xff, 4);
    refused(f, file_of(fewer, len, "", 0), "never has");
}

static void links_by_way_of_links(void **state)
{
    struct folder *f = *state;
    static const struct item out[] = {
        {.path = "d/e/f", .text = "x"}, {.path = "d/e/x", .link = "../.."}, {.path = "y", .link = "d/e/x/.."}};
    static const struct item in[] = {{.path = "d/e/f", .text = "x"}, {.path = "d/x", .link = "e"},
        {.path = "y", .link = "d/x/f"}, {.path = "nothing", .link = "d/none/../x"}, {.path = "round", .link = "round"}};
    for (int format = ZIP; format <= TAR_GZ; format += TAR_GZ - ZIP)
        refused(f, make((enum format)format, out, ARRAY_LEN(out)), "by way of another one");
    struct tw_error error = {0};
    CLEANUP_FD int fd = make(ZIP, in, ARRAY_LEN(in));
    assert_int_equal(package_unpack(fd, f->fd, &no_limits, NULL, &error), 0);
    char path[100];
    snprintf(path, sizeof path, "%s/y", f->root);
    assert_int_equal(access(path, R_OK), 0);
}

static void what_follows_a_tar(void **state)
{
    struct folder *f = *state;
    static const struct item other[] = {{.path = "../up", .text = "x"}};
    static const enum format formats[] = {TAR, TAR_GZ, TAR_ZST};
    static const char junk[600] = "junk";
    size_t len, more;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        CLEANUP_FREE char *tar = bytes_of(make(formats[i], one, 1), &len),
                          *next = bytes_of(make(formats[i], other, 1), &more);
        refused(f, file_of(tar, len, next, more), "\"../up\"");
        refused(f, file_of(tar, len, junk, sizeof junk), "the package cannot be used");
    }
    CLEANUP_FREE char *tar = bytes_of(make(TAR, one, 1), &len);
    refused(f, file_of(tar, 1024, "", 0), "nor a whole tar"); /* cut off behind its file */
}

static void a_name_of_two_lines(void **state)
{
    struct folder *f = *state;
    struct tw_error error = {0};
    static const struct item items[] = {{.path = "a\nsecond line", .text = "x"}};
    CLEANUP_FD int fd = make(TAR_GZ, items, 1);
    assert_int_equal(package_unpack(fd, f->fd, &no_limits, NULL, &error), -1);
    assert_null(strchr(error.message, '\n'));
}

static void bombs(void **state)
{
    struct folder *f = *state;
    static const struct item zeros[] = {{.path = "zeros", .zeros = 80 << 20}};
    refused(f, make(ZIP, zeros, 1), "which no honest package does");
    refused(f, make(TAR_GZ, zeros, 1), "no honest package does");
    struct tw_error error = {0};
    CLEANUP_FD int fd = make(ZIP, one, 1);
    assert_int_equal(package_unpack(fd, f->fd, &(struct package_limits){.bytes = 10}, NULL, &error), -1);
    assert_int_equal(error.code, TW_RESOURCE_EXHAUSTED);
    static const struct item many[] = {{.path = "a"}, {.path = "b"}, {.path = "c"}};
    CLEANUP_FD int three = make(TAR_GZ, many, 3);
    assert_int_equal(package_unpack(three, f->fd, &(struct package_limits){.entries = 2}, NULL, &error), -1);
    assert_non_null(strstr(error.message, "too many files"));
    assert_true(is_empty(f->fd));
    assert_int_equal(package_unpack(three, f->fd, &(struct package_limits){.entries = 3}, NULL, &error), 0);
    static const struct item deep[] = {{.path = "d/e/f/g"}};
    CLEANUP_FD int folders = make(ZIP, deep, 1);
    assert_int_equal(package_unpack(folders, f->fd, &(struct package_limits){.entries = 3}, NULL, &error), -1);
    assert_non_null(strstr(error.message, "too many files"));
    assert_int_equal(package_unpack(folders, f->fd, &(struct package_limits){.entries = 4}, NULL, &error), 0);
}

static void what_is_there_stays(void **state)
{
    struct folder *f = *state;
    struct tw_error error = {0};
    static const struct item both[] = {
        {.path = "a.py", .text = "x"}, {.path = "main.py", .text = "x"}, {.path = "z.py", .text = "x"}};
    CLEANUP_FD int fd = make(ZIP, both, ARRAY_LEN(both));
    tree_file(f->root, "/main.py", "mine");
    assert_int_equal(package_unpack(fd, f->fd, &no_limits, NULL, &error), -1);
    char path[120], text[10] = "";
    snprintf(path, sizeof path, "%s/main.py", f->root);
    FILE *file = fopen(path, "re");
    assert_int_equal(fread(text, 1, sizeof text, file), 4);
    fclose(file);
    assert_string_equal(text, "mine");
    assert_int_equal(unlinkat(f->fd, "main.py", 0), 0);
    assert_true(is_empty(f->fd)); /* nor are the others there */
}

static void no_room(void **state)
{
    struct folder *f = *state;
    struct tw_error error = {0};
    static const struct item large[] = {{.path = "a", .text = "x"}, {.path = "large", .zeros = 4 << 20}};
    if (mount("tmpfs", f->root, "tmpfs", 0, "size=1m") < 0) {
        print_message("SKIPPED: no file system of its own can be had\n");
        skip();
    }
    int folder = open(f->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP_FD int fd = make(TAR_GZ, large, 2);
    assert_int_equal(package_unpack(fd, folder, &no_limits, NULL, &error), -1);
    assert_int_equal(error.code, TW_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(error.message, "does not fit into the workspace"));
    assert_true(is_empty(folder));
    close(folder);
    assert_int_equal(umount(f->root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(each_format),
        TEST_IN_FOLDER(names_and_kinds),
        TEST_IN_FOLDER(damaged),
        TEST_IN_FOLDER(no_packages),
        TEST_IN_FOLDER(two_things_at_once),
        TEST_IN_FOLDER(a_zip_in_two_minds),
        TEST_IN_FOLDER(links_by_way_of_links),
        TEST_IN_FOLDER(what_follows_a_tar),
        TEST_IN_FOLDER(a_name_of_two_lines),
        TEST_IN_FOLDER(bombs),
        TEST_IN_FOLDER(what_is_there_stays),
        TEST_IN_FOLDER(no_room),
    };
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* for the writer */
    return cmocka_run_group_tests_name("package_unpack", tests, NULL, NULL);
}
