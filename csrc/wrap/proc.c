/* Making and ending processes. Children inherit their lineage from here: fork's own through pthread_atfork (attach.c), those
 * that share our memory (vfork, posix_spawn, system, popen) through a mark that stands while they may be running. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "../sys.h"
#include "wrap.h"

void fl_spawn_begin(void)
{
    struct fl_proc *proc = fl_myself();
    if (proc) {
        fl_thread.child = NULL;
        fl_thread.spawning = __atomic_add_fetch(&proc->children, 1, __ATOMIC_RELAXED);
        fl_thread.plain_actor = 0;
    }
}

void fl_spawn_end(void)
{
    fl_thread.spawning = 0;
    if (fl_thread.left_behind) {
        fl_sys3(SYS_munmap, fl_thread.left_behind, fl_thread.left_bytes, 0);
        fl_thread.left_behind = NULL;
    }
}

/* `first` is for children that nobody tells of their birth: they find it out by themselves, which is surest in a wiped page. */
#define FORK(symbol, first)                                                       \
    FL_EXPORT pid_t symbol(void);                                                 \
    FL_EXPORT pid_t symbol(void)                                                  \
    {                                                                             \
        first;                                                                    \
        return FL_IDLE(FORK) ? FL_REAL(symbol, pid_t, void)() : (pid_t)FL_CALL(symbol, FORK, 0); \
    }
FORK(fork, )
FORK(__fork, )
FORK(_Fork, fl_myself())

/* For vfork's assembly: 0 to go on; in the parent afterwards; and when a rule said no. */
__attribute__((visibility("hidden"))) int fl_vfork_begin(void)
{
    if (!FL_IDLE(VFORK) && FL_CALL(fl_nothing, VFORK, 0) < 0)
        return 1;
    fl_spawn_begin();
    return 0;
}

__attribute__((visibility("hidden"))) pid_t fl_vfork_parent(long result)
{
    fl_spawn_end();
    if (result < 0)
        errno = (int)-result;
    result = result < 0 ? -1 : result;
    fl_journal_late(FL_OP_VFORK, FL_CALL_DONE, result);
    return (pid_t)result;
}

__attribute__((visibility("hidden"))) pid_t fl_vfork_refused(void) { return -1; }

/* A clone that shares memory and makes us wait is a vfork on another stack. */
FL_EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *argument, ...)
{
    va_list rest;
    va_start(rest, argument);
    long parent_tid = va_arg(rest, long), tls = va_arg(rest, long), child_tid = va_arg(rest, long);
    va_end(rest);
    if (!FL_IDLE(CLONE) && FL_CALL(fl_nothing, CLONE, 0) < 0)
        return -1;
    int spawn = (flags & (CLONE_VM | CLONE_VFORK)) == (CLONE_VM | CLONE_VFORK);
    if (spawn)
        fl_spawn_begin();
    else
        fl_myself();
    int result = FL_REAL(clone, int, int (*)(void *), void *, int, void *, long, long, long)(fn, stack, flags, argument, parent_tid,
                                                                                              tls, child_tid);
    if (spawn)
        fl_spawn_end();
    fl_journal_late(FL_OP_CLONE, FL_CALL_DONE, result);
    return result;
}

#define SPAWN(symbol)                                                             \
    FL_EXPORT int symbol(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr, \
                         char *const argv[], char *const envp[])                  \
    {                                                                             \
        fl_spawn_begin();                                                         \
        long a[6] = {(long)pid, (long)path, (long)actions, (long)attr, (long)argv, (long)envp}; \
        int result = FL_IDLE(POSIX_SPAWN) ? (int)fl_real[FL_SYM_##symbol](a[0], a[1], a[2], a[3], a[4], a[5]) \
                                          : (int)fl_call(FL_SYM_##symbol, FL_OP_POSIX_SPAWN, a); \
        fl_spawn_end();                                                           \
        return result;                                                            \
    }
SPAWN(posix_spawn)
SPAWN(posix_spawnp)

FL_EXPORT int system(const char *command)
{
    fl_spawn_begin();
    int result = FL_IDLE(SYSTEM) ? FL_REAL(system, int, const char *)(command) : (int)FL_CALL(system, SYSTEM, (long)command);
    fl_spawn_end();
    return result;
}

FL_EXPORT FILE *popen(const char *command, const char *mode)
{
    fl_spawn_begin();
    FILE *result = FL_IDLE(POPEN) ? FL_REAL(popen, FILE *, const char *, const char *)(command, mode)
                                  : (FILE *)FL_CALL(popen, POPEN, (long)command, (long)mode);
    fl_spawn_end();
    return result;
}

/* The slot is given up at the very end: a rule may still act on _exit, and stdio flushes after every destructor. */
__attribute__((visibility("hidden"))) _Noreturn void fl_last_exit(int status)
{
    fl_leave();
    for (;;)
        fl_sys1(SYS_exit_group, status);
}

#define EXIT(symbol, OP)                                                          \
    FL_EXPORT void symbol(int status)                                             \
    {                                                                             \
        if (FL_IDLE(OP))                                                          \
            FL_REAL(symbol, void, int)(status);                                   \
        else                                                                      \
            FL_CALL(symbol, OP, status);                                          \
        fl_last_exit(status); /* a rule skipped it */                             \
    }
EXIT(exit, EXIT)
EXIT(_exit, UNDERSCORE_EXIT)
EXIT(_Exit, UNDERSCORE_EXIT)
EXIT(quick_exit, EXIT)

/* A program whose main returns ends by libc's exit, which passes no symbol: what libc calls as its main is ours. */
static int (*program_main)(int, char **, char **) FL_EARLY;

static FL_STARTUP int main_and_exit(int argc, char **argv, char **envp)
{
    int status = program_main(argc, argv, envp);
    if (!FL_IDLE(EXIT))
        exit(status);
    return status;
}

FL_EXPORT int __libc_start_main(int (*entry)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                                void (*loaders_fini)(void), void *stack_end) FL_STARTUP;
FL_EXPORT int __libc_start_main(int (*entry)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                                void (*loaders_fini)(void), void *stack_end)
{
    __typeof__(__libc_start_main) *start = fl_libc_symbol("__libc_start_main"); /* once: not by way of fl_real */
    program_main = entry;
    return start(main_and_exit, argc, argv, init, fini, loaders_fini, stack_end);
}
