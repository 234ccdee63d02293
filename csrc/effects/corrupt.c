/* Flips one bit in each of `value` bytes, at places drawn from the seed: of the data that a read brought, or of a copy of the
 * data that a write sends (the program's own buffer is never touched). */
#include "effects.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>

static void flip(unsigned char *byte, uint64_t draw) { *byte ^= (unsigned char)(1u << (draw >> 32 & 7)); }

static void corrupt_iov(const struct iovec *iov, long n, uint64_t at, uint64_t draw)
{
    for (long i = 0; i < n; at -= iov[i++].iov_len)
        if (at < iov[i].iov_len) {
            flip((unsigned char *)iov[i].iov_base + at, draw);
            return;
        }
}

static void corrupt_pieces(const struct iovec *iov, long n, uint64_t bytes, const struct fl_choice *choice)
{
    for (int64_t i = 0; i < choice->rule->value; i++) {
        uint64_t draw = fl_mix(choice->draw, (uint64_t)i);
        corrupt_iov(iov, n, draw % bytes, draw);
    }
}

static long corrupt_write(struct fl_frame *f, const struct fl_choice *choice, const struct iovec *iov, long n, uint64_t bytes)
{
    long scratch = fl_sys6(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if ((unsigned long)scratch >= -4095ul)
        return fl_fail(f, ENOMEM);
    uint64_t at = 0;
    for (long i = 0; i < n; at += iov[i++].iov_len)
        __builtin_memcpy((char *)scratch + at, iov[i].iov_base, iov[i].iov_len);
    struct iovec copy = {.iov_base = (void *)scratch, .iov_len = bytes};
    corrupt_pieces(&copy, 1, bytes, choice);
    long *original = f->a, changed[6];
    for (int i = 0; i < 6; i++)
        changed[i] = original[i];
    changed[(f->info->buf ? f->info->buf : f->info->iov) - 1] = f->info->buf ? scratch : (long)&copy;
    if (f->info->iov)
        changed[f->info->iovcnt - 1] = 1;
    f->a = changed;
    long result = fl_invoke(f);
    f->a = original;
    fl_sys3(SYS_munmap, scratch, bytes, 0);
    return result;
}

FL_EFFECT(corrupt)
{
    struct iovec one, *iov = &one;
    long n = 1;
    if (f->info->buf)
        one = (struct iovec){.iov_base = (void *)f->a[f->info->buf - 1], .iov_len = (size_t)f->a[f->info->size - 1]};
    else {
        iov = (struct iovec *)f->a[f->info->iov - 1];
        n = f->a[f->info->iovcnt - 1];
    }
    uint64_t bytes = fl_call_size(f);
    if (bytes && f->info->family == FL_FAM_WRITE)
        return corrupt_write(f, choice, iov, n, bytes);
    long result = fl_invoke(f);
    f->injected = result > 0 ? FL_INJECTED : FL_LEFT_ALONE;
    if (result > 0)
        corrupt_pieces(iov, n, (uint64_t)result, choice);
    return result;
}
