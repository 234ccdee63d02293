/* Drives the parts of the C side that need no process around them with generated input, for the sanitizers to watch. Every
 * buffer is a heap block of just its size. Arguments: a seed and a number of rounds. Exit status 1: a promise was broken. */
#include "control.h"
#include "shim.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What call.c, attach.c and slot.c hold in the shim. */
struct fl_ctl *fl_ctl;
__thread struct fl_thread fl_thread;

static uint64_t state;
static uint64_t any(void) { return state = fl_mix(state, 1); }
static uint64_t below(uint64_t n) { return any() % n; }
/* Of any magnitude, the extremes included. */
static uint64_t wild(void) { return below(8) ? any() >> below(64) : below(2) ? 0 : ~0ull; }

#define EXPECT(condition) ((condition) ? (void)0 : broken(#condition, __LINE__))

static void broken(const char *what, int line)
{
    fprintf(stderr, "line %d: %s does not hold\n", line, what);
    exit(1);
}

static char *text(const char *alphabet, size_t most)
{
    size_t n = below(most + 1), letters = strlen(alphabet);
    char *made = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        made[i] = alphabet[below(letters)];
    made[n] = '\0';
    return made;
}

static void globs(void)
{
    char *pattern = text("ab*?[]!^-\\/", 12), *name = text("ab/]-\\", 12);
    fl_glob(pattern, name);
    fl_hash(name);
    char *exact = malloc(2 * strlen(name) + 1), *end = exact;
    for (const char *c = name; *c; c++) {
        *end++ = '\\';
        *end++ = *c;
    }
    *end = '\0';
    EXPECT(fl_glob(exact, name));
    EXPECT(fl_glob("*", name));
    free(exact);
    free(pattern);
    free(name);
}

/* A rule whose numbers may be anything, whose strings exist, as the compiler guarantees. */
static struct fl_rule any_rule(uint32_t id, uint32_t strings)
{
    struct fl_rule rule;
    uint64_t *words = (uint64_t *)&rule;
    for (size_t i = 0; i < sizeof rule / 8; i++)
        words[i] = wild();
    rule.id = id;
    rule.after = 1 + (uint32_t)below(FL_MAX_RULES);
    rule.scope = (uint16_t)below(4);
    rule.effect = (uint32_t)below(FL_EFFECT_COUNT);
    rule.proc = (uint32_t)below(strings);
    rule.thread = (uint32_t)below(strings);
    for (int i = 0; i < FL_GLOBS; i++) {
        rule.path[i] = (uint32_t)below(strings);
        rule.from[i] = (uint32_t)below(strings);
        rule.to[i] = (uint32_t)below(strings);
    }
    if (rule.has & FL_HAS_WINDOW)
        rule.step %= 1000;
    return rule;
}

static struct fl_ctl *make_block(uint64_t journal, uint64_t firings, uint64_t text_bytes)
{
    uint64_t size = fl_layout_size(journal, firings, text_bytes, 0);
    struct fl_ctl *ctl = calloc(1, size);
    fl_layout(ctl, journal, firings, text_bytes, 0);
    EXPECT(ctl->size == size);
    ctl->generation = 2;
    ctl->set[0].generation = 2;
    fl_ctl = ctl;
    char *strings = FL_AREA(char, strings_off);
    for (uint32_t at = 1; at < FL_STRING_BYTES - 1; at++)
        strings[at] = "\0*/a?b[c]!-d"[below(12)];
    return ctl;
}

/* A new set of rules at some positions, as the controller publishes it. */
static void publish(void)
{
    struct fl_set *set = &fl_ctl->set[(fl_ctl->generation + 1) & 1];
    memset(set, 0, sizeof *set);
    struct fl_rule *rules = FL_AREA(struct fl_rule, rules_off);
    for (int position = 0; position < FL_LIVE_RULES; position++) {
        if (below(4))
            continue;
        uint32_t id = (uint32_t)below(FL_MAX_RULES);
        rules[id] = any_rule(id, FL_STRING_BYTES);
        set->slot[position] = (uint16_t)id;
        set->live |= 1ull << position;
        for (int i = 0; i < FL_OPS; i++)
            set->interest[i] |= below(2) << position;
    }
    set->gate = any();
    fl_publish(fl_ctl);
    EXPECT(fl_ctl->gate == set->gate && fl_ctl->generation == set->generation);
}

static void decide(void)
{
    char *path = text("ab/.", 20), *thread = text("1.", 6);
    struct fl_counter process[FL_LIVE_RULES] = {{0}};
    struct fl_thread_counter threads[FL_LIVE_RULES] = {{0}};
    struct fl_choice disk = {0};
    struct fl_counters counters = {process, threads, FL_AREA(struct fl_tally, tallies_off),
                                   FL_AREA(struct fl_path_counter, path_counters_off), &fl_ctl->counters_full, (uint32_t)below(2), &disk};
    struct fl_subject subject = {below(4) ? path : NULL, below(4) ? NULL : path, (int)below(9) - 1, (uint32_t)below(64)};
    struct fl_who who = {path, thread, path};
    for (int i = 0; i < 20; i++) {
        struct fl_rule rule = any_rule((uint32_t)below(FL_MAX_RULES), FL_STRING_BYTES);
        struct fl_look look = {wild(), (int64_t)wild(), wild(), wild(), any(), any(), any(), thread, fl_hash(path),
                               (uint32_t)below(FL_OPS), (uint32_t)below(8)};
        struct fl_choice choice = {0};
        fl_accepts(&rule, FL_STRINGS, &subject);
        fl_accepts_who(&rule, FL_STRINGS, &who);
        if (!fl_consider(&rule, FL_STRINGS, &look, &counters, (int)below(2), &choice))
            continue;
        EXPECT(choice.rule == &rule);
        fl_fired(&rule, &counters);
    }
    free(path);
    free(thread);
}

