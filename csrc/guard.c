/* The guard: a small process that outlives the controller. When the controller is gone it disarms the targets, and once the
 * last attached process is gone too it removes the session's folder. Only raw system calls after the fork: the controller
 * may have had threads. */
#include "cleanup.h"
#include "control.h"
#include "lend.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWNER 3
#define GOODBYE 4
#define LIFELINE 5
#define BLOCK 6
#define LENDING 7
#define BEYOND (OWNER + FL_GUARD_DESCRIPTORS)
#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(number) #number
#define LOOK_AGAIN_MS 200

_Static_assert(sizeof(pthread_mutex_t) <= sizeof ((struct fl_ctl *)0)->owner_lock, "owner_lock has no room for a mutex");

/* The calling thread becomes the owner until it ends or calls fl_disown: the kernel marks the lock's word when that happens
 * (futex(2), robust list), and every target sees it, in whatever pid namespace, however late. */
int fl_own(struct fl_ctl *ctl)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)ctl->owner_lock;
    pthread_mutexattr_t robust;
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
    int error = pthread_mutex_init(lock, &robust);
    return error ? error : pthread_mutex_lock(lock);
}

void fl_disown(struct fl_ctl *ctl) { pthread_mutex_unlock((pthread_mutex_t *)ctl->owner_lock); }

/* Until no attached process is left. Whoever stops itself at the very moment of the disarming is woken here. */
static void outlive_targets(struct fl_ctl *ctl)
{
    int pid;
    while ((pid = fl_someone_attached(ctl, 0))) {
        int stopped = fl_continue_stopped(ctl, 0);
        struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
        poll(&end, 1, end.fd < 0 || stopped ? LOOK_AGAIN_MS : 5 * LOOK_AGAIN_MS);
        close(end.fd);
    }
}

/* Another way into the lifeline for each who asks: whom it is to wake is a property of the opened file. */
static void lend(const struct fl_ctl *ctl)
{
    int lifeline = open("/proc/self/fd/" TEXT(LIFELINE), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    fl_lend(ctl, LENDING, BLOCK, lifeline);
    close(lifeline);
}

/* Until the owner is gone or says goodbye. */
static void serve(const struct fl_ctl *ctl)
{
    struct pollfd wait[3] = {
        {.fd = OWNER, .events = POLLIN}, {.fd = GOODBYE, .events = POLLIN}, {.fd = LENDING, .events = POLLIN}};
    for (;;) {
        int ready = poll(wait, 3, -1);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready < 0 || wait[0].revents || wait[1].revents)
            return;
        if (wait[2].revents & POLLIN)
            lend(ctl);
        else
            wait[2].fd = -1;
    }
}

/* Disarms the targets once the owner is gone, outlives the last of them. */
static void guard_main(struct fl_ctl *ctl, const char *folder)
{
    prctl(PR_SET_NAME, "faultlib-guard", 0, 0, 0);
    serve(ctl);
    close(LENDING);
    close(BLOCK);
    fl_disarm(ctl);
    outlive_targets(ctl);
    fl_remove_folder(folder);
}

/* Gives the guard's descriptors their numbers and closes all others: those first, as there may be no room for more. */
static void arrange(const int *from)
{
    int kept[FL_GUARD_DESCRIPTORS], high[FL_GUARD_DESCRIPTORS];
    for (int i = 0; i < FL_GUARD_DESCRIPTORS; i++) {
        int at = i;
        for (; at && kept[at - 1] > from[i]; at--)
            kept[at] = kept[at - 1];
        kept[at] = from[i];
    }
    unsigned next = 0;
    for (int i = 0; i < FL_GUARD_DESCRIPTORS; next = (unsigned)kept[i++] + 1)
        if ((unsigned)kept[i] > next)
            syscall(SYS_close_range, next, (unsigned)kept[i] - 1, 0);
    syscall(SYS_close_range, next, ~0u, 0);
    for (int i = 0; i < FL_GUARD_DESCRIPTORS; i++)
        high[i] = from[i] >= BEYOND ? from[i] : fcntl(from[i], F_DUPFD, BEYOND);
    int null = open("/dev/null", O_RDWR);
    for (int i = 0; i < OWNER; i++)
        dup2(null, i);
    for (int i = 0; i < FL_GUARD_DESCRIPTORS; i++)
        dup2(high[i], OWNER + i);
    syscall(SYS_close_range, BEYOND, ~0u, 0);
}

int fl_guard_spawn(struct fl_ctl *ctl, const int *descriptors, const char *folder)
{
    /* Without an exit signal: the guard is a child that the program's own waits do not see (fl_guard_reap does). */
    long guard = syscall(SYS_clone, 0, 0, 0, 0, 0, 0);
    if (guard != 0)
        return guard < 0 ? -errno : (int)guard;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    setsid();
    arrange(descriptors);
    if (chdir("/"))
        _exit(1);
    guard_main(ctl, folder);
    _exit(0);
}

/* Collects an ended guard; 1 if it had ended. */
int fl_guard_reap(int pid) { return waitpid(pid, NULL, __WALL | WNOHANG) == pid; }
