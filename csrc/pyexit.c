/* The end of a Python that is a run at the fork point. Taking the interpreter down costs ten times what the fork does, as it
 * touches every object, each on a page that is still shared. So where nothing can come of it, Py_FinalizeEx is: the threads are
 * waited for, atexit's functions are called, the streams flushed. With a file open for writing, which an object may have data for,
 * it is the real one. */
#include "detour.h"
#include "forkpoint.h"
#include "shim.h"
#include "sys.h"
#include <fcntl.h>
#include <sys/stat.h>

static struct {
    int (*Py_FinalizeEx)(void);
    void *(*PyImport_GetModuleDict)(void);
    void *(*PyImport_ImportModule)(const char *);
    void *(*PyDict_GetItemString)(void *, const char *);
    void *(*PySys_GetObject)(const char *);
    void *(*PyObject_GetAttrString)(void *, const char *);
    int (*PyObject_IsTrue)(void *);
    void *(*PyObject_CallMethod)(void *, const char *, const char *, ...);
    void (*PyErr_Clear)(void);
    void (*Py_DecRef)(void *);
} py;
static const char *const names[] = {
    "Py_FinalizeEx", "PyImport_GetModuleDict", "PyImport_ImportModule", "PyDict_GetItemString", "PySys_GetObject",
    "PyObject_GetAttrString", "PyObject_IsTrue", "PyObject_CallMethod", "PyErr_Clear", "Py_DecRef",
};
_Static_assert(sizeof names / sizeof *names == sizeof py / sizeof(void *), "every function has a name");

static unsigned char saved[FL_DETOUR_BYTES];
static int is_detoured;

static int call(void *object, const char *method)
{
    void *result = object ? py.PyObject_CallMethod(object, method, NULL) : NULL;
    if (!result)
        py.PyErr_Clear();
    else
        py.Py_DecRef(result);
    return result != NULL;
}

static int run_atexit(void)
{
    void *module = py.PyImport_ImportModule("atexit");
    int done = call(module, "_run_exitfuncs");
    if (module)
        py.Py_DecRef(module);
    return done;
}

/* A stream that is None or has no such attribute counts as open, and cannot be flushed: the real end will say what it has to. */
static int flush(const char *name)
{
    void *stream = py.PySys_GetObject(name), *closed = stream ? py.PyObject_GetAttrString(stream, "closed") : NULL;
    int is_closed = closed && py.PyObject_IsTrue(closed) == 1;
    if (closed)
        py.Py_DecRef(closed);
    else
        py.PyErr_Clear();
    return is_closed || call(stream, "flush");
}

static uint32_t is_written_to(int fd)
{
    struct stat st;
    long flags = fd > 2 ? fl_sys3(SYS_fcntl, fd, F_GETFL, 0) : 0;
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || fl_sys3(SYS_fstat, fd, &st, 0))
        return 0;
    return S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode);
}

static int is_quick(void)
{
    void *threading = py.PyDict_GetItemString(py.PyImport_GetModuleDict(), "threading");
    return (!threading || call(threading, "_shutdown")) && run_atexit() && !fl_each_descriptor(is_written_to) &&
           flush("stdout") && flush("stderr");
}

static int finalize(void)
{
    fl_python_forget();
    if (is_quick())
        return 0;
    fl_leave_python_alone();
    return py.Py_FinalizeEx();
}

void fl_leave_python_alone(void)
{
    if (is_detoured)
        fl_undo_detour((void *)py.Py_FinalizeEx, saved);
    is_detoured = 0;
}

void fl_make_python_quick(void)
{
    const struct link_map *library = fl_python_library();
    for (unsigned i = 0; library && i < sizeof names / sizeof *names; i++)
        if (!(((void **)&py)[i] = fl_symbol_of(library, names[i])))
            library = NULL;
    is_detoured = library && fl_detour((void *)py.Py_FinalizeEx, (const void *)finalize, saved);
}
