/* The decision, see decide.h. Pure; from any context. */
#include "decide.h"
#include <string.h>

/* Glob over whole names: `*` also crosses `/`, `?` is one byte, `[a-z]` and `[!a-z]` a set, `\` takes the next byte literally. */
static const char *glob_set(const char *p, unsigned char c, int *hit)
{
    int negate = *p == '!' || *p == '^', first = 1, found = 0;
    if (negate)
        p++;
    for (; *p && (first || *p != ']'); first = 0) {
        if (*p == '\\' && p[1])
            p++;
        unsigned char low = (unsigned char)*p++, high = low;
        if (*p == '-' && p[1] && p[1] != ']') {
            p++;
            if (*p == '\\' && p[1])
                p++;
            high = (unsigned char)*p++;
        }
        found |= low <= c && c <= high;
    }
    *hit = found != negate;
    return *p == ']' ? p + 1 : NULL;
}

int fl_glob(const char *p, const char *t)
{
    const char *star = NULL, *mark = NULL;
    for (;;) {
        int hit = 0;
        const char *next = p + 1;
        switch (*p) {
        case '*':
            star = ++p;
            mark = t;
            continue;
        case '\0':
            if (!*t)
                return 1;
            break;
        case '?':
            hit = *t != '\0';
            break;
        case '[':
            if (*t)
                next = glob_set(p + 1, (unsigned char)*t, &hit);
            if (*t && !next) { /* no closing bracket: a plain character */
                next = p + 1;
                hit = *t == '[';
            }
            break;
        case '\\':
            if (p[1])
                next = ++p + 1;
            /* fall through */
        default:
            hit = *p == *t;
        }
        if (hit && *t) {
            p = next;
            t++;
        } else if (star && *mark) {
            p = star;
            t = ++mark;
        } else {
            return 0;
        }
    }
}

uint64_t fl_hash(const char *text)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h;
}

