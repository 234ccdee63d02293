/* Walks the stack of the calling thread by the unwind information of the code on it, as a debugger does, so that a stale word is
 * never taken for a caller; where the information ends, the walk does. A word is read only from a page that is there, in the frame
 * it belongs to, and frames only go outwards. What was found out about a return address is kept. From any context; no lock. */
#include "unwind.h"
#include "shim.h"
#include "sys.h"
#include <errno.h>
#include <link.h>
#include <sys/auxv.h>

#define PAGE FL_PAGE
#define MOST_BYTES ((PAGE - 1) * PAGE) /* of a stack */
#define MOST_FRAMES 128
#define KNOWN 1024

/* Whose code it is. INNER is ours, libc's and the loader's. */
enum { INNER, PROGRAM, LIBRARY };

typedef int (*find_fn)(void *address, struct fl_object *object);
static find_fn find_object;
static uintptr_t inner[3]; /* where they begin */
static int is_ready;

static void get_ready(void)
{
    find_fn find = (find_fn)fl_libc_symbol("_dl_find_object");
    const uintptr_t code[] = {(uintptr_t)get_ready, (uintptr_t)find, getauxval(AT_BASE)};
    struct fl_object object;
    for (unsigned i = 0; find && i < sizeof code / sizeof *code; i++)
        inner[i] = find((void *)code[i], &object) ? 0 : object.begin;
    __atomic_store_n(&find_object, find, __ATOMIC_RELAXED);
    __atomic_store_n(&is_ready, 1, __ATOMIC_RELEASE);
}

int fl_find_object(uintptr_t address, struct fl_object *object)
{
    if (!__atomic_load_n(&is_ready, __ATOMIC_ACQUIRE))
        get_ready();
    return find_object && !find_object((void *)address, object);
}

/* The kernel reads the mask before it looks at what to do with it. */
int fl_is_readable(uintptr_t address, size_t bytes)
{
    for (uintptr_t page = address & ~(PAGE - 1); page < address + bytes; page += PAGE)
        if (fl_sys(SYS_rt_sigprocmask, -1, page, 0, sizeof(uint64_t)) == -EFAULT)
            return 0;
    return 1;
}

static unsigned owner_of(const struct fl_object *object)
{
    if (object->map == _r_debug.r_map)
        return PROGRAM;
    return object->begin == inner[0] || object->begin == inner[1] || object->begin == inner[2] ? INNER : LIBRARY;
}

/* Of a return address: the call before it belongs to the function, the next instruction may not. */
static union fl_layout_of look_at(uintptr_t address)
{
    union fl_layout_of layout = {.kind = FL_LAYOUT_UNKNOWN, .owner = INNER};
    struct fl_object object;
    if (fl_find_object(address - 1, &object)) {
        layout = fl_layout_at(&object, address - 1);
        layout.owner = owner_of(&object);
    }
    return layout;
}

#if defined(__x86_64__)
/* A torn entry fits no address: the key is the address and the value in one. */
static struct { uint64_t key, value; } known[KNOWN];

static union fl_layout_of layout_of(uintptr_t address)
{
    union fl_layout_of layout;
    unsigned at = (unsigned)(address * 0x9e3779b97f4a7c15ull >> 32) % KNOWN;
    layout.all = __atomic_load_n(&known[at].value, __ATOMIC_RELAXED);
    if (fl_likely((__atomic_load_n(&known[at].key, __ATOMIC_RELAXED) ^ layout.all) == address))
        return layout;
    layout = look_at(address);
    __atomic_store_n(&known[at].value, layout.all, __ATOMIC_RELAXED);
    __atomic_store_n(&known[at].key, address ^ layout.all, __ATOMIC_RELAXED);
    return layout;
}

/* Of the stack, [low, high) is known to be readable, and from earlier [known_low, known_high). The frame pointer is at frame_at
 * once that is known; most functions have no use for it. */
