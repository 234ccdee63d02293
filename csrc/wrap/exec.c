/* Exec: the session goes along. The environment gets the shim's link back into LD_PRELOAD, whatever the program made of it; the
 * slot is marked pending and the new image's constructor clears that. What stays pending (static, setuid, another libc) is
 * named by the controller. Runs in vfork children: nothing of the process is changed for good. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../sys.h"
#include "image.h"
#include "../mapped.h"
#include "wrap.h"

#define NAME "LD_PRELOAD="
#define NAME_BYTES (sizeof NAME - 1)
#define SMALL_ENVIRONMENT 384

static size_t count(char *const envp[])
{
    size_t n = 0;
    while (envp && envp[n])
        n++;
    return n;
}

static const char *preload_of(char *const envp[])
{
    for (size_t i = 0; envp && envp[i]; i++)
        if (!strncmp(envp[i], NAME, NAME_BYTES))
            return envp[i] + NAME_BYTES;
    return "";
}

/* What we write behind a sanitizer's runtime when we put it first for an image that needs it (faultlib/inject/target.py does at
 * the launch). Such a one is ours to drop; what the program wrote itself goes to every child. */
#define OURS ":::"

static const char *without_ours(const char *list)
{
    size_t n = strcspn(list, ": ");
    return fl_is_sanitizer(list, n) && !strncmp(list + n, OURS, sizeof OURS - 1) ? list + n + sizeof OURS - 1 : list;
}

static int begins_with(const char *list, const char *word)
{
    size_t n = strcspn(list, ": ");
    return n == strlen(word) && !memcmp(list, word, n);
}

struct span { const char *at; size_t n; };

/* The last session's link in the list of preloads. */
static struct span last_link(const char *list)
{
    struct span last = {NULL, 0};
    while (*list) {
        size_t n = strcspn(list, ": ");
        const char *mark = strstr(list, "/faultlib.");
        if (mark && mark < list + n)
            last = (struct span){list, n};
        list += n + strspn(list + n, ": ");
    }
    return last;
}

/* The link that the new image gets: ours; or that of another session whose controller runs under us and starts its target,
 * as long as that session is there (a dead link makes the loader complain). */
static struct span link_for(const char *list)
{
    struct span ours = {fl_link_path, strlen(fl_link_path)}, last = last_link(list);
    char path[sizeof fl_link_path];
    if (!last.n || last.n >= sizeof path || (last.n == ours.n && !memcmp(last.at, ours.at, ours.n)))
        return ours;
    memcpy(path, last.at, last.n);
    path[last.n] = '\0';
    return fl_sys3(SYS_faccessat, AT_FDCWD, path, 0 /* F_OK */) ? ours : last;
}

/* The list has this link, as the last word and as the only session's; or, for an empty link, none. What has to be first, is. */
static int already_right(const char *list, struct span link, const char *first)
{
    if (first[0] ? !begins_with(list, first) : without_ours(list) != list)
        return 0;
    const char *mark = strstr(list, "/faultlib.");
    if (!link.n || !mark)
        return !link.n && !mark;
    struct span last = last_link(list);
    return last.n == link.n && !memcmp(last.at, link.at, link.n) && !last.at[last.n] && mark >= last.at;
}

static char *add_word(char *out, const char **separator, const char *word, size_t n)
{
    size_t before = strlen(*separator);
    memcpy(out, *separator, before);
    memcpy(out + before, word, n);
    *separator = ":";
    return out + before + n;
}

/* Writes the list of preloads: without any other session's link, behind what has to be first, before our link. */
static char *write_list(char *out, const char *list, struct span link, const char *first)
{
    const char *separator = "";
    list = without_ours(list);
    if (first[0] && !begins_with(list, first)) {
        out = add_word(out, &separator, first, strlen(first));
        separator = OURS;
    }
    while (*list) {
        size_t n = strcspn(list, ": ");
        const char *mark = strstr(list, "/faultlib.");
        if (n && !(mark && mark < list + n))
            out = add_word(out, &separator, list, n);
        list += n + strspn(list + n, ": ");
    }
    if (link.n)
        out = add_word(out, &separator, link.at, link.n);
    *out = '\0';
    return out;
}

/* Fills `made` with the entries of `envp` and a new LD_PRELOAD, whose text goes behind them. */
static void make_list(char **made, char *text, char *const envp[], const char *list, struct span link, const char *first)
{
    size_t n = 0;
    for (size_t i = 0; envp && envp[i]; i++)
        if (strncmp(envp[i], NAME, NAME_BYTES))
            made[n++] = envp[i];
    memcpy(text, NAME, NAME_BYTES + 1);
    if (write_list(text + NAME_BYTES, list, link, first) != text + NAME_BYTES)
        made[n++] = text;
    made[n] = NULL;
}

