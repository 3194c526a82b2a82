/* SPDX-License-Identifier: Apache-2.0 */
/* A program's own functions that happen to have names from inside the library: linked statically, each keeps its own. */
#include <stdlib.h>

int buf_append(void);
int map_get(void);
int db_open(void);
int log_write(void);
int engine_new(void);

int buf_append(void)
{
    abort();
}

int map_get(void)
{
    abort();
}

int db_open(void)
{
    abort();
}

int log_write(void)
{
    abort();
}

int engine_new(void)
{
    abort();
}
