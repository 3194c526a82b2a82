/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fork shares its parent's memory until it writes: then each page costs a fault. The pages that every Python task writes
 * (reference counts are all over the place) are known once one task has run: a rehearsal in a fork that ends with it, whose
 * page tables before and after are compared. A seat then has these copied (MADV_POPULATE_WRITE, since Linux 5.14) before its
 * task comes: that costs as much as the faults would, but while nobody waits. It is advice: where anything about it fails,
 * tasks work as well without.
 *
 * Of the interpreter's code a fork shares the memory but not the page tables: each has to find its pages anew, some 45
 * faults. Code in private memory on huge pages comes with an entry of the page table for every 2 MiB, copied by the fork.
 */
#include "slot/warm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define HUGE_PAGE (UINT64_C(2) << 20)

enum { AREAS_MAX = 256, PAGES_MAX = 16384 };

/* Bits of an entry in /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst). */
#define PAGE_PRESENT (UINT64_C(1) << 63)
#define PAGE_EXCLUSIVE (UINT64_C(1) << 56) /* mapped here alone */

struct area {
    uintptr_t begin, end;
    uint64_t *entries; /* before the rehearsal */
};

struct snapshot {
    struct area areas[AREAS_MAX];
    size_t n;
};

/* Private and writable areas, but for the stack. */
static void find_areas(struct snapshot *s)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[512], mode[8], name[256];
    while (f && s->n < AREAS_MAX && fgets(line, sizeof line, f)) {
        unsigned long begin, end;
        name[0] = '\0';
        if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %255s", &begin, &end, mode, name) >= 3 && mode[1] == 'w' &&
            mode[3] == 'p' && strcmp(name, "[stack]") != 0)
            s->areas[s->n++] = (struct area){.begin = begin, .end = end};
    }
    if (f)
        fclose(f);
}

static uint64_t *read_entries(int pagemap, const struct area *area, size_t page)
{
    size_t n = (area->end - area->begin) / page;
    uint64_t *entries = n <= PAGES_MAX ? malloc(n * sizeof *entries) : NULL;
    ssize_t want = (ssize_t)(n * sizeof *entries);
    if (entries && pread(pagemap, entries, (size_t)want, (off_t)(area->begin / page * sizeof *entries)) != want) {
        free(entries);
        return NULL;
    }
    return entries;
}

static void take_snapshot(struct snapshot *s, int pagemap, size_t page)
{
    find_areas(s);
    for (size_t i = 0; i < s->n; i++)
        s->areas[i].entries = read_entries(pagemap, &s->areas[i], page);
}

/* What was shared before and is ours alone now has been written. Neighbours become one range. */
static size_t find_written(const struct snapshot *before, int pagemap, size_t page, struct warm_range *ret)
{
    size_t found = 0;
    for (size_t i = 0; i < before->n; i++) {
        const struct area *area = &before->areas[i];
        uint64_t *now = area->entries ? read_entries(pagemap, area, page) : NULL;
        for (size_t k = 0; now && k < (area->end - area->begin) / page; k++) {
            uintptr_t at = area->begin + k * page;
            struct warm_range *last = found ? &ret[found - 1] : NULL;
            if (!(area->entries[k] & PAGE_PRESENT) || area->entries[k] & PAGE_EXCLUSIVE || !(now[k] & PAGE_EXCLUSIVE))
                continue;
            if (last && last->begin >= area->begin && at == last->begin + last->size)
                last->size = at + page - last->begin;
            else if (found < WARM_RANGES_MAX)
                ret[found++] = (struct warm_range){.begin = at, .size = page};
        }
        free(now);
    }
    return found;
}

/* The rehearsal, in a fork of its own. */
static _Noreturn void rehearse(int out)
{
    static struct snapshot before;
    static struct warm_range ranges[WARM_RANGES_MAX];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0)
        _exit(1);
    take_snapshot(&before, pagemap, page);
    if (warm_rehearse() < 0)
        _exit(1);
    size_t n = find_written(&before, pagemap, page, ranges);
    _exit(fd_write_all(out, ranges, n * sizeof *ranges) == 0 ? 0 : 1);
}

/*
 * Whole huge pages that are mapped from a file and not written to, moved into private memory on such pages. It stays where it
 * is for whoever knows its addresses.
 */
static void move_to_huge(uintptr_t begin, size_t size)
{
    uint8_t *raw = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return;
    size_t before = (HUGE_PAGE - (uintptr_t)raw % HUGE_PAGE) % HUGE_PAGE;
    uint8_t *to = raw + before;
    (void)madvise(to, size, MADV_HUGEPAGE);
    memcpy(to, (void *)begin, size);
    /* Since Linux 6.1; fails where huge pages are not to be had: forks would have to copy long page tables instead. */
    if (madvise(to, size, MADV_COLLAPSE) == 0 && mprotect(to, size, PROT_READ | PROT_EXEC) == 0)
        (void)mremap(to, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)begin);
    /* What has moved has left a hole, which does no harm. */
    munmap(raw, size + HUGE_PAGE);
}

void warm_pages_move_code(const char *library)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[512], mode[8], name[256];
    uintptr_t first = 0, last = 0;
    while (f && fgets(line, sizeof line, f)) {
        unsigned long begin, end;
        name[0] = '\0';
        if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %255s", &begin, &end, mode, name) >= 4 && strstr(name, library) &&
            mode[0] == 'r' && mode[1] != 'w' && mode[3] == 'p' && (!first || begin == last)) {
            first = first ? first : begin;
            last = end;
        }
    }
    if (f)
        fclose(f);
    if (sysconf(_SC_PAGESIZE) != 4096)
        return; /* huge pages are of another size there */
    first = (first + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    last = last / HUGE_PAGE * HUGE_PAGE;
    if (first < last)
        move_to_huge(first, last - first);
}

void warm_pages_learn(struct warm_pages *pages)
{
    int pair[2];
    pages->n = 0;
    if (pipe2(pair, O_CLOEXEC) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0)
        rehearse(pair[1]);
    close(pair[1]);
    if (pid > 0) {
        ssize_t n = fd_read_all(pair[0], pages->ranges, sizeof pages->ranges);
        int status;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        if (status == 0 && n > 0)
            pages->n = (size_t)n / sizeof *pages->ranges;
    }
    close(pair[0]);
}

void warm_pages_copy(const struct warm_pages *pages)
{
    for (size_t i = 0; i < pages->n; i++) {
        if (madvise((void *)pages->ranges[i].begin, pages->ranges[i].size, MADV_POPULATE_WRITE) < 0)
            return;
    }
}
