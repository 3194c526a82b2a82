/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"

enum { CELL_MAX = 200 };

void table_init(struct table *t, size_t n_columns)
{
    n_columns = MIN(n_columns, (size_t)TABLE_COLUMNS_MAX);
    *t = (struct table){.n_columns = n_columns};
}

static int grow(struct table *t)
{
    size_t cap = t->cap ? t->cap * 2 : 32;
    char **cells = reallocarray(t->cells, cap * t->n_columns, sizeof *cells);
    if (!cells)
        return -ENOMEM;
    t->cells = cells;
    const char **colors = reallocarray(t->colors, cap, sizeof *colors);
    if (!colors)
        return -ENOMEM;
    t->colors = colors;
    t->cap = cap;
    return 0;
}

void table_add(struct table *t, const char *const *texts, const char *color)
{
    if (t->error || (t->n_rows == t->cap && (t->error = grow(t)) < 0))
        return;
    char **row = t->cells + t->n_rows * t->n_columns;
    t->colors[t->n_rows++] = color;
    for (size_t i = 0; i < t->n_columns; i++) {
        row[i] = text_printable(texts[i], strlen(texts[i]), CELL_MAX, false);
        if (!row[i])
            t->error = -ENOMEM;
        for (char *p = row[i]; p && *p; p++) {
            if (*p == '\n' || *p == '\t')
                *p = ' ';
        }
    }
}

static size_t width_of(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

int table_print(const struct table *t, FILE *out, size_t color_column, const char *color_off)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    if (t->error)
        return t->error;
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++)
        widths[i % t->n_columns] = MAX(widths[i % t->n_columns], width_of(t->cells[i]));
    for (size_t r = 0; r < t->n_rows; r++) {
        for (size_t c = 0; c < t->n_columns; c++) {
            const char *cell = t->cells[r * t->n_columns + c];
            bool colored = c == color_column && *t->colors[r];
            bool last = c + 1 == t->n_columns;
            fprintf(out, "%s%s%s%*s", colored ? t->colors[r] : "", cell, colored ? color_off : "",
                last ? 0 : (int)(widths[c] - width_of(cell) + 2), "");
        }
        fputc('\n', out);
    }
    return 0;
}

void table_done(struct table *t)
{
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t->colors);
    *t = (struct table){0};
}