/* Names of every length up to beyond what fits, through whatever operation takes them. */
static void paths(void)
{
    char *from = below(50) ? text("ab./", 40) : text("abcdefg/", 5000), *to = text("ab./", 60);
    unsigned op = (unsigned)below(FL_OPS);
    const struct fl_op_info *info = &fl_op_table[op];
    long a[6] = {0};
    for (int i = 0; i < 6; i++)
        a[i] = (long)wild();
    if (info->dirfd)
        a[info->dirfd - 1] = below(2) ? AT_FDCWD : (long)below(FL_MAX_FDS + 10) - 5;
    if (info->dirfd2)
        a[info->dirfd2 - 1] = AT_FDCWD;
    if (info->path)
        a[info->path - 1] = below(20) ? (long)from : 0;
    if (info->path2)
        a[info->path2 - 1] = below(20) ? (long)to : 0;
    uint32_t generation;
    const struct fl_set *set = fl_current_set(&generation);
    struct fl_frame f = {.op = op, .a = a, .info = info, .fd = -1};
    uint64_t among = any(), first = fl_names_mask(&f, set, generation, among);
    struct fl_frame again = {.op = op, .a = a, .info = info, .fd = -1};
    EXPECT(first == fl_names_mask(&again, set, generation, among) && f.path == again.path && f.path2 == again.path2);
    EXPECT(!f.path || fl_path_text(f.path)[0] == '/');
    uint32_t id = fl_intern(to, strlen(to));
    EXPECT(id <= FL_MAX_PATHS && (!id || fl_path_text(id) + strlen(to) < FL_AREA(char, path_bytes_off) + FL_PATH_BYTES));
    EXPECT(!id || (!strcmp(fl_path_text(id), to) && fl_intern(to, strlen(to)) == id));
    if (!below(40))
        fl_cwd_changed();
    free(from);
    free(to);
}

static void descriptors(void)
{
    uint32_t generation, kind;
    const struct fl_set *set = fl_current_set(&generation);
    int fd = below(3) ? (int)below(8) : (int)wild(), other = (int)below(8) + (below(2) ? FL_MAX_FDS : 0) - 4;
    uint32_t path = fl_intern("/some/where", 11);
    long a[6] = {fd};
    struct fl_frame f = {.op = FL_OP_WRITE, .a = a, .info = &fl_op_table[FL_OP_WRITE], .fd = fd};
    switch (below(6)) {
    case 0: fl_fd_opened(fd, below(2) ? path : 0, generation, 0); break;
    case 1: fl_fd_closed(other); break;
    case 2: fl_fd_dup(fd, other); break;
    case 3: fl_fd_close_range((unsigned)other, (unsigned)wild()); break;
    case 4: fl_fd_path(fd, &kind); break;
    default:
        fl_fd_settle(&f, set, generation, any());
        fl_fd_verify(&f);
    }
}

/* Everything recorded is either read, in order, or counted as lost. */
static void rings(uint64_t *read, uint64_t *recorded)
{
    struct fl_ring *ring = &fl_ctl->firings;
    struct fl_event *events = (struct fl_event *)((char *)fl_ctl + ring->offset);
    for (uint64_t n = below(12); n; n--, ++*recorded) {
        struct fl_event *event = &events[ring->head++ & (ring->capacity - 1)];
        event->sequence = ring->head;
    }
    uint64_t most = 1 + below(9);
    struct fl_event *out = malloc(most * sizeof *out);
    uint64_t got = fl_drain(fl_ctl, ring, out, most);
    for (uint64_t i = 1; i < got; i++)
        EXPECT(out[i].sequence == out[i - 1].sequence + 1);
    *read += got;
    EXPECT(*read + ring->lost + (ring->head - ring->tail) == *recorded);
    free(out);
}

static void texts(void)
{
    char *made = text("ab\tc", below(50) ? 9 : 300);
    uint32_t n = (uint32_t)strlen(made), id = fl_text(made, n);
    EXPECT(id <= fl_ctl->text_capacity);
    if (id) {
        const struct fl_text *entry = &FL_AREA(struct fl_text, texts_off)[id - 1];
        EXPECT(entry->length == n && entry->offset + n <= fl_ctl->text_bytes);
        EXPECT(!memcmp(FL_AREA(char, text_bytes_off) + entry->offset, made, n) && fl_text(made, n) == id);
    }
    free(made);
}

int main(int count, char **arguments)
{
    EXPECT(count == 3);
    state = strtoull(arguments[1], NULL, 0);
    struct fl_ctl *ctl = make_block(1 + below(5), 1 + below(20), below(2) * 4096);
    uint64_t read = 0, recorded = 0;
    for (long round = strtol(arguments[2], NULL, 0); round; round--) {
        if (!below(50))
            publish();
        globs();
        decide();
        paths();
        descriptors();
        rings(&read, &recorded);
        texts();
    }
    fl_disarm(ctl);
    EXPECT(!ctl->gate && ctl->closed);
    printf("%llu records, %u paths\n", (unsigned long long)recorded, ctl->next_path);
    free(ctl);
    return 0;
}
