/* The data log's way out of shared memory: one thread of the controller writes it to a file as it comes. Runs without Python's lock. */
#include "control.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NAP_NS 200000
#define MUCH(capacity) ((capacity) / 4) /* of less it waits for more: who looks all the time takes the writers' words from them */
#define PORTION(capacity) ((capacity) / 8) /* there is room again after each */

static void make_room(struct fl_datalog *log, uint64_t tail)
{
    __atomic_store_n(&log->tail, tail, __ATOMIC_SEQ_CST);
    if (!__atomic_exchange_n(&log->waiting, 0, __ATOMIC_SEQ_CST))
        return;
    __atomic_add_fetch(&log->drained, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &log->drained, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Writes [from, to) out, portion by portion; after an error it is thrown away, so that nobody has to wait for room that never comes. */
static int write_out(struct fl_ctl *ctl, int fd, uint64_t from, uint64_t to)
{
    const char *ring = (const char *)ctl + ctl->datalog.offset;
    uint64_t capacity = ctl->datalog.capacity;
    while (from < to) {
        uint64_t at = from & (capacity - 1), n = to - from < capacity - at ? to - from : capacity - at;
        ssize_t done = write(fd, ring + at, n < PORTION(capacity) ? n : PORTION(capacity));
        if (done < 0 && errno != EINTR)
            return -errno;
        from += done > 0 ? (uint64_t)done : 0;
        make_room(&ctl->datalog, from);
    }
    return 0;
}

/* A handler may have written when its call had published everything already: the next one would have published it. */
static uint64_t rest_of(struct fl_datalog *log, uint64_t tail)
{
    uint64_t cursor = fl_load(&log->cursor);
    return __atomic_load_n(&log->lock, __ATOMIC_ACQUIRE) ? tail : cursor;
}

int fl_datalog_spill(struct fl_ctl *ctl, int fd, uint64_t *stop)
{
    struct timespec nap = {.tv_nsec = NAP_NS};
    struct fl_datalog *log = &ctl->datalog;
    uint64_t tail = log->tail;
    int error = 0;
    for (;;) {
        uint64_t stopping = fl_load(stop), head = fl_load(&log->head);
        if (head != tail && !error)
            error = write_out(ctl, fd, tail, head);
        uint64_t came = head - tail;
        if (came) {
            tail = head;
            make_room(log, tail);
            if (came >= MUCH(log->capacity) || stopping)
                continue;
        }
        if (stopping && !error)
            error = write_out(ctl, fd, tail, rest_of(log, tail));
        if (stopping)
            return error;
        nanosleep(&nap, NULL);
    }
}
