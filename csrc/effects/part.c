/* Doing only the first part of a read or write: `short` returns it, `torn` dies after it. */
#include "effects.h"
#include <signal.h>
#include <sys/uio.h>

#define IOV_MOST 128 /* a cut beyond so many pieces is made at this one */

uint64_t fl_vector_size(const struct fl_op_info *info, const long *a)
{
    const struct iovec *iov = (const struct iovec *)a[info->iov - 1];
    uint64_t bytes = 0;
    for (long i = 0; i < a[info->iovcnt - 1]; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

uint64_t fl_call_size(const struct fl_frame *f)
{
    return f->info->size ? (uint64_t)f->a[f->info->size - 1] : fl_vector_size(f->info, f->a);
}

static long with_arguments(struct fl_frame *f, int place, long value, int place2, long value2)
{
    long *original = f->a, changed[6];
    for (int i = 0; i < 6; i++)
        changed[i] = original[i];
    changed[place - 1] = value;
    if (place2)
        changed[place2 - 1] = value2;
    f->a = changed;
    long result = fl_invoke(f);
    f->a = original;
    return result;
}

long fl_invoke_part(struct fl_frame *f, uint64_t keep)
{
    const struct fl_op_info *info = f->info;
    if (info->size)
        return with_arguments(f, info->size, (long)keep, 0, 0);
    const struct iovec *given = (const struct iovec *)f->a[info->iov - 1];
    struct iovec cut[IOV_MOST];
    int n = 0;
    for (; n < IOV_MOST && n < f->a[info->iovcnt - 1] && keep; n++) {
        cut[n] = given[n];
        if (cut[n].iov_len > keep)
            cut[n].iov_len = keep;
        keep -= cut[n].iov_len;
    }
    return with_arguments(f, info->iov, (long)cut, info->iovcnt, n);
}

static uint64_t kept(const struct fl_frame *f, const struct fl_rule *rule)
{
    uint64_t size = fl_call_size(f);
    if (!rule->percent)
        return (uint64_t)rule->value;
    uint64_t part = size / 100 * rule->percent + size % 100 * rule->percent / 100;
    return part || !size ? part : 1;
}

FL_EFFECT(short) { return fl_invoke_part(f, kept(f, choice->rule)); }

FL_EFFECT(torn)
{
    uint64_t left = kept(f, choice->rule);
    long result = left ? fl_invoke_part(f, left) : 0;
    fl_die(f, result, choice);
}
