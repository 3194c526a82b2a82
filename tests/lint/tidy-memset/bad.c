#include <string.h>
void f(int *p)
{
    memset(p, '0', 10);
}
