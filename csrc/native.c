/* From where a program that is not Python makes a call: the return addresses in it and its libraries, as offsets in their files.
 * The controller puts names and source lines to them. Text: `native`, then for each frame the file and its build's number (both
 * empty: those of the frame before) and the offset, each ended by a NUL. From any context. */
#include "shim.h"
#include "sys.h"
#include "unwind.h"
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>

#define FRAMES_KEPT 16
#define KNOWN 256
#define TEXT_BYTES 1280
#define ID_BYTES 8 /* of the build's number */

struct text { char *at, *end; };

static void put(struct text *t, const char *bytes, size_t n)
{
    if ((size_t)(t->end - t->at) > n) {
        __builtin_memcpy(t->at, bytes, n);
        t->at += n;
        *t->at++ = '\0';
    } else {
        t->end = t->at;
    }
}

static void put_hex(struct text *t, uintptr_t value)
{
    char digits[16], *at = digits + sizeof digits;
    do
        *--at = "0123456789abcdef"[value & 15];
    while (value >>= 4);
    put(t, at, (size_t)(digits + sizeof digits - at));
}

/* The first bytes of the build's number, if the part of the file that begins here has a note of it. */
static uint64_t id_in(uintptr_t at, uintptr_t end)
{
    const ElfW(Nhdr) *note;
    for (; at + sizeof *note + 4 <= end; at += sizeof *note + (note->n_namesz + 3ul) / 4 * 4 + (note->n_descsz + 3ul) / 4 * 4) {
        note = (const ElfW(Nhdr) *)at;
        uint64_t id;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && note->n_descsz >= ID_BYTES &&
            at + sizeof *note + 4 + ID_BYTES <= end && !memcmp(note + 1, "GNU", 4)) {
            __builtin_memcpy(&id, (const char *)(note + 1) + 4, sizeof id);
            return __builtin_bswap64(id);
        }
    }
    return 0;
}

static uint64_t build_id(const struct fl_object *object)
{
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)object->begin;
    uint64_t id = 0;
    if (!fl_is_readable(object->begin, 4096) || memcmp(header->e_ident, ELFMAG, SELFMAG) ||
        header->e_phoff + header->e_phnum * sizeof(ElfW(Phdr)) > 4096)
        return 0;
    const ElfW(Phdr) *part = (const ElfW(Phdr) *)(object->begin + header->e_phoff);
    for (int i = 0; i < header->e_phnum && !id; i++, part++) {
        uintptr_t at = object->map->l_addr + part->p_vaddr;
        if (part->p_type == PT_NOTE && at >= object->begin && at + part->p_memsz <= object->end && fl_is_readable(at, part->p_memsz))
            id = id_in(at, at + part->p_memsz);
    }
    return id;
}

static void put_file(struct text *t, const struct fl_object *object)
{
    if (object->map == _r_debug.r_map) {
        long room = t->end - t->at, n = fl_sys(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", t->at, room);
        t->at += n > 0 && n < room ? n : 0;
        put(t, "", 0);
    } else {
        put(t, object->map->l_name, strlen(object->map->l_name));
    }
    put_hex(t, build_id(object));
}

static uint32_t say(const uintptr_t *addresses, unsigned n)
{
    char room[TEXT_BYTES];
    struct text t = {room, room + sizeof room};
    struct fl_object object;
    const struct link_map *before = NULL;
    put(&t, "native", 6);
    for (unsigned i = 0; i < n; i++) {
        char *whole = t.at;
        if (!fl_find_object(addresses[i] - 1, &object))
            break;
        if (object.map == before)
            put(&t, "\0", 1);
        else
            put_file(&t, &object);
        before = object.map;
        put_hex(&t, addresses[i] - object.map->l_addr);
        if (t.at == t.end)
            return fl_text(room, (uint32_t)(whole - room)); /* no room for more */
    }
    return fl_text(room, (uint32_t)(t.at - room));
}

/* As in unwind.c: a torn entry fits nothing. */
static struct { uint64_t key, text; } known[KNOWN];

static uint32_t text_of(const uintptr_t *addresses, unsigned n)
{
    if (!n)
        return 0;
    uint64_t hash = n;
    for (unsigned i = 0; i < n; i++) {
        hash = (hash ^ addresses[i]) * 0xff51afd7ed558ccdull;
        hash ^= hash >> 29;
    }
    unsigned at = (unsigned)(hash >> 32) % KNOWN;
    uint64_t text = __atomic_load_n(&known[at].text, __ATOMIC_RELAXED);
    if (fl_likely((__atomic_load_n(&known[at].key, __ATOMIC_RELAXED) ^ text) == hash))
        return (uint32_t)text;
    text = say(addresses, n);
    __atomic_store_n(&known[at].text, text, __ATOMIC_RELAXED);
    __atomic_store_n(&known[at].key, hash ^ text, __ATOMIC_RELAXED);
    return (uint32_t)text;
}

/* The interned places of the call and of its callers, innermost first; 0: none is known. */
__attribute__((noinline)) uint32_t fl_native_stack(unsigned op)
{
    struct fl_trail trail;
    uintptr_t addresses[FRAMES_KEPT];
    uint32_t text;
    trail.base = (uintptr_t)__builtin_dwarf_cfa() - sizeof(void *);
    trail.n = 0;
    if (fl_likely(fl_trail_known(trail.base, op, &text)))
        return text;
    text = text_of(addresses, fl_unwind(addresses, FRAMES_KEPT, &trail));
    fl_trail_keep(&trail, op, text);
    return text;
}
