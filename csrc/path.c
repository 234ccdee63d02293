/* Names of files: made absolute and dot-folded as given (symlinks are not followed), interned in the control block, and
 * matched against the live rules once per name and rule set. From any context. */
#include "shim.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

static uint32_t cwd_id; /* interned; 0: not known */

void fl_cwd_changed(void) { __atomic_store_n(&cwd_id, 0, __ATOMIC_RELEASE); }

static char *put(char *out, const char *part, size_t n)
{
    *out++ = '/';
    __builtin_memcpy(out, part, n);
    return out + n;
}

/* Appends the components of `path` to [out, end), folding `.`, `..` and double slashes. Never longer than both and a slash. */
static void fold(char *out, char *end, const char *path)
{
    while (*path) {
        const char *stop = path;
        while (*stop && *stop != '/')
            stop++;
        size_t n = (size_t)(stop - path);
        if (n == 2 && path[0] == '.' && path[1] == '.') {
            while (end > out && *--end != '/')
                ;
        } else if (n && !(n == 1 && path[0] == '.')) {
            end = put(end, path, n);
        }
        path = *stop ? stop + 1 : stop;
    }
    if (end == out)
        *end++ = '/';
    *end = '\0';
}

/* Stacks may be as small as the kernel allows, so a buffer for the longest name is only taken when a shorter one fell short. */
static __attribute__((noinline)) const char *ask_directory(size_t room)
{
    char text[room];
    long got = fl_sys3(SYS_getcwd, text, room, 0);
    if (got == -ERANGE && room < FL_PATH_MAX)
        return NULL;
    uint32_t id = got > 0 && text[0] == '/' ? fl_intern(text) : 0;
    __atomic_store_n(&cwd_id, id, __ATOMIC_RELEASE);
    return id ? fl_path_text(id) : "";
}

/* Null or empty: it cannot be known (deleted, or the table of names is full). */
static const char *current_directory(void)
{
    const char *known = fl_path_text(__atomic_load_n(&cwd_id, __ATOMIC_ACQUIRE));
    if (!known && !(known = ask_directory(FL_PATH_USUAL)))
        known = ask_directory(FL_PATH_MAX);
    return known;
}

/* A name as a call was given it: `path`, below `base` if that is not empty. `room` for its absolute form, 0: it has none. */
struct name { const char *base, *path; size_t room; };

static struct name name_of(int dirfd, const char *path)
{
    struct name name = {.base = "", .path = path};
    if (!fl_readable(path))
        return name;
    if (path[0] != '/') {
        name.base = dirfd == AT_FDCWD ? current_directory() : fl_path_text(fl_fd_path(dirfd, NULL));
        if (!name.base || name.base[0] != '/')
            return name;
    }
    size_t base = strlen(name.base), room = base + strnlen(path, FL_PATH_MAX) + 3;
    name.room = room < FL_PATH_MAX ? room : 0;
    return name;
}

/* Writes the absolute form to out[name->room]. */
static void make_absolute(const struct name *name, char *out)
{
    size_t n = strlen(name->base);
    if (n == 1)
        n = 0;
    __builtin_memcpy(out, name->base, n);
    fold(out, out + n, name->path);
}

const char *fl_path_text(uint32_t id)
{
    if (!id)
        return NULL;
    return FL_AREA(char, path_bytes_off) + FL_AREA(struct fl_path, paths_off)[id - 1].offset;
}

static uint32_t add_path(const char *path, uint32_t hash)
{
    uint32_t n = (uint32_t)strlen(path) + 1;
    uint32_t at = __atomic_fetch_add(&fl_ctl->next_path_byte, n, __ATOMIC_RELAXED);
    uint32_t i = at <= FL_PATH_BYTES - n ? __atomic_fetch_add(&fl_ctl->next_path, 1, __ATOMIC_RELAXED) : FL_MAX_PATHS;
    if (i >= FL_MAX_PATHS) {
        __atomic_store_n(&fl_ctl->next_path_byte, FL_PATH_BYTES, __ATOMIC_RELAXED);
        __atomic_store_n(&fl_ctl->next_path, FL_MAX_PATHS, __ATOMIC_RELAXED);
        return 0;
    }
    __builtin_memcpy(FL_AREA(char, path_bytes_off) + at, path, n);
    struct fl_path *entry = &FL_AREA(struct fl_path, paths_off)[i];
    entry->hash = hash;
    entry->offset = at;
    entry->length = n - 1;
    return i + 1;
}