typedef int (*exec_fn)(const char *, char *const[], char *const[], long, long);

/* For the report, which does not know our working directory. A name that is too long loses its beginning. */
static void name_absolutely(char *out, size_t room, const char *path)
{
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    size_t n = strlen(path);
    long below = path[0] == '/' || path[0] == '(' ? 0 : fl_sys3(SYS_getcwd, out, room, 0); /* its length, and one */
    if (below > 0 && (size_t)below + n < room)
        out[below - 1] = '/';
    else
        below = 0;
    strcpy(out + below, n < room ? path : path + n - room + 1);
}

static void mark_pending(struct fl_proc *proc, const char *path)
{
    name_absolutely(proc->exe, sizeof proc->exe, path);
    proc->execs++;
    __atomic_store_n(&proc->state, FL_PROC_EXEC_PENDING, __ATOMIC_RELEASE);
}

/* It failed: the image is still the one it was. */
static void unmark_pending(struct fl_proc *proc)
{
    long n = fl_sys(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", proc->exe, sizeof proc->exe - 1);
    proc->exe[n > 0 ? n : 0] = '\0';
    proc->execs--;
    __atomic_store_n(&proc->state, FL_PROC_LIVE, __ATOMIC_RELEASE);
}

/* Whoever really runs this: exec is rare, so ask the kernel; an unmarked child that shares our memory gets its own slot. */
static struct fl_proc *executing(void)
{
    int foreign, pid = (int)fl_sys1(SYS_getpid, 0);
    if (fl_thread.spawning)
        return fl_here(&foreign);
    struct fl_proc *own = fl_self_by_pid(pid);
    if (!own || pid == fl_attached.pid)
        return own;
    return fl_claim_child(own, __atomic_add_fetch(&own->children, 1, __ATOMIC_RELAXED), pid);
}

static int exec_with(exec_fn call, const char *path, char *const argv[], char *const envp[], const char *list, struct span link, const char *first,
                     struct fl_proc *proc, long extra, long extra2)
{
    size_t entries = count(envp) + 2, text = NAME_BYTES + strlen(list) + link.n + strlen(first) + sizeof OURS + 1;
    size_t bytes = entries * sizeof(char *) + text;
    char *small[SMALL_ENVIRONMENT];
    char **made = small;
    if (bytes > sizeof small) {
        long at = fl_sys6(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if ((unsigned long)at >= -4095ul) {
            errno = ENOMEM;
            return -1;
        }
        made = (char **)at;
        if (fl_thread.spawning) { /* a successful exec leaves it behind in our parent */
            fl_thread.left_behind = made;
            fl_thread.left_bytes = bytes;
        }
    }
    make_list(made, (char *)(made + entries), envp, list, link, first);
    mark_pending(proc, path);
    int result = call(path, argv, made, extra, extra2), error = errno;
    unmark_pending(proc);
    if (made != small) {
        fl_thread.left_behind = NULL;
        fl_sys3(SYS_munmap, made, bytes, 0);
    }
    errno = error;
    return result;
}

/* The new image's loader looks for the link from where we are: in a root directory, or among mounts, that may not have it, and as
 * the user that we are by now. It would complain. */
static int is_out_of_reach(const char *link)
{
    long error = fl_sys(SYS_faccessat2, AT_FDCWD, link, 0 /* F_OK */, AT_EACCESS | AT_SYMLINK_NOFOLLOW);
    return error == -ENOENT || error == -ENOTDIR || error == -EACCES;
}

/* The link for this exec, empty if it shall have none; the slot says why. */
static struct span choose_link(struct fl_proc *proc, const char *list)
{
    struct span link = link_for(list);
    uint32_t flags = proc->flags & ~(uint32_t)(FL_PROC_OUT_OF_REACH | FL_PROC_OTHER_SESSION);
    if (link.at != fl_link_path) {
        flags |= FL_PROC_OTHER_SESSION;
    } else if (__atomic_load_n(&fl_ctl->closed, __ATOMIC_ACQUIRE)) {
        link.n = 0;
    } else if (is_out_of_reach(fl_link_path)) {
        flags |= FL_PROC_OUT_OF_REACH;
        link.n = 0;
    }
    proc->flags = flags;
    return link;
}

/* `file` is what to look at to learn the loader; null when it is not a plain path. */
static int carry_out(exec_fn call, const char *file, const char *path, char *const argv[], char *const envp[], long extra, long extra2)
{
    struct fl_proc *proc = fl_ctl->magic && fl_readable(path) ? executing() : NULL;
    if (!proc)
        return call(path, argv, envp, extra, extra2);
    const char *list = preload_of(envp);
    struct span link = choose_link(proc, list);
    struct fl_image image = {.loader = FL_LOADER_GLIBC};
    if (file)
        fl_look_at_image(file, &image);
    if (image.loader == FL_LOADER_OTHER) /* its loader must not see our link */
        link.n = 0;
    if (!link.n)
        image.first[0] = '\0';
    if (!already_right(list, link, image.first))
        return exec_with(call, path, argv, envp, list, link, image.first, proc, extra, extra2);
    mark_pending(proc, path);
    int result = call(path, argv, envp, extra, extra2), error = errno;
    unmark_pending(proc);
    errno = error;
    return result;
}

static int exec(unsigned op, exec_fn call, const char *file, const char *path, char *const argv[], char *const envp[], long extra,
                long extra2)
{
    int is_followed = fl_recording() && fl_ctl->datalog.capacity && !fl_thread.spawning;
    if (is_followed)
        fl_mapped_leave();
    int result = carry_out(call, file, path, argv, envp, extra, extra2);
    if (is_followed)
        fl_mapped_stay();
    fl_journal_late(op, FL_CALL_CAME_BACK, result);
    return result;
}

static int call_execve(const char *path, char *const argv[], char *const envp[], long a, long b)
{
    (void)a, (void)b;
    return FL_REAL(execve, int, const char *, char *const *, char *const *)(path, argv, envp);
}
static int call_execvpe(const char *path, char *const argv[], char *const envp[], long a, long b)
{
    (void)a, (void)b;
    return FL_REAL(execvpe, int, const char *, char *const *, char *const *)(path, argv, envp);
}
static int call_execveat(const char *path, char *const argv[], char *const envp[], long dir, long flags)
{
    return FL_REAL(execveat, int, int, const char *, char *const *, char *const *, int)((int)dir, path, argv, envp, (int)flags);
}
static int call_fexecve(const char *path, char *const argv[], char *const envp[], long fd, long b)
{
    (void)path, (void)b;
    return FL_REAL(fexecve, int, int, char *const *, char *const *)((int)fd, argv, envp);
}

/* Asks the rules first: the operation itself is carried out by `exec`. */
#define REFUSED(OP, ...) (!FL_IDLE(OP) && fl_call(FL_SYM_fl_nothing, FL_OP_##OP, (long[6]){__VA_ARGS__}) < 0)

FL_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
    return REFUSED(EXECVE, (long)path) ? -1 : exec(FL_OP_EXECVE, call_execve, path, path, argv, envp, 0, 0);
}
FL_HIDDEN_TWIN(execve)

FL_EXPORT int execv(const char *path, char *const argv[]) { return execve(path, argv, environ); }

/* The search in PATH is libc's; with the entry patch each attempt comes back through execve. */
static int search(const char *file, char *const argv[], char *const envp[])
{
    if (fl_attached.proc && (fl_attached.proc->flags & FL_PROC_PATCHED))
        return call_execvpe(file, argv, envp, 0, 0);
    return REFUSED(EXECVE, (long)file) ? -1 : exec(FL_OP_EXECVE, call_execvpe, NULL, file, argv, envp, 0, 0);
}

FL_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[]) { return search(file, argv, envp); }
FL_EXPORT int execvp(const char *file, char *const argv[]) { return search(file, argv, environ); }

