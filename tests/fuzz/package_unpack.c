/* SPDX-License-Identifier: Apache-2.0 */
/* Archives: what is taken is there with the sizes that were told, what is refused leaves nothing, and nothing is ever made elsewhere. */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "package/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct package_stats seen;
static char root[64], in[80];

static int count(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)path;
    if (where->level == 0)
        return 0;
    assert(kind == FTW_F || kind == FTW_D || kind == FTW_SL || kind == FTW_SLN);
    if (kind == FTW_F) {
        assert(S_ISREG(st->st_mode) && !(st->st_mode & 07000));
        seen.files++;
        seen.bytes += (uint64_t)st->st_size;
    } else if (kind == FTW_D) {
        seen.folders++;
    } else {
        seen.links++;
    }
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind;
    return where->level == 0 ? 0 : remove(path);
}

/* One folder for the life of the process, with another beside it that has to stay empty. */
static void make_folders(void)
{
    snprintf(root, sizeof root, "/dev/shm/fuzz_unpack.XXXXXX");
    assert(mkdtemp(root));
    snprintf(in, sizeof in, "%s/in", root);
    assert(mkdir(in, 0755) == 0);
}

static void remove_folders(void)
{
    (void)nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    (void)rmdir(root);
}

static unsigned names_in(const char *folder)
{
    unsigned n = 0;
    DIR *dir = opendir(folder);
    assert(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct package_limits limits = {.entries = 64, .bytes = 1 << 20};
    struct package_stats told = {0};
    struct tw_error error = {0};
    static int folder = -1;
    if (folder < 0) {
        make_folders();
        folder = open(in, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(folder >= 0 && atexit(remove_folders) == 0);
    }
    int fd = memfd_create("package", MFD_CLOEXEC);
    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    int r = package_unpack(fd, folder, &limits, &told, &error);
    close(fd);
    assert(names_in(root) == 1);
    if (r < 0) {
        assert(error.code != TW_OK && error.message[0] && names_in(in) == 0);
        return 0;
    }
    seen = (struct package_stats){0};
    assert(nftw(in, count, 16, FTW_PHYS) == 0);
    assert(seen.files == told.files && seen.links == told.links && seen.bytes == told.bytes &&
        seen.folders >= told.folders);
    assert(seen.files <= 64 && seen.bytes <= 1 << 20);
    assert(nftw(in, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0);
    return 0;
}
