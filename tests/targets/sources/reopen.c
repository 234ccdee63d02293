/* reopen: standard output goes to `first`, then by freopen to `second`. */
#include <stdio.h>

static void put(const char *name)
{
    int bad = printf("x\n") < 0 || fflush(stdout);
    fprintf(stderr, "%s %s\n", name, bad ? "failed" : "ok");
    clearerr(stdout);
}

int main(void)
{
    if (!freopen("first", "w", stdout))
        return 1;
    put("first");
    if (!freopen("second", "w", stdout))
        return 1;
    put("second");
    return 0;
}
