/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/packing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/files.h"
#include "cli/table.h"
#include "package/pack.h"

enum { PACKED_MAX = 1 << 30 };

bool packing_is_folder(const char *path)
{
    struct stat st;
    return strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool packing_is_package(const char *data, size_t len)
{
    static const struct {
        size_t at, len;
        const char *bytes;
    } magics[] = {{0, 4, "PK\3\4"}, {0, 2, "\x1f\x8b"}, {0, 4, "\x28\xb5\x2f\xfd"}, {257, 5, "ustar"}};
    for (size_t i = 0; i < ARRAY_LEN(magics); i++) {
        if (len >= magics[i].at + magics[i].len && !memcmp(data + magics[i].at, magics[i].bytes, magics[i].len))
            return true;
    }
    return false;
}

static void on_progress(void *arg, uint64_t files UNUSED, uint64_t all_files UNUSED, uint64_t bytes, uint64_t all_bytes)
{
    meter_show(arg, bytes, all_bytes);
}

static int read_packed(struct cli *cli, int fd, uint64_t len, char **ret)
{
    char *data = malloc(len + 1);
    ssize_t n = data && lseek(fd, 0, SEEK_SET) == 0 ? fd_read_all(fd, data, len) : -ENOMEM;
    if (!data || n != (ssize_t)len) {
        free(data);
        cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
        return EXIT_TROUBLE;
    }
    data[len] = '\0';
    *ret = data;
    return 0;
}

int packing_pack(struct cli *cli, const char *folder, char **ret, size_t *ret_len)
{
    struct meter meter;
    struct package_packed packed;
    struct tw_error error = {0};
    struct package_pack_options options = {.max_packed = PACKED_MAX, .progress = on_progress, .arg = &meter};
    CLEANUP_FD int from = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP_FD int to = memfd_create("package", MFD_CLOEXEC);
    char size[32], packed_size[32];
    if (from < 0 || to < 0) {
        cli_error(cli, TW_INVALID_ARGUMENT, "cannot read the folder %s: %s", folder, strerror(errno));
        return EXIT_USAGE;
    }
    meter_begin(&meter, cli);
    int r = package_pack(from, &options, to, &packed, &error);
    meter_end(&meter);
    if (r < 0) {
        cli_error(cli, error.code, "the folder %s cannot be packed: %s", folder, error.message);
        return EXIT_USAGE;
    }
    int code = read_packed(cli, to, packed.packed, ret);
    if (code)
        return code;
    *ret_len = packed.packed;
    cli_note(cli, "packed %llu %s, %s, to %s; runs %s", (unsigned long long)packed.files,
        packed.files == 1 ? "file" : "files", format_bytes(packed.bytes, size),
        format_bytes(packed.packed, packed_size), packed.entry.file);
    return 0;
}
