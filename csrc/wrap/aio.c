/* POSIX aio: libc carries it out in threads of its own, by functions that have to lead to us by then. From where the functions
 * themselves may be called. */
#include <aio.h>
#include "wrap.h"

#define STARTER(symbol, type)                                       \
    FL_EXPORT int symbol(type *block)                               \
    {                                                               \
        fl_patch_for_aio();                                         \
        return FL_REAL(symbol, int, type *)(block);                 \
    }
STARTER(aio_read, struct aiocb)
STARTER(aio_write, struct aiocb)
STARTER(aio_read64, struct aiocb64)
STARTER(aio_write64, struct aiocb64)

#define SYNC(symbol, type)                                          \
    FL_EXPORT int symbol(int how, type *block)                      \
    {                                                               \
        fl_patch_for_aio();                                         \
        return FL_REAL(symbol, int, int, type *)(how, block);       \
    }
SYNC(aio_fsync, struct aiocb)
SYNC(aio_fsync64, struct aiocb64)

#define LIST(symbol, type)                                                                                      \
    FL_EXPORT int symbol(int mode, type *const list[restrict], int n, struct sigevent *restrict event)          \
    {                                                                                                           \
        fl_patch_for_aio();                                                                                     \
        return FL_REAL(symbol, int, int, type *const *, int, struct sigevent *)(mode, list, n, event);          \
    }
LIST(lio_listio, struct aiocb)
LIST(lio_listio64, struct aiocb64)
