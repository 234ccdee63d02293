/* What is behind each descriptor: its path as it was opened and the rules that want it. Filled by the calls that make
 * descriptors while a rule or the journal cares; a descriptor made unseen (inherited, received) is asked of the kernel once.
 * Per process; a vfork child must not write here, its table is its parent's. From any context. */
#include "shim.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* In an entry's generation: the path is known, the mask is not. */
#define STALE 0x80000000u
/* A thread is writing the entry. */
#define BUSY STALE

struct fl_fd fl_fds[FL_MAX_FDS];
static uint64_t inodes[FL_MAX_FDS]; /* of descriptors that some path rule wants */
uint8_t fl_fd_kinds[FL_MAX_FDS];
static int highest; /* no entry beyond it was ever made */

/* Whether the entry was made, and every close since then seen: tracking may have been off in between. */
static int known(int fd)
{
    if ((unsigned)fd >= FL_MAX_FDS)
        return 0;
    uint32_t generation = __atomic_load_n(&fl_fds[fd].generation, __ATOMIC_ACQUIRE);
    return (generation & ~STALE) && (generation & ~STALE) >= fl_ctl->track_since;
}

/* While a data log is written. An even number that changes with whatever a descriptor stands for; and that of one which was opened
 * by this program, with READ_ONLY if it was for reading. */
#define READ_ONLY 1u
static uint32_t stamps[FL_MAX_FDS], opened[FL_MAX_FDS];

/* 0: nothing that is kept of it would be sure. */
uint32_t fl_fd_stamp(int fd) { return known(fd) ? __atomic_load_n(&stamps[fd], __ATOMIC_RELAXED) + 2 : 0; }

int fl_fd_is_ours(int fd, uint32_t stamp) { return stamp && (opened[fd] & ~READ_ONLY) == stamp; }

int fl_fd_is_read_only(int fd)
{
    uint32_t stamp = fl_fd_stamp(fd);
    return fl_fd_is_ours(fd, stamp) && (opened[fd] & READ_ONLY);
}

static int is_tty(dev_t device)
{
    unsigned number = major(device);
    return number == 4 || number == 5 || (number >= 136 && number <= 143);
}

static uint32_t kind_of(const struct stat *st)
{
    switch (st->st_mode & S_IFMT) {
    case S_IFREG: case S_IFBLK: return FL_KIND_FILE;
    case S_IFDIR: return FL_KIND_DIR;
    case S_IFIFO: return FL_KIND_PIPE;
    case S_IFSOCK: return FL_KIND_SOCKET;
    case S_IFCHR: return is_tty(st->st_rdev) ? FL_KIND_TTY : FL_KIND_OTHER;
    default: return FL_KIND_OTHER;
    }
}

static uint32_t stat_fd(int fd, uint64_t *inode)
{
    struct stat st;
    if (fl_sys3(SYS_fstat, fd, &st, 0) < 0)
        return 0;
    *inode = fl_mix(st.st_dev, st.st_ino) | 1;
    return kind_of(&st);
}

void fl_fd_link(char *link, int fd)
{
    char digits[12];
    __builtin_memcpy(link, "/proc/self/fd/", 14);
    link += 14;
    int n = 0;
    for (unsigned v = (unsigned)fd; v || !n; v /= 10)
        digits[n++] = (char)('0' + v % 10);
    while (n)
        *link++ = digits[--n];
    *link = '\0';
}

/* The kernel's name for a descriptor, real path; deleted files lose the kernel's mark. In *fits whether `room` sufficed. */
static __attribute__((noinline)) uint32_t read_link(int fd, size_t room, int *fits)
{
    char link[32], text[room];
    fl_fd_link(link, fd);
    long got = fl_sys(SYS_readlinkat, AT_FDCWD, link, text, room - 1);
    *fits = got < (long)room - 1;
    if (got == -ENAMETOOLONG)
        return fl_intern_deep();
    if (got <= 0 || !*fits)
        return 0;
    static const char gone[] = " (deleted)";
    if (got > (long)sizeof gone && !memcmp(text + got - (sizeof gone - 1), gone, sizeof gone - 1))
        got -= sizeof gone - 1;
    text[got] = '\0';
    return fl_intern(text, (size_t)got);
}

static uint32_t ask_kernel(int fd)
{
    int fits;
    uint32_t path = read_link(fd, FL_PATH_USUAL, &fits);
    return fits ? path : read_link(fd, FL_PATH_MAX, &fits);
}

uint32_t fl_fd_path(int fd, uint32_t *kind)
{
    uint64_t inode;
    if (known(fd) && !fl_thread.spawning) {
        if (kind)
            *kind = fl_fd_kinds[fd];
        return fl_fds[fd].path;
    }
    if (kind)
        *kind = stat_fd(fd, &inode);
    return ask_kernel(fd);
}

