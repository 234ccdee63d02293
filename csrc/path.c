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

/* Stands for the directories of which the kernel does not tell the names, as they are too long together. */
#define DEEP "/..."
#define DEEP_BYTES (sizeof DEEP - 1)

static int is_deep(const char *path) { return !strncmp(path, DEEP, DEEP_BYTES) && (!path[DEEP_BYTES] || path[DEEP_BYTES] == '/'); }

uint32_t fl_intern_deep(void)
{
    __atomic_add_fetch(&fl_ctl->deep_names, 1, __ATOMIC_RELAXED);
    return fl_intern(DEEP, DEEP_BYTES);
}

/* Appends the components of `path` to [out, end), folding `.`, `..` and double slashes. Never longer than both and a slash. */
static size_t fold(char *out, char *end, const char *path)
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
    return (size_t)(end - out);
}

/* Stacks may be as small as the kernel allows, so a buffer for the longest name is only taken when a shorter one fell short. */
static __attribute__((noinline)) const char *ask_directory(size_t room)
{
    char text[room];
    long got = fl_sys3(SYS_getcwd, text, room, 0);
    if (got == -ERANGE && room < FL_PATH_MAX)
        return NULL;
    uint32_t id = got > 0 && text[0] == '/' ? fl_intern(text, (size_t)got - 1) : got == -ENAMETOOLONG ? fl_intern_deep() : 0;
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

/* A name as a call was given it: `path`, below `base` if that is not empty. `length` is that of `path`, if it is absolute and
 * there is nothing to fold; else `room` is enough for its absolute form. Neither: it has none. */
struct name { const char *base, *path; size_t length, room; };

/* The length of a name; *plain whether it has nothing to fold. */
static size_t measure(const char *path, int *plain)
{
    size_t n = 0;
    *plain = path[0] == '/';
    for (; path[n] && n < FL_PATH_MAX; n++)
        if (path[n] == '/' && (path[n + 1] == '/' || path[n + 1] == '.' || !path[n + 1]))
            *plain = 0;
    return n;
}

static struct name name_of(int dirfd, const char *path)
{
    struct name name = {.base = "", .path = path};
    if (!fl_readable(path))
        return name;
    int plain;
    size_t length = measure(path, &plain);
    if (plain && length < FL_PATH_MAX) {
        name.length = length;
        return name;
    }
    if (path[0] != '/') {
        name.base = dirfd == AT_FDCWD ? current_directory() : fl_path_text(fl_fd_path(dirfd, NULL));
        if (!name.base || name.base[0] != '/')
            return name;
    }
    size_t room = strlen(name.base) + length + 3;
    if (path[0] != '/' && (room >= FL_PATH_MAX || is_deep(name.base))) {
        __atomic_add_fetch(&fl_ctl->deep_names, 1, __ATOMIC_RELAXED);
        if (room >= FL_PATH_MAX) {
            name.base = DEEP;
            room = DEEP_BYTES + length + 3;
        }
    }
    name.room = room < FL_PATH_MAX ? room : 0;
    return name;
}

/* Returns the absolute form, which is the name itself or what is then in out[name->room]; null if there is none. */
static const char *absolute(const struct name *name, char *out, size_t *length)
{
    *length = name->length;
    if (name->length || !name->room)
        return name->length ? name->path : NULL;
    size_t n = strlen(name->base), fixed = is_deep(name->base) ? DEEP_BYTES : 0;
    if (n == 1)
        n = 0;
    __builtin_memcpy(out, name->base, n);
    *length = fixed + fold(out + fixed, out + n, name->path);
    if (fixed && *length == fixed + 1)
        out[--*length] = '\0';
    return out;
}

const char *fl_path_text(uint32_t id)
{
    if (!id)
        return NULL;
    return FL_AREA(char, path_bytes_off) + FL_AREA(struct fl_path, paths_off)[id - 1].offset;
}

/* Names are hashed and compared on every open: eight bytes at a time, wherever they lie. */
typedef uint64_t word __attribute__((may_alias, aligned(1)));

static uint64_t hash_path(const char *path, size_t length)
{
    uint64_t h = length, rest = 0;
    for (; length >= sizeof(word); length -= sizeof(word), path += sizeof(word)) {
        h = (h ^ *(const word *)path) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    for (; length; length--)
        rest = rest << 8 | (unsigned char)path[length - 1];
    return fl_mix(h, rest) | 1;
}

static int same(const char *a, const char *b, size_t length)
{
    for (; length >= sizeof(word); length -= sizeof(word), a += sizeof(word), b += sizeof(word))
        if (*(const word *)a != *(const word *)b)
            return 0;
    return !memcmp(a, b, length);
}

static uint32_t add_path(const char *path, size_t length, uint64_t hash)
{
    uint32_t n = (uint32_t)length + 1;
    uint32_t at = __atomic_fetch_add(&fl_ctl->next_path_byte, n, __ATOMIC_RELAXED);
    uint32_t i = at <= FL_PATH_BYTES - n ? __atomic_fetch_add(&fl_ctl->next_path, 1, __ATOMIC_RELAXED) : FL_MAX_PATHS;
    if (i >= FL_MAX_PATHS) {
        __atomic_store_n(&fl_ctl->next_path_byte, FL_PATH_BYTES, __ATOMIC_RELAXED);
        __atomic_store_n(&fl_ctl->next_path, FL_MAX_PATHS, __ATOMIC_RELAXED);
        return 0;
    }
    __builtin_memcpy(FL_AREA(char, path_bytes_off) + at, path, length); /* the block came zeroed: the end is there */
    struct fl_path *entry = &FL_AREA(struct fl_path, paths_off)[i];
    entry->hash = hash;
    entry->offset = at;
    entry->length = n - 1;
    return i + 1;
}

/* The path's number, the same in every process of the session; 0 once the table is full. Lock-free: a race costs an entry. */
uint32_t fl_intern(const char *path, size_t length)
{
    uint64_t hash = hash_path(path, length);
    uint32_t mine = 0, *buckets = FL_AREA(uint32_t, buckets_off);
    for (uint32_t i = 0; i < FL_PATH_BUCKETS; i++) {
        uint32_t *bucket = &buckets[(hash + i) % FL_PATH_BUCKETS];
        uint32_t id = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);
        if (!id) {
            if (!mine && !(mine = add_path(path, length, hash)))
                break;
            if (__atomic_compare_exchange_n(bucket, &id, mine, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                return mine;
        }
        const struct fl_path *entry = &FL_AREA(struct fl_path, paths_off)[id - 1];
        if (entry->hash == hash && entry->length == length && same(fl_path_text(id), path, length))
            return id;
    }
    __atomic_add_fetch(&fl_ctl->paths_full, 1, __ATOMIC_RELAXED);
    return 0;
}

static uint64_t accepted(const struct fl_set *set, uint64_t among, const struct fl_subject *subject)
{
    const struct fl_rule *rules = FL_AREA(struct fl_rule, rules_off);
    uint64_t mask = 0;
    for (uint64_t left = among; left; left &= left - 1) {
        int position = __builtin_ctzll(left);
        if (fl_accepts(&rules[set->slot[position]], FL_STRINGS, subject))
            mask |= 1ull << position;
    }
    return mask;
}

/* Positions whose path predicate accepts one name alone. Kept with the interned name: each half carries its generation. */
uint64_t fl_path_mask(uint32_t id, const struct fl_set *set, uint32_t generation)
{
    struct fl_path *entry = &FL_AREA(struct fl_path, paths_off)[id - 1];
    uint64_t low = __atomic_load_n(&entry->mask[0], __ATOMIC_RELAXED);
    uint64_t high = __atomic_load_n(&entry->mask[1], __ATOMIC_RELAXED);
    if (low >> 32 == generation && high >> 32 == generation)
        return (high << 32) | (uint32_t)low;
    struct fl_subject subject = {.path = fl_path_text(id), .fd = -1};
    uint64_t mask = accepted(set, set->live, &subject);
    __atomic_store_n(&entry->mask[0], (uint64_t)generation << 32 | (uint32_t)mask, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->mask[1], (uint64_t)generation << 32 | mask >> 32, __ATOMIC_RELAXED);
    return mask;
}

static struct name argument(const struct fl_frame *f, int dirfd, int path)
{
    if (!path)
        return (struct name){.base = ""};
    return name_of(dirfd ? (int)f->a[dirfd - 1] : AT_FDCWD, (const char *)f->a[path - 1]);
}

static __attribute__((noinline)) uint64_t one_path(struct fl_frame *f, const struct fl_set *set, uint32_t generation, uint64_t among)
{
    struct name name = argument(f, f->info->dirfd, f->info->path);
    char room[name.room + 1];
    size_t n;
    struct fl_subject subject = {.path = absolute(&name, room, &n), .fd = -1};
    f->path = subject.path ? fl_intern(subject.path, n) : 0;
    if (!f->path) /* it has none, or the table is full */
        return accepted(set, among, &subject);
    return among ? among & fl_path_mask(f->path, set, generation) : 0;
}

static __attribute__((noinline)) uint64_t two_paths(struct fl_frame *f, const struct fl_set *set, uint64_t among)
{
    struct name from = argument(f, f->info->dirfd, f->info->path), to = argument(f, f->info->dirfd2, f->info->path2);
    char room[from.room + 1], room2[to.room + 1];
    size_t n, n2;
    struct fl_subject subject = {.path = absolute(&from, room, &n), .path2 = absolute(&to, room2, &n2), .fd = -1};
    f->path = subject.path ? fl_intern(subject.path, n) : 0;
    f->path2 = subject.path2 ? fl_intern(subject.path2, n2) : 0;
    return accepted(set, among, &subject);
}

/* Finds out the names that this call was given. Returns the positions `among` these whose settled predicates, but for the
 * process, accept them. */
uint64_t fl_names_mask(struct fl_frame *f, const struct fl_set *set, uint32_t generation, uint64_t among)
{
    if (f->info->path2)
        return two_paths(f, set, among);
    if (f->info->path)
        return one_path(f, set, generation, among);
    struct fl_subject subject = {.fd = -1, .kind = f->kind};
    return accepted(set, among, &subject);
}

/* What scope=path counts by: the hash of the name, of the second one of two. */
uint64_t fl_path_key(const struct fl_frame *f)
{
    uint32_t id = f->path2 ? f->path2 : f->path;
    return id ? FL_AREA(struct fl_path, paths_off)[id - 1].hash : 0;
}
