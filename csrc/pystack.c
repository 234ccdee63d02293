/* The Python stack of the calling thread, in the words of Python's own faulthandler, 3.7 and later. No signal, no descriptor, no
 * file, no environment: inside a pending call faulthandler is registered for a real-time signal that has no handler, with a
 * number that is no descriptor; the address of its handler is read back, the signal's old disposition restored, and from then on
 * that function is called like any other. Python's own import of write() is redirected: what goes to that number is the stack.
 *
 * A dump reads the interpreter's state without its lock, so it must not run while that is taken down or copied: one dump at a
 * time, under `dumping`, which fork and the interpreter's exit take too. Signals are blocked meanwhile, so that no handler comes
 * in between or jumps out. From any context but vfork children. */
#include "forkpoint.h"
#include "shim.h"
#include "sys.h"
#include <errno.h>
#include <link.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#define OUR_FD 0x7ffffff0
#define ROOM 8192
#define FRAMES_KEPT 40
#define ATTEMPTS 20000

enum { NO_PYTHON, FOUND, ASKED, READY, UNABLE };
static int state FL_EARLY;
enum { IDLE, BUSY, LEFT };
static int dumping FL_EARLY;

static void (*dump)(int);
static int dump_signal;
static char text[ROOM];
static unsigned length, frames;

/* The few functions of the C API that it takes. */
static struct {
    int (*Py_IsInitialized)(void);
    int (*Py_AddPendingCall)(int (*)(void *), void *);
    void *(*PyImport_ImportModule)(const char *);
    void *(*PyImport_GetModuleDict)(void);
    void *(*PyDict_GetItemString)(void *, const char *);
    int (*PyDict_DelItemString)(void *, const char *);
    void *(*PyObject_CallMethod)(void *, const char *, const char *, ...);
    void *(*PyCFunction_NewEx)(void *, void *, void *);
    void *(*Py_BuildValue)(const char *, ...);
    void (*PyErr_Clear)(void);
    void (*Py_DecRef)(void *);
} py FL_EARLY;

static const struct link_map *library FL_EARLY; /* that has them */
static const char *const names[] = {
    "Py_IsInitialized", "Py_AddPendingCall", "PyImport_ImportModule", "PyImport_GetModuleDict", "PyDict_GetItemString",
    "PyDict_DelItemString", "PyObject_CallMethod", "PyCFunction_NewEx", "Py_BuildValue", "PyErr_Clear", "Py_DecRef",
};
_Static_assert(sizeof names / sizeof *names == sizeof py / sizeof(void *), "every function has a name");

static FL_STARTUP int find_functions(const struct link_map *map)
{
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (!(((void **)&py)[i] = fl_symbol_of(map, names[i])))
            return 0;
    return 1;
}

static FL_STARTUP int is_libpython(const char *name)
{
    const char *slash = strrchr(name, '/');
    return !strncmp(slash ? slash + 1 : name, "libpython", 9);
}

/* write() as Python itself calls it, and nobody else: what goes to our number is the dump. */
static ssize_t (*write_before)(int, const void *, size_t);
static ssize_t write_or_keep(int fd, const void *data, size_t n)
{
    if (fl_likely(fd != OUR_FD) || !fl_thread.dumping)
        return write_before(fd, data, n);
    const char *from = data;
    frames += n == 1 && *from == '\n';
    if (frames < FRAMES_KEPT && length + n < ROOM)
        for (size_t i = 0; i < n; i++)
            text[length++] = from[i];
    return (ssize_t)n;
}

static void bind_write(void *function) { ((ssize_t(*)(int, const void *, size_t))function)(-1, "", 0); }

/* Signals as the kernel counts them: glibc keeps two of them to itself, and the dump must not be cancelled either. */
static uint64_t block_signals(void)
{
    uint64_t all = ~0ull, before = 0;
    fl_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    return before;
}

static void restore_signals(uint64_t before) { fl_sys(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof before); }

/* Bounded: whoever holds it may have been stopped or killed in the middle. */
static int take(int as)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        int idle = IDLE;
        if (__atomic_compare_exchange_n(&dumping, &idle, as, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return 1;
        if (idle == LEFT)
            return 0;
        fl_sys1(SYS_sched_yield, 0);
    }
    return 0;
}

/* Called by Python's atexit, as the last of its callbacks: after this the interpreter is taken down. */
static void *leave(void *self, void *arguments)
{
    (void)self, (void)arguments;
    take(LEFT);
    __atomic_store_n(&state, UNABLE, __ATOMIC_RELEASE);
    return py.Py_BuildValue("");
}

static int call(const char *module, const char *function, const char *format, long a, long b)
{
    void *object = py.PyImport_ImportModule(module);
    void *result = object ? py.PyObject_CallMethod(object, function, format, a, b, 0, 0) : NULL;
    if (!result)
        py.PyErr_Clear();
    if (object)
        py.Py_DecRef(object);
    if (result)
        py.Py_DecRef(result);
    return result != NULL;
}

static int free_signal(struct sigaction *old)
{
    for (int number = SIGRTMAX; number > SIGRTMIN; number--)
        if (!sigaction(number, NULL, old) && old->sa_handler == SIG_DFL)
            return number;
    return 0;
}

static int register_dump(void)
{
    struct sigaction old, now;
    write_before = fl_redirect_import(library, "write", (void *)write_or_keep, bind_write);
    if (!write_before)
        return 0;
    if (!(dump_signal = free_signal(&old)) || !call("faulthandler", "register", "iiii", dump_signal, OUR_FD))
        return 0;
    sigaction(dump_signal, &old, &now);
    dump = now.sa_handler;
    return dump != SIG_DFL && dump != SIG_IGN;
}