/* Of threads that come at once one writes, and a late one never replaces what was made for a later rule set. */
static void remember(int fd, uint64_t mask, uint32_t generation, uint32_t path)
{
    struct fl_fd *entry = &fl_fds[fd];
    int seen = __atomic_load_n(&highest, __ATOMIC_RELAXED);
    while (fd > seen && !__atomic_compare_exchange_n(&highest, &seen, fd, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    uint32_t before = __atomic_load_n(&entry->generation, __ATOMIC_ACQUIRE);
    if (before == BUSY || (before & ~STALE) > (generation & ~STALE) ||
        !__atomic_compare_exchange_n(&entry->generation, &before, BUSY, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return;
    entry->mask = mask;
    entry->path = path;
    __atomic_store_n(&entry->generation, generation, __ATOMIC_RELEASE);
}

struct settled { uint64_t mask; uint32_t kinds, has; };

/* Positions `among` these that accept the descriptor, whatever its kind, and what they want to know beyond its name. */
static struct settled by_name(const struct fl_frame *f, const struct fl_set *set, uint32_t generation, uint64_t among)
{
    const struct fl_rule *rules = FL_AREA(struct fl_rule, rules_off);
    struct fl_subject subject = {.path = fl_path_text(f->path), .fd = f->fd};
    uint64_t named = f->path ? fl_path_mask(f->path, set, generation) : 0;
    struct settled found = {0};
    for (uint64_t left = among; left; left &= left - 1) {
        int position = __builtin_ctzll(left);
        const struct fl_rule *rule = &rules[set->slot[position]];
        int whole = !f->path || (rule->has & FL_HAS_FD);
        if (whole ? !fl_accepts(rule, FL_STRINGS, &subject) : !(named >> position & 1))
            continue;
        found.mask |= 1ull << position;
        found.kinds |= rule->fdkinds;
        found.has |= rule->has;
    }
    return found;
}

static uint64_t of_kind(const struct fl_set *set, uint64_t mask, uint32_t kind)
{
    const struct fl_rule *rules = FL_AREA(struct fl_rule, rules_off);
    uint64_t kept = 0;
    for (uint64_t left = mask; left; left &= left - 1) {
        int position = __builtin_ctzll(left);
        uint32_t kinds = rules[set->slot[position]].fdkinds;
        if (!kinds || (kinds & kind))
            kept |= 1ull << position;
    }
    return kept;
}

/* Positions whose settled predicates accept the descriptor of this call, which the table does not know yet. The kernel is
 * only asked what it is when a rule or the journal wants it. */
uint64_t fl_fd_settle(struct fl_frame *f, const struct fl_set *set, uint32_t generation, uint64_t who)
{
    int fd = f->fd, mine = (unsigned)fd < FL_MAX_FDS && !f->foreign, old = mine && known(fd);
    uint64_t inode = 0;
    if (fd < 0 && f->op == FL_OP_MMAP && (f->a[f->info->flags - 1] & MAP_ANONYMOUS)) {
        f->kind = FL_KIND_ANONYMOUS;
        return fl_names_mask(f, set, generation, set->on_fds & who);
    }
    f->path = old ? fl_fds[fd].path : ask_kernel(fd);
    f->kind = old ? fl_fd_kinds[fd] : 0;
    struct settled found = by_name(f, set, generation, set->on_fds & who);
    if (!f->kind && (found.mask || fl_recording() || !f->path) && !(f->kind = stat_fd(fd, &inode)))
        return 0; /* not open: the real call will say so */
    if (!f->path)
        __atomic_add_fetch(&fl_ctl->nameless, 1, __ATOMIC_RELAXED);
    uint64_t mask = found.kinds ? of_kind(set, found.mask, f->kind) : found.mask;
    if (mine) {
        fl_fd_kinds[fd] = (uint8_t)f->kind;
        if (inode || !old)
            inodes[fd] = inode;
        if ((found.has & FL_HAS_PATH) && !inodes[fd])
            stat_fd(fd, &inodes[fd]);
        remember(fd, mask, generation, f->path);
    }
    return mask;
}

/* A descriptor that this process has just made. Its rules are looked up at its first use. */
void fl_fd_opened(int fd, uint32_t path, uint32_t generation, int read_only)
{
    if ((unsigned)fd >= FL_MAX_FDS)
        return;
    inodes[fd] = 0;
    fl_fd_kinds[fd] = 0;
    fl_fd_closed(fd);
    opened[fd] = (stamps[fd] + 2) | (read_only ? READ_ONLY : 0);
    remember(fd, 0, path ? generation | STALE : 0, path);
}

void fl_fd_closed(int fd)
{
    if ((unsigned)fd < FL_MAX_FDS)
        __atomic_store_n(&fl_fds[fd].generation, 0, __ATOMIC_RELEASE);
    if ((unsigned)fd < FL_MAX_FDS && fl_ctl->datalog.capacity)
        __atomic_add_fetch(&stamps[fd], 2, __ATOMIC_RELAXED);
}

void fl_fd_dup(int from, int to)
{
    if ((unsigned)to >= FL_MAX_FDS)
        return;
    if (!known(from)) {
        fl_fd_closed(to);
        return;
    }
    uint32_t here = fl_fd_is_ours(from, fl_fd_stamp(from)) ? opened[from] : 0;
    inodes[to] = inodes[from];
    fl_fd_kinds[to] = fl_fd_kinds[from];
    fl_fd_closed(to);
    opened[to] = here ? (stamps[to] + 2) | (here & READ_ONLY) : 0;
    remember(to, 0, fl_fds[from].generation | STALE, fl_fds[from].path);
}

unsigned fl_fd_highest(void) { return (unsigned)__atomic_load_n(&highest, __ATOMIC_RELAXED); }

void fl_fd_close_range(unsigned first, unsigned last)
{
    unsigned end = fl_fd_highest();
    for (unsigned fd = first; fd <= last && fd <= end; fd++)
        fl_fd_closed((int)fd);
}

/* Before a path rule acts on a descriptor: is it still the file that the table says? A close that was not seen must never
 * make the wrong file fail. */
int fl_fd_verify(struct fl_frame *f)
{
    if (f->fd < 0 || (unsigned)f->fd >= FL_MAX_FDS || f->foreign || !inodes[f->fd])
        return 1;
    uint64_t inode = 0;
    stat_fd(f->fd, &inode);
    if (inode == inodes[f->fd])
        return 1;
    fl_fd_closed(f->fd);
    return 0;
}
