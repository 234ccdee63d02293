/* How a function's frame is laid out at one of its instructions: the part of DWARF's call frame information (.eh_frame) that
 * compilers write for ordinary functions of x86-64. All else, expressions above all, is unknown. Nothing is read that has not been
 * seen to lie in the object and to be readable. From any context. */
#include "unwind.h"
#include <string.h>

#define MOST_BYTES 65536u /* of one description */
#define REMEMBERED 4

enum { ABSOLUTE = 0, RELATIVE = 0x10, OMITTED = 0xff };
enum { LOST = -1, UNDEFINED = -2 };
enum { FRAME_POINTER = 6, STACK_POINTER = 7, RETURN_ADDRESS = 16 }; /* as DWARF numbers them */

/* The frame ends `offset` bytes above the register `base`. Of the two others, how many words below that they are kept. */
struct state {
    int64_t base, offset, frame, ret;
};

struct cursor { const uint8_t *at, *end; int bad; };

struct common {
    int64_t code_unit, data_unit;
    unsigned encoding;
    int has_length; /* of the augmentation */
    struct cursor program;
};

static uint64_t take(struct cursor *c, unsigned bytes)
{
    uint64_t value = 0;
    if ((size_t)(c->end - c->at) < bytes) {
        c->bad = 1;
        c->at = c->end;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)*c->at++ << 8 * i;
    return value;
}

static uint64_t take_leb(struct cursor *c, int is_signed)
{
    uint64_t value = 0, byte;
    unsigned shift = 0;
    do {
        byte = take(c, 1);
        value |= shift < 64 ? (byte & 127) << shift : 0;
        shift += 7;
    } while (byte & 128 && !c->bad);
    return is_signed && byte & 64 && shift < 64 ? value | ~0ull << shift : value;
}

static uint64_t number(struct cursor *c) { return take_leb(c, 0); }
static int64_t signed_number(struct cursor *c) { return (int64_t)take_leb(c, 1); }

static uintptr_t take_pointer(struct cursor *c, unsigned encoding)
{
    uintptr_t from = encoding & RELATIVE ? (uintptr_t)c->at : 0;
    switch (encoding & 15) {
    case 0: case 4: case 12: return from + take(c, 8);
    case 3: return from + take(c, 4);
    case 11: return from + (uintptr_t)(int32_t)take(c, 4);
    }
    c->bad = 1;
    return 0;
}

static int lies_in(const struct fl_object *object, uintptr_t at, size_t bytes)
{
    return at >= object->begin && at < object->end && bytes <= object->end - at && fl_is_readable(at, bytes);
}

/* The body of the entry of .eh_frame at this address, behind its length. */
static struct cursor entry_at(const struct fl_object *object, uintptr_t at)
{
    struct cursor none = {.bad = 1};
    uint32_t bytes;
    if (!lies_in(object, at, sizeof bytes))
        return none;
    __builtin_memcpy(&bytes, (const void *)at, sizeof bytes);
    if (bytes < 8 || bytes > MOST_BYTES || !lies_in(object, at + 4, bytes))
        return none;
    return (struct cursor){.at = (const uint8_t *)at + 4, .end = (const uint8_t *)at + 4 + bytes};
}

