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

/* The words of the stack that a walk has gone by, each so many bytes above `base`; more than there is room for: it cannot be told. */
#define FL_TRAIL_WORDS 32
struct fl_trail {
    uintptr_t base;
    uint32_t n, above[FL_TRAIL_WORDS];
    uintptr_t words[FL_TRAIL_WORDS];
};

/* The return addresses of the program and its libraries (not libc, nor the shim), innermost first. Where there is no room for
 * all of them, the last is the first one in the program itself. The caller's own return address lies at the trail's base. */
unsigned fl_unwind(uintptr_t *addresses, unsigned room, struct fl_trail *trail);

/* What a thread has seen of its stack: its lowest page and the number of pages, in one word. There is no gap in it. */
#define FL_PAGE 4096ul
static inline uintptr_t fl_stack_low(uint64_t seen) { return seen & ~(FL_PAGE - 1); }
static inline uintptr_t fl_stack_high(uint64_t seen) { return fl_stack_low(seen) + seen % FL_PAGE * FL_PAGE; }

/* trail.c: what was kept of such a walk, if it would go the same way again. `op`: not every call is to drive out every other. */
int fl_trail_known(uintptr_t base, unsigned op, uint32_t *text);
void fl_trail_keep(const struct fl_trail *trail, unsigned op, uint32_t text);

#endif
