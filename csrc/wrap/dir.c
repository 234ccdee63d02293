/* Directory streams: the stream's descriptor is passed as sixth argument, where the table expects it. From any context. */
#include <dirent.h>
#include "wrap.h"

#define READDIR(symbol, type)                                             \
    FL_EXPORT type *symbol(DIR *dir);                                     \
    FL_EXPORT type *symbol(DIR *dir)                                      \
    {                                                                     \
        if (FL_IDLE(READDIR))                                             \
            return FL_REAL(symbol, type *, DIR *)(dir);                   \
        return (type *)FL_CALL(symbol, READDIR, (long)dir, 0, 0, 0, 0, dirfd(dir)); \
    }                                                                     \
    FL_HIDDEN_TWIN(symbol)
READDIR(readdir, struct dirent)
READDIR(readdir64, struct dirent64)

#define READDIR_R(symbol, type)                                           \
    FL_EXPORT int symbol(DIR *dir, type *entry, type **result);           \
    FL_EXPORT int symbol(DIR *dir, type *entry, type **result)            \
    {                                                                     \
        if (FL_IDLE(READDIR_R))                                           \
            return FL_REAL(symbol, int, DIR *, type *, type **)(dir, entry, result); \
        return (int)FL_CALL(symbol, READDIR_R, (long)dir, (long)entry, (long)result, 0, 0, dirfd(dir)); \
    }
READDIR_R(readdir_r, struct dirent)
READDIR_R(readdir64_r, struct dirent64)
