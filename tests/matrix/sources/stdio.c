/* stdio OPERATION FILE [FILE]: the same through streams, none of whose calls pass libc's symbols. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed(const char *what)
{
    printf("%s failed: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    const char *op = argv[1], *file = argv[2], *other = argc > 3 ? argv[3] : "";
    char line[64];
    if (!strcmp(op, "rename"))
        return rename(file, other) ? failed(op) : 0;
    if (!strcmp(op, "remove"))
        return remove(file) ? failed(op) : 0;
    FILE *stream = fopen(file, "r+");
    if (!stream)
        return failed("fopen");
    if (!strcmp(op, "read") && !fgets(line, sizeof line, stream))
        return failed("fgets");
    if (!strcmp(op, "fread") && !fread(line, 1, sizeof line, stream))
        return failed(op);
    if (!strcmp(op, "write") && (fprintf(stream, "x%s", op) < 0 || fflush(stream)))
        return failed("fflush");
    if (!strcmp(op, "sync") && (fputs("x", stream) < 0 || fflush(stream) || fsync(fileno(stream))))
        return failed("fsync");
    if (!strcmp(op, "truncate") && ftruncate(fileno(stream), 1))
        return failed(op);
    return fclose(stream) ? failed("fclose") : 0;
}
