/* Text built and read without libc: numbers and pieces, one behind the other. From any context. */
#ifndef FL_APPEND_H
#define FL_APPEND_H
#include <stdint.h>

/* Both return where the text ends; there has to be room. */
static inline char *fl_append(char *out, const char *text)
{
    while (*text)
        *out++ = *text++;
    *out = '\0';
    return out;
}

static inline char *fl_append_number(char *out, uint64_t value)
{
    char digits[24];
    int n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n)
        *out++ = digits[--n];
    *out = '\0';
    return out;
}

/* Moves `at` behind the digits. */
static inline uint64_t fl_number_at(const char **at, int base)
{
    uint64_t value = 0;
    for (;; (*at)++) {
        char c = **at;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= base)
            return value;
        value = value * (uint64_t)base + (uint64_t)digit;
    }
}

#endif