/* The finalizer of splitmix64 over both words. */
uint64_t fl_mix(uint64_t a, uint64_t b)
{
    uint64_t z = a * 0x9e3779b97f4a7c15u + b + 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int any_glob(const uint32_t *globs, const char *strings, const char *text)
{
    for (int i = 0; text && i < FL_GLOBS && globs[i]; i++)
        if (fl_glob(strings + globs[i], text))
            return 1;
    return 0;
}

static int any_proc(const struct fl_rule *r, const char *strings, const struct fl_who *who)
{
    const char *glob = strings + r->proc;
    int any = r->proc_by == FL_BY_ANY, hit = 0;
    if (any || r->proc_by == FL_BY_LABEL)
        hit |= fl_glob(glob, who->label);
    if (any || r->proc_by == FL_BY_COMM)
        hit |= fl_glob(glob, who->comm);
    if (any || r->proc_by == FL_BY_LINEAGE)
        hit |= fl_glob(glob, who->lineage);
    return hit;
}

int fl_accepts(const struct fl_rule *r, const char *strings, const struct fl_subject *s)
{
    if (r->fdkinds && s->kind && !(r->fdkinds & s->kind))
        return 0;
    if ((r->has & FL_HAS_FD) && s->fd != r->fd)
        return 0;
    if (r->has & FL_HAS_PATH) {
        if (!s->path && !s->path2)
            return 0;
        int hit = any_glob(r->path, strings, s->path) || any_glob(r->path, strings, s->path2);
        if (hit == !!(r->negate & FL_NOT_PATH))
            return 0;
    }
    if ((r->has & FL_HAS_FROM) && (!s->path || any_glob(r->from, strings, s->path) == !!(r->negate & FL_NOT_FROM)))
        return 0;
    if ((r->has & FL_HAS_TO) && (!s->path2 || any_glob(r->to, strings, s->path2) == !!(r->negate & FL_NOT_TO)))
        return 0;
    return 1;
}

int fl_accepts_who(const struct fl_rule *r, const char *strings, const struct fl_who *who)
{
    return !(r->has & FL_HAS_PROC) || any_proc(r, strings, who) != !!(r->negate & FL_NOT_PROC);
}

uint32_t fl_choose_domain(const uint32_t *clock_rule, const struct fl_rule *rules, const char *strings, const struct fl_who *who)
{
    for (uint32_t i = 1; i < FL_MAX_CLOCKS; i++) {
        uint32_t rule = __atomic_load_n(&clock_rule[i], __ATOMIC_ACQUIRE);
        if (rule && fl_accepts_who(&rules[(rule - 1) % FL_MAX_RULES], strings, who))
            return i;
    }
    return 0;
}

/* A call that the effect could not change does not match: what it cuts off, makes up or damages has to be there. */
static int is_large_enough(const struct fl_rule *r, const struct fl_look *look)
{
    uint64_t least = 0;
    if (r->effect == FL_EFFECT_SHORT || r->effect == FL_EFFECT_TORN)
        least = r->percent ? 2 : (uint64_t)r->value + 1;
    else if (r->effect == FL_EFFECT_RETURN)
        least = r->percent ? 0 : (uint64_t)r->value;
    else if (r->effect == FL_EFFECT_CORRUPT)
        least = 1;
    return !(look->have & FL_LOOK_SIZE) || look->size >= least;
}

/* The predicates that can change from call to call. */
static int matches(const struct fl_rule *r, const char *strings, const struct fl_look *look, const struct fl_tally *tallies)
{
    if (!fl_in_range(r, look))
        return 0;
    if ((r->has & FL_HAS_THREAD) && !fl_glob(strings + r->thread, look->thread_path))
        return 0;
    if ((r->has & FL_HAS_AFTER) && !__atomic_load_n(&tallies[r->after - 1].fired_any, __ATOMIC_RELAXED))
        return 0;
    if ((r->has & FL_HAS_TIME) &&
        (look->now_ns < r->at_ns || (r->for_ns && look->now_ns - r->at_ns >= r->for_ns)))
        return 0;
    return 1;
}

static struct fl_counter *path_counter(const struct fl_counters *c, const struct fl_rule *r, uint64_t path_key)
{
    uint64_t key = fl_mix(path_key, r->id) | 1;
    for (uint32_t i = 0; i < 64; i++) {
        struct fl_path_counter *entry = &c->paths[(key + i) % FL_MAX_PATH_COUNTERS];
        uint64_t seen = __atomic_load_n(&entry->key, __ATOMIC_ACQUIRE);
        if (!seen && __atomic_compare_exchange_n(&entry->key, &seen, key, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return &entry->count;
        if (seen == key)
            return &entry->count;
    }
    __atomic_add_fetch(c->paths_full, 1, __ATOMIC_RELAXED);
    return NULL;
}

static struct fl_counter *thread_counter(const struct fl_counters *c, const struct fl_rule *r)
{
    struct fl_thread_counter *entry = &c->thread[r->seat % FL_LIVE_RULES];
    if (entry->rule != r->id + 1u)
        *entry = (struct fl_thread_counter){.rule = r->id + 1u};
    return &entry->count;
}

int fl_take_firing(const struct fl_choice *choice)
{
    struct fl_counter *counter = choice->limited;
    if (!counter)
        return 1;
    uint64_t fired = __atomic_load_n(&counter->fired, __ATOMIC_RELAXED);
    while (fired < choice->rule->times)
        if (__atomic_compare_exchange_n(&counter->fired, &fired, fired + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return 1;
    return 0;
}

/* A file lies on one disk: that of the first rule. */
static int take_part(const struct fl_counters *c, const struct fl_choice *choice)
{
    if (!c->disk->rule)
        *c->disk = *choice;
    return 0;
}

uint32_t fl_is_plain(const struct fl_rule *r)
{
    const uint32_t effects = 1u << FL_EFFECT_NONE | 1u << FL_EFFECT_ERROR | 1u << FL_EFFECT_DELAY | 1u << FL_EFFECT_KILL |
                             1u << FL_EFFECT_SIGNAL | 1u << FL_EFFECT_STOP | 1u << FL_EFFECT_HANG | 1u << FL_EFFECT_CLOCK;
    const uint32_t looks = (FL_HAS_WINDOW - FL_HAS_FLAGS) | FL_HAS_P | FL_HAS_TIMES;
    return !(r->has & looks) && r->scope == FL_SCOPE_PROCESS && (effects >> r->effect & 1) && !r->jitter_ns;
}

int fl_consider(const struct fl_rule *r, const char *strings, const struct fl_look *look, const struct fl_counters *c,
                int may_act, struct fl_choice *choice)
{
    if (r->plain)
        return fl_count_plain(r, c->process, c->alone, may_act, choice);
    if ((r->has & (FL_HAS_WINDOW - FL_HAS_FLAGS)) && !matches(r, strings, look, c->tallies))
        return 0;
    if (!is_large_enough(r, look))
        return 0;
    if (r->effect == FL_EFFECT_SPACE && !(r->ops[look->op / 64] >> look->op % 64 & 1)) /* it only takes or gives back */
        return take_part(c, &(struct fl_choice){.rule = r});
    struct fl_counter *own = &c->process[r->id % FL_LIVE_RULES], *scoped = own;
    uint64_t n = fl_bump(&own->matched, c->alone && r->scope == FL_SCOPE_PROCESS);
    if (r->scope == FL_SCOPE_SESSION)
        n = fl_bump(&(scoped = &c->tallies[r->id].session)->matched, 0);
    else if (r->scope == FL_SCOPE_THREAD)
        n = ++(scoped = thread_counter(c, r))->matched;
    else if (r->scope == FL_SCOPE_PATH) {
        if (!(scoped = path_counter(c, r, look->path_key)))
            return 0;
        n = fl_bump(&scoped->matched, 0);
    }
    uint64_t draw = 0;
    if ((r->has & FL_HAS_P) || r->effect == FL_EFFECT_CORRUPT || r->jitter_ns) {
        struct fl_counter *mine = r->scope == FL_SCOPE_THREAD ? scoped : thread_counter(c, r);
        uint64_t nth = r->scope == FL_SCOPE_THREAD ? n : ++mine->matched;
        draw = fl_mix(fl_mix(look->seed, r->id), fl_mix(fl_mix(look->identity, look->thread), nth));
    }
    if (!fl_in_window(r, n) || ((r->has & FL_HAS_P) && (draw >> 32) >= r->p))
        return 0;
    struct fl_choice open = {.rule = r, .nth = n, .draw = fl_mix(draw, 1), .limited = r->has & FL_HAS_TIMES ? scoped : NULL};
    if (r->effect == FL_EFFECT_SPACE)
        return take_part(c, &open);
    if (!may_act || !fl_take_firing(&open))
        return 0;
    *choice = open;
    return 1;
}

void fl_fired(const struct fl_rule *r, const struct fl_counters *c)
{
    struct fl_counter *own = &c->process[r->id % FL_LIVE_RULES];
    if (!(r->has & FL_HAS_TIMES) || r->scope != FL_SCOPE_PROCESS)
        fl_bump(&own->fired, 0);
    __atomic_add_fetch(&c->tallies[r->id].fired_any, 1, __ATOMIC_RELAXED);
}

void fl_not_fired(const struct fl_choice *choice)
{
    if (choice->limited)
        __atomic_sub_fetch(&choice->limited->fired, 1, __ATOMIC_RELAXED);
}