/* The description that begins last before the address, by the sorted table of .eh_frame_hdr. */
static uintptr_t find(const struct fl_object *object, uintptr_t pc)
{
    static const uint8_t usual[] = {1, 0x1b, 3, 0x3b};
    uintptr_t head = object->unwind_table;
    if (!lies_in(object, head, 12) || memcmp((const void *)head, usual, sizeof usual))
        return 0;
    const struct { int32_t code, entry; } *row, *rows = (const void *)(head + 12);
    uint32_t low = 0, high = ((const uint32_t *)head)[2];
    int64_t wanted = (int64_t)(pc - head);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (!lies_in(object, (uintptr_t)(row = &rows[middle]), sizeof *row))
            return 0;
        if (row->code <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? head + (uintptr_t)(int64_t)rows[low - 1].entry : 0;
}

static int read_augmentation(struct cursor *c, const char *letters, struct common *common)
{
    if (!*letters)
        return 1;
    if (*letters++ != 'z')
        return 0;
    common->has_length = 1;
    uint64_t bytes = number(c);
    if (bytes > (size_t)(c->end - c->at))
        return 0;
    const uint8_t *behind = c->at + bytes;
    for (; *letters; letters++)
        switch (*letters) {
        case 'R': common->encoding = (unsigned)take(c, 1); break;
        case 'L': take(c, 1); break;
        case 'P': take_pointer(c, (unsigned)take(c, 1) & 15); break;
        default: return 0; /* also S: a signal's frame */
        }
    c->at = behind;
    return !c->bad;
}

static int read_common(const struct fl_object *object, uintptr_t at, struct common *common)
{
    struct cursor c = entry_at(object, at);
    *common = (struct common){.encoding = ABSOLUTE};
    if (c.bad || take(&c, 4))
        return 0;
    uint64_t version = take(&c, 1);
    const char *letters = (const char *)c.at;
    const uint8_t *nul = memchr(c.at, 0, (size_t)(c.end - c.at));
    if ((version != 1 && version != 3) || !nul)
        return 0;
    c.at = nul + 1;
    common->code_unit = (int64_t)number(&c);
    common->data_unit = signed_number(&c);
    if ((version == 1 ? take(&c, 1) : number(&c)) != 16 || !read_augmentation(&c, letters, common))
        return 0;
    common->program = c;
    return !c.bad;
}

/* Other registers may be anywhere: no frame is found by them. */
static void set(struct state *s, uint64_t reg, int64_t value)
{
    if (reg == FRAME_POINTER)
        s->frame = value;
    else if (reg == RETURN_ADDRESS)
        s->ret = value;
}

static void save(struct state *s, uint64_t reg, int64_t distance)
{
    set(s, reg, distance < 0 && !(distance % 8) ? -(distance / 8) : LOST);
}

static void restore(struct state *s, uint64_t reg, const struct state *initial)
{
    set(s, reg, reg == FRAME_POINTER ? initial->frame : initial->ret);
}

static void skip_block(struct cursor *c)
{
    uint64_t bytes = number(c);
    if (bytes > (size_t)(c->end - c->at))
        c->bad = 1;
    else
        c->at += bytes;
}

/* The instructions that say how the frame is; 0: not one of them. */
static int change(struct cursor *c, unsigned op, struct state *s, const struct state *initial, const struct common *common)
{
    uint64_t reg;
    switch (op) {
    case 0x00: return 1;
    case 0x05: reg = number(c); save(s, reg, (int64_t)number(c) * common->data_unit); return 1;
    case 0x06: restore(s, number(c), initial); return 1;
    case 0x07: set(s, number(c), UNDEFINED); return 1;
    case 0x08: set(s, number(c), 0); return 1;
    case 0x09: case 0x14: set(s, number(c), LOST); number(c); return 1;
    case 0x0c: s->base = (int64_t)number(c); s->offset = (int64_t)number(c); return 1;
    case 0x0d: s->base = (int64_t)number(c); return 1;
    case 0x0e: s->offset = (int64_t)number(c); return 1;
    case 0x0f: s->base = LOST; skip_block(c); return 1;
    case 0x10: case 0x16: set(s, number(c), LOST); skip_block(c); return 1;
    case 0x11: reg = number(c); save(s, reg, signed_number(c) * common->data_unit); return 1;
    case 0x12: s->base = (int64_t)number(c); s->offset = signed_number(c) * common->data_unit; return 1;
    case 0x13: s->offset = signed_number(c) * common->data_unit; return 1;
    case 0x15: set(s, number(c), LOST); signed_number(c); return 1;
    case 0x2e: number(c); return 1; /* GNU_args_size */
    case 0x2f: reg = number(c); save(s, reg, -(int64_t)number(c) * common->data_unit); return 1;
    }
    return 0;
}

static int64_t advance(struct cursor *c, unsigned op)
{
    if (op >> 6 == 1)
        return op & 63;
    return op == 2 ? (int64_t)take(c, 1) : op == 3 ? (int64_t)take(c, 2) : op == 4 ? (int64_t)take(c, 4) : -1;
}

/* Carries the instructions out up to the address. 0: there is one that is not understood. */
static int run(struct cursor c, struct state *s, const struct common *common, uintptr_t at, uintptr_t pc)
{
    struct state initial = *s, remembered[REMEMBERED];
    unsigned depth = 0;
    while (c.at < c.end && !c.bad) {
        unsigned op = (unsigned)take(&c, 1);
        int64_t step = advance(&c, op);
        if (step >= 0) {
            at += (uintptr_t)(step * common->code_unit);
            if (at > pc)
                break;
        } else if (op >> 6 == 2) {
            save(s, op & 63, (int64_t)number(&c) * common->data_unit);
        } else if (op >> 6 == 3) {
            restore(s, op & 63, &initial);
        } else if (op == 0x0a && depth < REMEMBERED) {
            remembered[depth++] = *s;
        } else if (op == 0x0b && depth) {
            *s = remembered[--depth];
        } else if (!change(&c, op, s, &initial, common)) {
            return 0;
        }
    }
    return !c.bad;
}

static union fl_layout_of pack(const struct state *s)
{
    union fl_layout_of layout = {.kind = FL_LAYOUT_UNKNOWN};
    if (s->ret == UNDEFINED)
        layout.kind = FL_LAYOUT_OUTERMOST;
    if (s->ret != 1 || (s->base != FRAME_POINTER && s->base != STACK_POINTER) || s->offset < 8 || s->offset % 8 ||
        s->offset / 8 >= 1 << 24 || s->frame < 0 || s->frame >= 1 << 24)
        return layout;
    layout.kind = FL_LAYOUT_KNOWN;
    layout.by_frame = s->base == FRAME_POINTER;
    layout.words = (uint64_t)s->offset / 8;
    layout.saved = (uint64_t)s->frame;
    return layout;
}

union fl_layout_of fl_layout_at(const struct fl_object *object, uintptr_t pc)
{
    union fl_layout_of unknown = {.kind = FL_LAYOUT_UNKNOWN};
    struct common common;
    struct state s = {.base = LOST, .ret = LOST};
    uintptr_t at = find(object, pc);
    struct cursor c = entry_at(object, at);
    const uint8_t *here = c.at;
    uint64_t back = c.bad ? 0 : take(&c, 4);
    if (!back || !read_common(object, (uintptr_t)here - back, &common))
        return unknown;
    uintptr_t begin = take_pointer(&c, common.encoding), bytes = take_pointer(&c, common.encoding & 15);
    if (common.has_length)
        skip_block(&c);
    if (c.bad || pc - begin >= bytes || !run(common.program, &s, &common, 0, 0) || !run(c, &s, &common, begin, pc))
        return unknown;
    return pack(&s);
}
