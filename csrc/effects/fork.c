/* The fork point (forkpoint.c): the call at which the session's first process becomes a server of runs. What a Python imports is
 * the same in all of them: the listings that it makes for that, and the code that it keeps, are passed over. */
#include "effects.h"
#include <fcntl.h>
#include <string.h>

static int begins(const char *at, const char *end, const char *with)
{
    size_t n = strlen(with);
    return (size_t)(end - at) >= n && !memcmp(at, with, n);
}

/* Whether the innermost Python code is that of the import system. */
static int is_import(struct fl_frame *f)
{
    uint32_t id = f->proc && f->proc->flags & FL_PROC_PYTHON ? fl_stack(f) : 0;
    if (!id)
        return 0;
    const struct fl_text *entry = &FL_AREA(struct fl_text, texts_off)[id - 1];
    const char *at = FL_AREA(const char, text_bytes_off) + entry->offset, *end = at + entry->length;
    while (at < end && *at != '"')
        at++;
    return begins(at, end, "\"<frozen importlib") || begins(at, end, "\"<frozen zipimport");
}

static int may_change(const struct fl_frame *f)
{
    if (f->info->family != FL_FAM_OPEN || !f->info->flags)
        return 1;
    return f->a[f->info->flags - 1] & (O_ACCMODE | O_CREAT | O_TRUNC);
}

static int is_here(struct fl_frame *f, const struct fl_rule *rule)
{
    if (rule->value == FL_FORK_AT_CHANGE && !may_change(f))
        return 0;
    if (rule->value == FL_FORK_AT_ANY || rule->value == FL_FORK_AT_START)
        return 1;
    return rule->value != FL_FORK_AT_NONE && !is_import(f);
}

/* The call, and the name of the file that it has opened; none if it has not. */
static long invoke(struct fl_frame *f, char *path, size_t room)
{
    char link[32];
    long result = fl_invoke(f), n = 0;
    if (f->info->family == FL_FAM_OPEN && f->info->result == FL_RESULT_FD && result >= 0) {
        fl_fd_link(link, (int)result);
        n = fl_sys(SYS_readlinkat, AT_FDCWD, link, path, room - 1);
    }
    path[n > 0 && path[0] == '/' ? n : 0] = '\0';
    return result;
}

/* The call, where it is not the point. What is opened by a link's name was looked at too early. */
static long pass(struct fl_frame *f)
{
    char path[FL_PATH_MAX];
    long result = invoke(f, path, sizeof path);
    if (path[0] && fl_differs_between_runs(path))
        fl_refuse_forks(FL_FORK_OTHER_NAME);
    return result;
}

/* The call in a run. */
static long watch(struct fl_frame *f)
{
    char path[FL_PATH_MAX];
    long result = invoke(f, path, sizeof path);
    if (path[0])
        fl_note_name((int)result, fl_path_text(f->path), path);
    return result;
}

/* The call at which a run begins: rules that watch came after it was decided. */
static long first(struct fl_frame *f)
{
    fl_count_again(f);
    return watch(f);
}

FL_EFFECT(fork)
{
    f->injected = FL_LEFT_ALONE; /* nothing happens to the call */
    uint32_t state = __atomic_load_n(&fl_ctl->fork.state, __ATOMIC_ACQUIRE);
    if (state != FL_FORK_ARMED)
        return state == FL_FORK_READY ? watch(f) : fl_invoke(f);
    if (!is_here(f, choice->rule))
        return pass(f);
    int pid = (int)fl_sys1(SYS_getpid, 0);
    if (f->foreign || strcmp(f->proc->lineage, "1") || pid != fl_attached.pid)
        fl_refuse_forks(FL_FORK_NOT_FIRST);
    else if ((f->info->family == FL_FAM_EXEC || f->info->family == FL_FAM_FORK) && choice->rule->value != FL_FORK_AT_START)
        fl_refuse_forks(FL_FORK_EXEC);
    else if (fl_serve_forks())
        return first(f);
    return fl_invoke(f);
}
