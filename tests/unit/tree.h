/* SPDX-License-Identifier: Apache-2.0 */
/* Files in a temporary folder that stand for a machine's /proc, /sys and /dev. To be included behind cmocka.h. */
#ifndef UNIT_TREE_H
#define UNIT_TREE_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline void tree_make(char root[64])
{
    snprintf(root, 64, "/tmp/test_tree.XXXXXX");
    assert_non_null(mkdtemp(root));
}

static inline int tree_remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static inline int tree_remove(const char *root)
{
    return nftw(root, tree_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void tree_folder(const char *root, const char *path)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(full, 0755);
        *slash = '/';
    }
    (void)mkdir(full, 0755);
    assert_int_equal(access(full, F_OK), 0);
}

static inline void tree_file(const char *root, const char *path, const char *text)
{
    char full[512], folder[256];
    snprintf(folder, sizeof folder, "%s", path);
    assert_non_null(strrchr(folder, '/'));
    *strrchr(folder, '/') = '\0';
    tree_folder(root, folder);
    snprintf(full, sizeof full, "%s%s", root, path);
    FILE *f = fopen(full, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

#endif
