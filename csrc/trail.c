/* What a walk up the stack has come by, and what came of it, so that the same call from the same place need not be walked again: if
 * the stack pointer is the same and every word that was read is, the walk would go the same way. From any context; whoever finds an
 * entry being written goes the long way. */
#include "shim.h"
#include "unwind.h"

#define ENTRIES 64

static struct { uint32_t version, text; struct fl_trail trail; } known[ENTRIES]; /* version odd: being written */

static unsigned place_of(uintptr_t base, unsigned op) { return (unsigned)((base / 16 + op) * 0x9e3779b97f4a7c15ull >> 32) % ENTRIES; }

/* Only words in the part of the stack that this thread has seen are read, also where the entry changes meanwhile. */
static int is_same(const struct fl_trail *t, uintptr_t base)
{
    uintptr_t low = fl_stack_low(fl_thread.stack_seen), high = fl_stack_high(fl_thread.stack_seen);
    if (t->base != base || base < low || base + sizeof(uintptr_t) > high)
        return 0;
    unsigned n = t->n;
    for (unsigned i = 0; i < n && i < FL_TRAIL_WORDS; i++) {
        uintptr_t above = t->above[i];
        if (fl_unlikely(above > high - base - sizeof(uintptr_t)) || *(const uintptr_t *)(base + above) != t->words[i])
            return 0;
    }
    return 1;
}

int fl_trail_known(uintptr_t base, unsigned op, uint32_t *text)
{
    unsigned at = place_of(base, op);
    uint32_t version = __atomic_load_n(&known[at].version, __ATOMIC_ACQUIRE);
    if (version & 1 || !is_same(&known[at].trail, base))
        return 0;
    *text = known[at].text;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&known[at].version, __ATOMIC_RELAXED) == version;
}

/* No word more than was written: what else lies there may look like a pointer to whoever searches memory for leaks. */
static void copy(struct fl_trail *to, const struct fl_trail *from)
{
    to->base = from->base;
    to->n = from->n;
    for (unsigned i = 0; i < from->n; i++) {
        to->above[i] = from->above[i];
        to->words[i] = from->words[i];
    }
}

void fl_trail_keep(const struct fl_trail *trail, unsigned op, uint32_t text)
{
    unsigned at = place_of(trail->base, op);
    uint32_t version = __atomic_load_n(&known[at].version, __ATOMIC_RELAXED);
    if (trail->n > FL_TRAIL_WORDS || version & 1 ||
        !__atomic_compare_exchange_n(&known[at].version, &version, version + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    known[at].text = text;
    copy(&known[at].trail, trail);
    __atomic_store_n(&known[at].version, version + 2, __ATOMIC_RELEASE);
}