/* The pending call: the main thread of the main interpreter, between two of its instructions, with its lock. Calls that Python
 * makes on our behalf are nobody's operations. */
static int get_ready(void *unused)
{
    (void)unused;
    static struct { const char *name; void *(*function)(void *, void *); int flags; const char *doc; } on_exit = {
        "faultlib", leave, 4 /* METH_NOARGS */, NULL,
    };
    if (__atomic_load_n(&state, __ATOMIC_ACQUIRE) != ASKED)
        return 0;
    int error = errno;
    uint64_t signals = block_signals();
    fl_thread.dumping = 1;
    fl_thread.plain_actor = 0;
    void *modules = py.PyImport_GetModuleDict();
    int was_there = py.PyDict_GetItemString(modules, "faulthandler") != NULL;
    void *callback = py.PyCFunction_NewEx(&on_exit, NULL, NULL);
    int ready = callback && call("atexit", "register", "O", (long)callback, 0) && register_dump();
    if (callback)
        py.Py_DecRef(callback);
    if (!was_there && py.PyDict_DelItemString(modules, "faulthandler"))
        py.PyErr_Clear();
    fl_thread.dumping = 0;
    restore_signals(signals);
    struct fl_proc *proc = ready ? NULL : fl_myself();
    if (proc)
        __atomic_fetch_or(&proc->flags, FL_PROC_NO_STACKS, __ATOMIC_RELAXED);
    __atomic_store_n(&state, ready ? READY : UNABLE, __ATOMIC_RELEASE);
    errno = error;
    return 0;
}

/* Asks the interpreter, once it is up, to let us get ready. */
static void ask(void)
{
    int found = FOUND;
    if (py.Py_IsInitialized() && __atomic_compare_exchange_n(&state, &found, ASKED, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED) &&
        py.Py_AddPendingCall(get_ready, NULL))
        __atomic_store_n(&state, FOUND, __ATOMIC_RELEASE);
}

/* Python's first calls after it is up: where no rule or trace wants them, they come here all the same, to ask in time. */
#define WATCHED(X) X(open64) X(open) X(stat64) X(fstat64) X(read) X(lseek64)
#define WATCH(symbol)                                                            \
    static fl_fn symbol##_before;                                                \
    static long watch_##symbol(long a, long b, long c, long d, long e, long f)   \
    {                                                                            \
        watch();                                                                 \
        return symbol##_before(a, b, c, d, e, f);                                \
    }
static void watch(void);
WATCHED(WATCH)

static void watch(void)
{
    int error = errno;
    if (__atomic_load_n(&state, __ATOMIC_RELAXED) == FOUND && !fl_thread.spawning)
        ask();
    if (__atomic_load_n(&state, __ATOMIC_RELAXED) != FOUND) {
#define UNWATCH(symbol) fl_real[FL_SYM_##symbol] = symbol##_before;
        WATCHED(UNWATCH)
    }
    errno = error;
}

const struct link_map *fl_python_library(void) { return library; }

void fl_python_forget(void) { __atomic_store_n(&state, UNABLE, __ATOMIC_RELEASE); }

/* Constructor: is this a Python? Returns whether it is. */
FL_STARTUP int fl_python_find(void)
{
    const struct link_map *map = _r_debug.r_map;
    int found = find_functions(map);
    while (!found && (map = map->l_next))
        found = is_libpython(map->l_name) && find_functions(map);
    if (!found)
        return 0;
    library = map;
    if (fl_ctl->options & FL_OPT_STACKS) {
        state = FOUND;
#define SET_WATCH(symbol) symbol##_before = fl_real[FL_SYM_##symbol], fl_real[FL_SYM_##symbol] = watch_##symbol;
        WATCHED(SET_WATCH)
    }
    return 1;
}

/* Around fork: the child's copy must not be taken in the middle of a dump. */
void fl_python_before_fork(void)
{
    if (state == READY && !take(BUSY))
        __atomic_store_n(&state, UNABLE, __ATOMIC_RELEASE);
}

void fl_python_after_fork(int in_child)
{
    if (dumping == BUSY)
        __atomic_store_n(&dumping, IDLE, __ATOMIC_RELEASE);
    if (in_child && state == ASKED)
        __atomic_store_n(&state, FOUND, __ATOMIC_RELEASE);
}

/* The stack of this thread, interned. 0: there is none. */
uint32_t fl_python_stack(void)
{
    if (fl_likely(__atomic_load_n(&state, __ATOMIC_ACQUIRE) != READY)) {
        if (state == FOUND)
            ask();
        return 0;
    }
    if (!py.Py_IsInitialized())
        return 0;
    uint64_t signals = block_signals();
    uint32_t id = 0;
    if (take(BUSY)) {
        length = frames = 0;
        fl_thread.dumping = 1;
        fl_thread.plain_actor = 0;
        dump(dump_signal);
        fl_thread.dumping = 0;
        id = length ? fl_text(text, length) : 0;
        __atomic_store_n(&dumping, IDLE, __ATOMIC_RELEASE);
    } else if (__atomic_load_n(&dumping, __ATOMIC_RELAXED) == BUSY) {
        __atomic_add_fetch(&fl_ctl->stacks_missed, 1, __ATOMIC_RELAXED);
    }
    restore_signals(signals);
    return id;
}
