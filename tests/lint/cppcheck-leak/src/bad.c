#include <stdlib.h>
int f(void)
{
    char *p = malloc(10);
    if (!p)
        return -1;
    p[0] = 1;
    return 0;
}
