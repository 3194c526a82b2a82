int tw_f(void);
int tw_f(void)
{
    int unused = 1;
    return 0;
}
