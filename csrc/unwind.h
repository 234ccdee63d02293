/* The return addresses that lie above a call, by the unwind information of the code they point into. */
#ifndef FL_UNWIND_H
#define FL_UNWIND_H
#include <stddef.h>
#include <stdint.h>

struct link_map;

/* As _dl_find_object gives it (glibc 2.35, <dlfcn.h>): what is loaded around an address. */
struct fl_object {
    uint64_t flags;
    uintptr_t begin, end;
    const struct link_map *map;
    uintptr_t unwind_table; /* .eh_frame_hdr */
    uint64_t reserved[8];
};

enum { FL_LAYOUT_UNKNOWN, FL_LAYOUT_KNOWN, FL_LAYOUT_OUTERMOST };

/* Where a function's frame ends, and where its caller's frame pointer lies in it. One word, so that it is read and written whole. */
union fl_layout_of {
    struct {
        uint64_t kind : 2;
        uint64_t owner : 2;   /* unwind.c */
        uint64_t by_frame : 1; /* the frame ends so many words above the frame pointer; else, above the stack pointer */
        uint64_t words : 24;
        uint64_t saved : 24;  /* the frame pointer is kept so many words below the end; 0: in its register */
    };
    uint64_t all;
};

/* cfi.c: of the code at `pc` in the object; unknown where its description is not there or cannot be said in these words. */
union fl_layout_of fl_layout_at(const struct fl_object *object, uintptr_t pc);

/* unwind.c: what is loaded around an address, 0: nothing, or this libc cannot say. */
int fl_find_object(uintptr_t address, struct fl_object *object);
int fl_is_readable(uintptr_t address, size_t bytes);

/* The return addresses of the program and its libraries (not libc, nor the shim), innermost first. Where there is no room for
 * all of them, the last is the first one in the program itself. */
unsigned fl_unwind(uintptr_t *addresses, unsigned room);

#endif
