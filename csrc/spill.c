/* The journal's way out of shared memory: one thread of the controller copies finished records to a file, so that the ring stays
 * small however many calls a program makes. Runs without Python's lock. */
#include "control.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCH 1024
#define NAP_NS 1000000
#define PATIENCE_NAPS 2000      /* a writer that was killed in the middle of a record: it is given up after 2 s */
#define LAST_PATIENCE_NAPS 100

static int write_all(int fd, const char *data, size_t n)
{
    while (n) {
        ssize_t done = write(fd, data, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        data += done;
        n -= (size_t)done;
    }
    return 0;
}

static void wake_writers(struct fl_ring *ring)
{
    __atomic_store_n(&ring->given_up, 0, __ATOMIC_RELAXED);
    if (!__atomic_exchange_n(&ring->waiting, 0, __ATOMIC_SEQ_CST))
        return;
    __atomic_add_fetch(&ring->drained, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &ring->drained, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static int has_unread(struct fl_ring *ring) { return __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) != ring->tail; }

static void skip_one(struct fl_ring *ring)
{
    ring->cut++;
    __atomic_add_fetch(&ring->tail, 1, __ATOMIC_RELEASE);
}

int fl_spill(struct fl_ctl *ctl, struct fl_ring *ring, int fd, uint64_t *stop)
{
    struct fl_event batch[BATCH];
    struct timespec nap = {.tv_nsec = NAP_NS};
    int error = 0, naps = 0;
    for (;;) {
        uint64_t stopping = fl_load(stop), n = fl_drain(ctl, ring, batch, BATCH);
        wake_writers(ring);
        if (n && !error)
            error = write_all(fd, (const char *)batch, n * sizeof *batch);
        if (n && error)
            ring->lost += n;
        if (n) {
            naps = 0;
            continue;
        }
        int unread = has_unread(ring);
        if (stopping && !unread)
            return error;
        if (unread && naps++ >= (stopping ? LAST_PATIENCE_NAPS : PATIENCE_NAPS)) {
            skip_one(ring);
            naps = 0;
        }
        nanosleep(&nap, NULL);
    }
}
