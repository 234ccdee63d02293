/* Threads get their name from the thread that creates them: its path and how many it has created. The start routine's place is
 * taken by ours, which needs a few words that outlive the creator's call: they come from a fixed pool, not from malloc. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include "wrap.h"

#define POOL 512

struct start { uint32_t taken; void *(*routine)(void *); void *argument; uint32_t number; char parent[sizeof fl_thread.path]; };
static struct start pool[POOL];

static struct start *take(void)
{
    for (int i = 0; i < POOL; i++) {
        uint32_t is_free = 0;
        if (__atomic_compare_exchange_n(&pool[i].taken, &is_free, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return &pool[i];
    }
    return NULL;
}

/* A path that grows too long is cut for display; its hash is of the whole. */
static void name_thread(const char *parent, uint32_t number)
{
    char text[sizeof fl_thread.path + 16];
    size_t n = strlen(parent), digits = 0;
    memcpy(text, parent, n);
    text[n++] = '.';
    for (uint32_t rest = number; rest; rest /= 10)
        digits++;
    for (size_t i = digits; i-- > 0; number /= 10)
        text[n + i] = (char)('0' + number % 10);
    text[n + digits] = '\0';
    fl_thread.identity = fl_hash(text);
    text[sizeof fl_thread.path - 1] = '\0';
    strcpy(fl_thread.path, text);
}

static void *begin(void *given)
{
    struct start *start = given;
    void *(*routine)(void *) = start->routine;
    void *argument = start->argument;
    name_thread(start->parent, start->number);
    __atomic_store_n(&start->taken, 0, __ATOMIC_RELEASE);
    return routine(argument);
}

FL_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*routine)(void *), void *argument)
{
    struct start *start = fl_myself() ? take() : NULL;
    if (start) {
        start->routine = routine;
        start->argument = argument;
        start->number = ++fl_thread.threads;
        strcpy(start->parent, fl_thread.path);
        routine = begin;
        argument = start;
    }
    int result;
    if (FL_IDLE(PTHREAD_CREATE))
        result = FL_REAL(pthread_create, int, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *)(thread, attr, routine, argument);
    else
        result = (int)FL_CALL(pthread_create, PTHREAD_CREATE, (long)thread, (long)attr, (long)routine, (long)argument);
    if (result && start)
        __atomic_store_n(&start->taken, 0, __ATOMIC_RELEASE);
    return result;
}
