/* Records of calls in a ring of the control block. Writers never wait: the reader sees what it lost. From any context. */
#include "shim.h"
#include "sys.h"
#include <errno.h>
#include <time.h>

uint64_t fl_now_ns(void)
{
    struct timespec now;
    int (*read)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))fl_real[FL_SYM_clock_gettime];
    read(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct fl_event *fl_event_begin(struct fl_ring *ring, uint64_t *number)
{
    *number = __atomic_fetch_add(&ring->head, 1, __ATOMIC_ACQ_REL);
    struct fl_event *event = (struct fl_event *)((char *)fl_ctl + ring->offset) + *number % ring->capacity;
    __atomic_store_n(&event->sequence, 0, __ATOMIC_RELEASE);
    return event;
}

static uint64_t argument(const struct fl_frame *f, int place) { return place ? (uint64_t)f->a[place - 1] : 0; }

/* `result` is as libc gave it: -1 means errno. */
void fl_record(struct fl_ring *ring, const struct fl_frame *f, long result, const struct fl_choice *choice)
{
    uint64_t number, end = ring == &fl_ctl->firings || (fl_ctl->options & FL_OPT_TIMES) ? fl_now_ns() : 0;
    struct fl_event *e = fl_event_begin(ring, &number);
    uint64_t begin = f->started_ns ? f->started_ns : end;
    e->time_ns = begin ? begin - fl_ctl->t0_ns : 0;
    e->duration_ns = end - begin > 0xffffffffu ? 0xffffffffu : (uint32_t)(end - begin);
    e->result = result == -1 && f->info->result != FL_RESULT_CODE ? -errno : result;
    e->size = argument(f, f->info->size ? f->info->size : f->info->iovcnt);
    e->offset = (int64_t)argument(f, f->info->offset);
    e->flags = (uint32_t)argument(f, f->info->flags);
    e->path = f->path;
    e->path2 = f->path2;
    e->stack = 0;
    e->process = f->proc ? (uint16_t)(f->proc - FL_AREA(struct fl_proc, procs_off)) : 0;
    e->op = (uint16_t)f->op;
    e->fd = f->fd;
    e->kind = (uint8_t)f->kind;
    e->identity = f->proc ? f->proc->identity : 0;
    e->thread = fl_thread.identity;
    e->rule = 0;
    e->effect = 0;
    e->nth = 0;
    if (choice) {
        e->rule = (uint16_t)(choice->rule->id + 1);
        e->effect = (uint8_t)choice->rule->effect;
        e->nth = choice->nth;
        struct fl_tally *tally = &FL_AREA(struct fl_tally, tallies_off)[choice->rule->id];
        uint32_t none = 0;
        if (ring == &fl_ctl->firings)
            __atomic_compare_exchange_n(&tally->first_event, &none, (uint32_t)number + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&e->sequence, number + 1, __ATOMIC_RELEASE);
}