struct walk {
    uintptr_t address, low, high, known_low, known_high, sp, frame_at;
    struct fl_trail *trail;
};

static void recall(struct walk *w)
{
    w->known_low = fl_stack_low(fl_thread.stack_seen);
    w->known_high = fl_stack_high(fl_thread.stack_seen);
    w->low = w->sp - w->known_low < w->known_high - w->known_low ? w->known_low : w->sp & ~(PAGE - 1);
    w->high = w->low == w->known_low ? w->known_high : w->low + PAGE;
}

/* In one word, since handlers come here too. */
static void remember(const struct walk *w) { fl_thread.stack_seen = w->low | (w->high - w->low) / PAGE; }

static int can_read(struct walk *w, uintptr_t at)
{
    if (at - w->low >= MOST_BYTES)
        return 0;
    while (fl_unlikely(at >= w->high)) {
        if (w->high == w->known_low && w->known_high - w->low <= MOST_BYTES)
            w->high = w->known_high;
        else if (fl_is_readable(w->high, 1))
            w->high += PAGE;
        else
            return 0;
    }
    return 1;
}

static inline int load(struct walk *w, uintptr_t at, uintptr_t *value)
{
    struct fl_trail *trail = w->trail;
    if (!can_read(w, at))
        return 0;
    *value = *(const uintptr_t *)at;
    if (at < trail->base)
        return 1;
    if (trail->n < FL_TRAIL_WORDS) {
        trail->above[trail->n] = (uint32_t)(at - trail->base);
        trail->words[trail->n] = *value;
    }
    trail->n += trail->n <= FL_TRAIL_WORDS;
    return 1;
}

/* The frame pointer as it was in the function that the walk has come to. In our own frames it is anything, and no trail tells it. */
static int load_frame(struct walk *w, uintptr_t *frame)
{
    if (!w->frame_at || !load(w, w->frame_at, frame))
        return 0;
    if (w->frame_at < w->trail->base)
        w->trail->n = FL_TRAIL_WORDS + 1;
    return 1;
}

/* From a frame to the one that called it. */
static inline int step(struct walk *w, union fl_layout_of layout)
{
    uint64_t words = layout.words, saved = layout.saved;
    uintptr_t from = w->sp;
    if (layout.by_frame && !load_frame(w, &from))
        return 0;
    uintptr_t end = from + 8 * words, at = end - 8 * saved;
    if (end <= w->sp || end % 8 || !load(w, end - 8, &w->address))
        return 0;
    if (saved && at < w->sp)
        return 0;
    if (saved)
        w->frame_at = at;
    w->sp = end;
    return 1;
}

unsigned fl_unwind(uintptr_t *addresses, unsigned room, struct fl_trail *trail)
{
    struct walk w = {.trail = trail};
    uintptr_t frame;
    unsigned n = 0, in_program = 0;
    __asm__ volatile("leaq 1f(%%rip), %0\n\tmovq %%rsp, %1\n\tmovq %%rbp, %2\n1:"
                     : "=&r"(w.address), "=&r"(w.sp), "=&r"(frame));
    w.frame_at = (uintptr_t)&frame;
    recall(&w);
    for (int i = 0; i < MOST_FRAMES && (n < room || !in_program); i++) {
        union fl_layout_of layout = layout_of(w.address);
        if (layout.kind == FL_LAYOUT_OUTERMOST && in_program)
            break; /* _start: worth a word only where main has returned */
        if (layout.owner == PROGRAM || (layout.owner == LIBRARY && n < room))
            addresses[n < room ? n++ : room - 1] = w.address;
        in_program |= layout.owner == PROGRAM;
        if (layout.kind != FL_LAYOUT_KNOWN || !step(&w, layout))
            break;
    }
    remember(&w);
    return n;
}
#else
unsigned fl_unwind(uintptr_t *addresses, unsigned room, struct fl_trail *trail)
{
    (void)addresses, (void)room, (void)trail, (void)look_at;
    return 0;
}
#endif
