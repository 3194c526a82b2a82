/* SPDX-License-Identifier: Apache-2.0 */
#include "slot/filter_program.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum { NUMBERS_MAX = 1024 };

static void add(struct filter_program *p, struct sock_filter code, uint16_t yes, uint16_t no)
{
    if (p->n == FILTER_CODE_MAX) {
        p->too_long = true;
        return;
    }
    p->yes[p->n] = yes;
    p->no[p->n] = no;
    p->code[p->n++] = code;
}

void filter_load(struct filter_program *p, size_t offset)
{
    add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset), FILTER_NEXT, FILTER_NEXT);
}

void filter_jump(struct filter_program *p, int op, uint32_t value, uint16_t yes, uint16_t no)
{
    add(p, (struct sock_filter)BPF_JUMP((uint16_t)(BPF_JMP | op | BPF_K), value, 0, 0), yes, no);
}

void filter_return(struct filter_program *p, uint32_t value)
{
    add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, value), FILTER_NEXT, FILTER_NEXT);
}

void filter_label(struct filter_program *p, uint16_t label)
{
    p->at[label] = (uint16_t)p->n;
}

/* --- the tree --- */

/* From `first` on, up to the next one's, all numbers go to the same place. */
struct range {
    uint32_t first;
    uint16_t label;
};

static uint16_t new_label(struct filter_program *p)
{
    if (FILTER_LABELS_OWN + p->labels >= FILTER_LABELS_MAX) {
        p->too_long = true;
        return FILTER_NEXT;
    }
    return (uint16_t)(FILTER_LABELS_OWN + p->labels++);
}

/* Two ranges at least. The lower half comes next, the upper half after it; a half of one range is its place itself. */
static void tree(struct filter_program *p, const struct range *ranges, size_t n)
{
    size_t half = n / 2;
    uint16_t upper = n - half == 1 ? ranges[half].label : new_label(p);
    filter_jump(p, BPF_JGE, ranges[half].first, upper, half == 1 ? ranges[0].label : FILTER_NEXT);
    if (half > 1)
        tree(p, ranges, half);
    if (n - half > 1) {
        filter_label(p, upper);
        tree(p, ranges + half, n - half);
    }
}

void filter_dispatch(struct filter_program *p, const uint8_t *label_of, uint32_t n, uint16_t beyond)
{
    struct range ranges[NUMBERS_MAX + 1];
    size_t count = 0;
    if (n == 0 || n > NUMBERS_MAX) {
        p->too_long = true;
        return;
    }
    for (uint32_t k = 0; k <= n; k++) {
        uint16_t label = k < n ? label_of[k] : beyond;
        if (count == 0 || label != ranges[count - 1].label)
            ranges[count++] = (struct range){.first = k, .label = label};
    }
    if (count == 1)
        filter_jump(p, BPF_JGE, 0, ranges[0].label, ranges[0].label);
    else
        tree(p, ranges, count);
}

/* --- the end --- */

static int resolve(const struct filter_program *p, size_t from, uint16_t label, uint8_t *ret)
{
    if (label == FILTER_NEXT) {
        *ret = 0;
        return 0;
    }
    size_t to = p->at[label];
    if (to <= from)
        return -EINVAL;
    if (to - from - 1 > UINT8_MAX)
        return -E2BIG;
    *ret = (uint8_t)(to - from - 1);
    return 0;
}

int filter_finish(struct filter_program *p, struct sock_fprog *ret)
{
    if (p->too_long || p->n == 0)
        return -E2BIG;
    for (size_t i = 0; i < p->n; i++) {
        if (BPF_CLASS(p->code[i].code) != BPF_JMP)
            continue;
        int r = resolve(p, i, p->yes[i], &p->code[i].jt);
        if (r == 0)
            r = resolve(p, i, p->no[i], &p->code[i].jf);
        if (r < 0)
            return r;
    }
    struct sock_filter *code = malloc(p->n * sizeof *code);
    if (!code)
        return -ENOMEM;
    memcpy(code, p->code, p->n * sizeof *code);
    *ret = (struct sock_fprog){.len = (unsigned short)p->n, .filter = code};
    return 0;
}
