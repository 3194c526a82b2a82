/* atoi() in a comment and in "atoi(" a string is none. */
void f(char *to, const char *from)
{ strcpy(to, from);
    int n = atoi ("atoi(");
    (void)n; usleep(1);
}
