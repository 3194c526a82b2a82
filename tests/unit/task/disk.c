/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>

#include <sqlite3.h>

/* SQLite has one set of methods for the database and one for its log; ours are the same but for writing. */
static struct {
    atomic_bool full;
    atomic_uint failures;
    sqlite3_vfs *real;
    sqlite3_vfs vfs;
    const sqlite3_io_methods *real_methods[2];
    sqlite3_io_methods methods[2];
} disk;

static int disk_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
    if (!atomic_load(&disk.full))
        return disk.real_methods[0]->xWrite(file, data, len, at);
    atomic_fetch_add(&disk.failures, 1);
    return SQLITE_FULL;
}

static int disk_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)vfs;
    int rc = disk.real->xOpen(disk.real, name, file, flags, ret_flags);
    if (rc != SQLITE_OK || !file->pMethods)
        return rc;
    size_t kind = flags & SQLITE_OPEN_MAIN_DB ? 0 : 1;
    disk.real_methods[kind] = file->pMethods;
    disk.methods[kind] = *file->pMethods;
    disk.methods[kind].xWrite = disk_write;
    assert(!disk.real_methods[1] || disk.real_methods[0]->xWrite == disk.real_methods[1]->xWrite);
    file->pMethods = &disk.methods[kind];
    return rc;
}

void disk_install(void)
{
    disk.real = sqlite3_vfs_find(NULL);
    disk.vfs = *disk.real;
    disk.vfs.zName = "full";
    disk.vfs.xOpen = disk_open;
    disk_set_full(false);
    sqlite3_vfs_register(&disk.vfs, 1);
}

void disk_uninstall(void)
{
    sqlite3_vfs_unregister(&disk.vfs);
}

void disk_set_full(bool full)
{
    atomic_store(&disk.full, full);
}

unsigned disk_failures(void)
{
    return atomic_load(&disk.failures);
}
