/* Where the session is: what our own path says of it, and its control block, mapped. Constructor only, except
 * fl_descriptor_path. */
#include "append.h"
#include "attach.h"
#include "lend.h"
#include "shim.h"
#include "sys.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Our own path says it all: .../faultlib.<pid>.<fd>.<uid>/<launch>.so */
int fl_read_place(const char *path, struct fl_place *place)
{
    static const char mark[] = "/faultlib.";
    const char *at = strstr(path, mark);
    if (!at)
        return 0;
    at += sizeof mark - 1;
    place->pid = (int)fl_number_at(&at, 10);
    if (*at++ != '.')
        return 0;
    place->fd = (int)fl_number_at(&at, 10);
    if (*at++ != '.')
        return 0;
    place->uid = fl_number_at(&at, 16);
    if (*at++ != '/')
        return 0;
    place->launch = (uint32_t)fl_number_at(&at, 10);
    return !strcmp(at, ".so");
}

/* "/proc/PID/fd/N"; `out` has room for 64. */
void fl_descriptor_path(char *out, int pid, int fd)
{
    out = fl_append_number(fl_append(out, "/proc/"), (uint64_t)pid);
    fl_append_number(fl_append(out, "/fd/"), (uint64_t)fd);
}

/* The areas are looked at too: a block that was scribbled on must not take the target down. */
static int is_ours(const struct fl_ctl *ctl, const struct fl_place *place, uint64_t size)
{
    if (ctl->magic != FL_MAGIC || ctl->abi != FL_ABI || ctl->uid != place->uid || ctl->size != size || ctl->closed)
        return 0;
    for (const uint64_t *area = &ctl->text_buckets_off; area <= &ctl->strings_off; area++)
        if (*area < sizeof *ctl || *area >= size || *area % 8)
            return 0;
    return ctl->firings.offset < size && ctl->firings.capacity && ctl->journal.offset < size && ctl->journal.capacity;
}

/* Maps the whole block and closes its descriptor; null: another file, another version, or not sealed against truncation. */
static struct fl_ctl *map_descriptor(long fd, const struct fl_place *place)
{
    struct stat st;
    struct fl_ctl *ctl = NULL;
    long seals = fl_sys3(SYS_fcntl, fd, F_GET_SEALS, 0);
    if (seals >= 0 && (seals & F_SEAL_SHRINK) && !fl_sys3(SYS_fstat, fd, &st, 0) && st.st_size >= (off_t)sizeof *ctl) {
        long at = fl_sys6(SYS_mmap, 0, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if ((unsigned long)at < -4095ul)
            ctl = (struct fl_ctl *)at;
        if (ctl && !is_ours(ctl, place, (uint64_t)st.st_size)) {
            fl_sys3(SYS_munmap, at, st.st_size, 0);
            ctl = NULL;
        }
    }
    fl_sys1(SYS_close, fd);
    return ctl;
}

/* Null: the session is gone, or this is none of its processes. *number: our own where the controller lives, 0 if nobody said it. */
struct fl_ctl *fl_map_block(const char *link, const struct fl_place *place, int *number)
{
    char path[64];
    struct fl_loan loan;
    struct fl_ctl *ctl = NULL;
    fl_descriptor_path(path, place->pid, place->fd);
    long fd = fl_sys(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    *number = 0;
    if (fd >= 0)
        ctl = map_descriptor(fd, place);
    if (ctl || !fl_borrow(link, &loan))
        return ctl;
    *number = loan.pid;
    fl_sys1(SYS_close, loan.lifeline);
    return map_descriptor(loan.block, place);
}
