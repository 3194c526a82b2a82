int f(int x)
{
    int *p = 0;
    if (x)
        return *p;
    return 0;
}
