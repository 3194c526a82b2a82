/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of texts in aligned columns. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stddef.h>
#include <stdio.h>

enum { TABLE_COLUMNS_MAX = 12 };

struct table {
    size_t n_columns;
    char **cells; /* row by row */
    const char **colors;
    size_t n_rows, cap;
    int error; /* 0 or -ENOMEM */
};

void table_init(struct table *t, size_t n_columns);
/* Copies the texts, control characters as spaces; `color` (borrowed, may be "") is for the column `color_column`. */
void table_add(struct table *t, const char *const *texts, const char *color);
/* 0, or -ENOMEM if the table is not complete. */
int table_print(const struct table *t, FILE *out, size_t color_column, const char *color_off);
void table_done(struct table *t);

#endif