/* The path's number, the same in every process of the session; 0 once the table is full. Lock-free: a race costs an entry. */
uint32_t fl_intern(const char *path)
{
    uint32_t hash = (uint32_t)(fl_hash(path) >> 16), mine = 0;
    uint32_t *buckets = FL_AREA(uint32_t, buckets_off);
    for (uint32_t i = 0; i < FL_PATH_BUCKETS; i++) {
        uint32_t *bucket = &buckets[(hash + i) % FL_PATH_BUCKETS];
        uint32_t id = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);
        if (!id) {
            if (!mine && !(mine = add_path(path, hash)))
                break;
            if (__atomic_compare_exchange_n(bucket, &id, mine, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                return mine;
        }
        if (FL_AREA(struct fl_path, paths_off)[id - 1].hash == hash && !strcmp(fl_path_text(id), path))
            return id;
    }
    __atomic_add_fetch(&fl_ctl->paths_full, 1, __ATOMIC_RELAXED);
    return 0;
}

static uint64_t accepted(const struct fl_set *set, const struct fl_subject *subject)
{
    const struct fl_rule *rules = FL_AREA(struct fl_rule, rules_off);
    uint64_t mask = 0;
    for (uint64_t left = set->live; left; left &= left - 1) {
        int position = __builtin_ctzll(left);
        if (fl_accepts(&rules[set->slot[position]], FL_STRINGS, subject))
            mask |= 1ull << position;
    }
    return mask;
}

/* Positions whose path predicate accepts one name alone. Kept with the interned name: each half carries its generation. */
uint64_t fl_path_mask(uint32_t id, const char *text, const struct fl_set *set, uint32_t generation)
{
    struct fl_path *entry = id ? &FL_AREA(struct fl_path, paths_off)[id - 1] : NULL;
    if (entry) {
        uint64_t low = __atomic_load_n(&entry->mask[0], __ATOMIC_RELAXED);
        uint64_t high = __atomic_load_n(&entry->mask[1], __ATOMIC_RELAXED);
        if (low >> 32 == generation && high >> 32 == generation)
            return (high << 32) | (uint32_t)low;
    }
    struct fl_subject subject = {.path = text, .fd = -1};
    uint64_t mask = accepted(set, &subject);
    if (entry) {
        __atomic_store_n(&entry->mask[0], (uint64_t)generation << 32 | (uint32_t)mask, __ATOMIC_RELAXED);
        __atomic_store_n(&entry->mask[1], (uint64_t)generation << 32 | mask >> 32, __ATOMIC_RELAXED);
    }
    return mask;
}

static int argument_fd(const struct fl_frame *f, int place) { return place ? (int)f->a[place - 1] : AT_FDCWD; }

static __attribute__((noinline)) uint64_t one_path(struct fl_frame *f, const struct fl_set *set, uint32_t generation)
{
    struct name name = name_of(argument_fd(f, f->info->dirfd), (const char *)f->a[f->info->path - 1]);
    if (!name.room)
        return fl_path_mask(0, NULL, set, generation);
    char text[name.room];
    make_absolute(&name, text);
    f->path = fl_intern(text);
    f->key = fl_hash(text);
    return fl_path_mask(f->path, text, set, generation);
}

static __attribute__((noinline)) uint64_t two_paths(struct fl_frame *f, const struct fl_set *set)
{
    struct name old = {.room = 0}, new = name_of(argument_fd(f, f->info->dirfd2), (const char *)f->a[f->info->path2 - 1]);
    if (f->info->path)
        old = name_of(argument_fd(f, f->info->dirfd), (const char *)f->a[f->info->path - 1]);
    char from[old.room + 1], to[new.room + 1];
    struct fl_subject subject = {.fd = -1};
    if (old.room) {
        make_absolute(&old, from);
        f->path = fl_intern(from);
        subject.path = from;
    }
    if (new.room) {
        make_absolute(&new, to);
        f->path2 = fl_intern(to);
        subject.path2 = to;
        f->key = fl_hash(to);
    }
    return accepted(set, &subject);
}

/* Positions whose settled predicates, but for the process, accept the names this call was given. */
uint64_t fl_paths_mask(struct fl_frame *f, const struct fl_set *set, uint32_t generation)
{
    if (f->info->path2)
        return two_paths(f, set);
    if (f->info->path)
        return one_path(f, set, generation);
    return fl_path_mask(0, NULL, set, generation);
}