FL_EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
    if (REFUSED(EXECVEAT, dir, (long)path, 0, 0, flags))
        return -1;
    return exec(FL_OP_EXECVEAT, call_execveat, dir == AT_FDCWD || path[0] == '/' ? path : NULL, path, argv, envp, dir, flags);
}

FL_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
    return REFUSED(FEXECVE, fd) ? -1 : exec(FL_OP_FEXECVE, call_fexecve, NULL, "(descriptor)", argv, envp, fd, 0);
}

/* The variadic forms: their arguments as a list on the stack, as libc does it. */
#define COLLECT(first)                                            \
    va_list rest;                                                 \
    va_start(rest, first);                                        \
    size_t n = 1;                                                 \
    while (va_arg(rest, char *))                                  \
        n++;                                                      \
    va_end(rest);                                                 \
    char *argv[n + 1];                                            \
    va_start(rest, first);                                        \
    argv[0] = (char *)first;                                      \
    for (size_t i = 1; i <= n; i++)                               \
        argv[i] = va_arg(rest, char *);

FL_EXPORT int execl(const char *path, const char *first, ...)
{
    COLLECT(first)
    va_end(rest);
    return execve(path, argv, environ);
}

FL_EXPORT int execlp(const char *file, const char *first, ...)
{
    COLLECT(first)
    va_end(rest);
    return search(file, argv, environ);
}

FL_EXPORT int execle(const char *path, const char *first, ...)
{
    COLLECT(first)
    char *const *envp = va_arg(rest, char *const *);
    va_end(rest);
    return execve(path, argv, envp);
}
