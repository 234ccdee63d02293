/* Texts that many records share (who called, from which source lines), interned in the control block: one number in every
 * process of the session. Lock-free like the paths; a race costs an entry. From any context. */
#include "shim.h"
#include "sys.h"
#include <string.h>

static uint64_t hash_of(const char *text, uint32_t n)
{
    uint64_t hash = n * 0x9e3779b97f4a7c15ull, word;
    for (; n >= 8; n -= 8, text += 8) {
        __builtin_memcpy(&word, text, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdull;
        hash ^= hash >> 32;
    }
    for (word = 0; n; n--)
        word = word << 8 | (unsigned char)text[n - 1];
    hash = (hash ^ word) * 0xc4ceb9fe1a85ec53ull;
    return hash ^ hash >> 29;
}

static int is_same(const struct fl_text *entry, const char *text, uint32_t n, uint64_t hash)
{
    return entry->hash == hash && entry->length == n && !memcmp(FL_AREA(char, text_bytes_off) + entry->offset, text, n);
}

static uint32_t add(const char *text, uint32_t n, uint64_t hash)
{
    uint32_t at = __atomic_fetch_add(&fl_ctl->next_text_byte, n, __ATOMIC_RELAXED), i = 0;
    if (at + (uint64_t)n > fl_ctl->text_bytes ||
        (i = __atomic_fetch_add(&fl_ctl->next_text, 1, __ATOMIC_RELAXED)) >= fl_ctl->text_capacity) {
        __atomic_store_n(&fl_ctl->next_text_byte, (uint32_t)fl_ctl->text_bytes, __ATOMIC_RELAXED);
        __atomic_store_n(&fl_ctl->next_text, (uint32_t)fl_ctl->text_capacity, __ATOMIC_RELAXED);
        return 0;
    }
    memcpy(FL_AREA(char, text_bytes_off) + at, text, n);
    FL_AREA(struct fl_text, texts_off)[i] = (struct fl_text){.hash = hash, .offset = at, .length = n};
    return i + 1;
}

uint32_t fl_text(const char *text, uint32_t n)
{
    uint64_t hash = hash_of(text, n), buckets = fl_ctl->text_capacity * 2;
    uint32_t mine = 0, *bucket = FL_AREA(uint32_t, text_buckets_off);
    const struct fl_text *texts = FL_AREA(struct fl_text, texts_off);
    for (uint64_t i = 0; i < buckets; i++) {
        uint32_t *place = &bucket[(hash + i) & (buckets - 1)], id = __atomic_load_n(place, __ATOMIC_ACQUIRE);
        if (!id) {
            if (!mine && !(mine = add(text, n, hash)))
                break;
            if (__atomic_compare_exchange_n(place, &id, mine, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                return mine;
        }
        if (is_same(&texts[id - 1], text, n, hash))
            return id;
    }
    __atomic_add_fetch(&fl_ctl->texts_full, 1, __ATOMIC_RELAXED);
    return 0;
}

static char *append(char *out, const char *text)
{
    size_t n = strlen(text);
    memcpy(out, text, n);
    out[n] = '\t';
    return out + n + 1;
}

static char *append_number(char *out, unsigned value)
{
    char digits[12], *at = digits + sizeof digits;
    *--at = '\0';
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    return append(out, at);
}

/* Who makes this call: lineage, pid, thread id, thread path, label, comm, parted by tabs. Once per thread. */
uint32_t fl_actor(const struct fl_proc *proc, int foreign)
{
    if (fl_thread.actor && !foreign)
        return fl_thread.actor;
    char text[sizeof proc->lineage + sizeof fl_thread.path + sizeof proc->label + sizeof proc->comm + 32], *end = text;
    end = append(end, proc->lineage);
    end = append_number(end, (unsigned)proc->pid);
    end = append_number(end, (unsigned)fl_sys1(SYS_gettid, 0));
    end = append(end, fl_thread.path);
    end = append(end, proc->label);
    end = append(end, proc->comm);
    uint32_t id = fl_text(text, (uint32_t)(end - text - 1));
    if (!foreign)
        fl_thread.actor = id;
    return id;
}
