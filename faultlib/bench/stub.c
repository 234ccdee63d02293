/* Stands in for libc's `write`, `pwrite` and `fsync` and returns at once, so that what remains of a measured call is what the tool above
 * it does in user space: a real system call costs a hundred times that and hides it.
 *
 * The measured program is linked with it, so that it comes behind whatever is preloaded and before libc. Tools that ask the
 * loader for the next definition (dlsym) find this one; faultlib's shim looks in libc and, as old glibc has a part of it
 * there, in librt, so the library is built under that name.
 */
#include <sys/types.h>

ssize_t write(int fd, const void *data, size_t size)
{
    (void)fd, (void)data;
    return (ssize_t)size;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t position)
{
    (void)fd, (void)data, (void)position;
    return (ssize_t)size;
}

int fsync(int fd)
{
    (void)fd;
    return 0;
}
