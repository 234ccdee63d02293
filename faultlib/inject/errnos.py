"""Which errno which operation can really return: one table, each row with its source.

A row holds what the ERRORS section of the named manual page (Linux man-pages 6.03) lists, including by reference, and,
behind `+`, what the kernel returns beyond the page: EIO, wherever a disk file system reads or changes metadata; EROFS,
for a write after the file system went read-only under it; ENOSPC and EDQUOT, wherever blocks are allocated; ENOMEM,
wherever memory is; ENOSYS, before the kernel that brought a call and under sandboxes.
Network and user-space file systems can return anything: `error!=E` overrides the table for them.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from faultlib.inject.frozen import Frozen
from faultlib.inject.ops import ALL_OPERATIONS, Operation

_OPEN = """EACCES EBUSY EDQUOT EEXIST EFAULT EFBIG EINTR EINVAL EISDIR ELOOP EMFILE ENAMETOOLONG ENFILE ENODEV ENOENT
    ENOMEM ENOSPC ENOTDIR ENXIO EOPNOTSUPP EOVERFLOW EPERM EROFS ETXTBSY EAGAIN + EIO"""
_READ = "EAGAIN EBADF EFAULT EINTR EINVAL EIO EISDIR + ENOMEM"
_WRITE = "EAGAIN EBADF EDESTADDRREQ EDQUOT EFAULT EFBIG EINTR EINVAL EIO ENOSPC EPERM EPIPE + ENOMEM EROFS"
_COPY = """EBADF EFBIG EINVAL EIO EISDIR ENOMEM ENOSPC EOPNOTSUPP EOVERFLOW EPERM ETXTBSY EXDEV
    + EDQUOT EINTR ENOSYS EROFS"""
_SENDFILE = "EAGAIN EBADF EFAULT EINVAL EIO ENOMEM EOVERFLOW ESPIPE + EDQUOT EFBIG EINTR ENOSPC EPIPE EROFS"
_SPLICE = "EAGAIN EBADF EINVAL ENOMEM ESPIPE + EDQUOT EFBIG EINTR EIO ENOSPC EPIPE EROFS"
_CLONE = "EBADF EINVAL EISDIR EOPNOTSUPP EPERM ETXTBSY EXDEV + EDQUOT EIO ENOSPC ENOTTY EROFS"
_TRUNCATE = "EFBIG EINTR EINVAL EIO EISDIR EPERM EROFS ETXTBSY + EDQUOT ENOMEM ENOSPC"
_FALLOCATE = "EBADF EFBIG EINTR EINVAL EIO ENODEV ENOSPC ENOSYS EOPNOTSUPP EPERM ESPIPE ETXTBSY + EDQUOT"
_NAME = "EACCES EFAULT ELOOP ENAMETOOLONG ENOENT ENOTDIR"
_RENAME = f"""{_NAME} EBUSY EDQUOT EEXIST EINVAL EISDIR EMLINK ENOMEM ENOSPC ENOTEMPTY EPERM EROFS EXDEV + EIO"""
_UNLINK = f"{_NAME} EBUSY EIO EISDIR ENOMEM EPERM EROFS"
_RMDIR = f"{_NAME} EBUSY EEXIST EINVAL ENOMEM ENOTEMPTY EPERM EROFS + EIO"
_LINK = f"{_NAME} EDQUOT EEXIST EIO EMLINK ENOMEM ENOSPC EPERM EROFS EXDEV"
_SYMLINK = f"{_NAME} EDQUOT EEXIST EIO ENOMEM ENOSPC EPERM EROFS"
_MKDIR = f"{_NAME} EDQUOT EEXIST EINVAL EMLINK ENOMEM ENOSPC EPERM EROFS + EIO"
_STAT = f"{_NAME} ENOMEM EOVERFLOW + EIO"
_ACCESS = f"{_NAME} EINVAL EIO ENOMEM EPERM EROFS ETXTBSY"
_CHANGE = f"{_NAME} EIO ENOMEM EPERM EROFS + EDQUOT ENOSPC"
_CHANGE_FD = "EBADF EIO ENOMEM EPERM EROFS + EDQUOT ENOSPC"
_SETXATTR = "EDQUOT EEXIST ENODATA ENOSPC EOPNOTSUPP EPERM ERANGE E2BIG EFAULT EIO EROFS ENOMEM"
_GETXATTR = "E2BIG ENODATA EOPNOTSUPP ERANGE EFAULT EIO ENOMEM EPERM"
_LISTXATTR = "E2BIG EOPNOTSUPP ERANGE EFAULT EIO ENOMEM"
_REMOVEXATTR = "ENODATA EOPNOTSUPP EFAULT EIO ENOSPC EDQUOT EPERM EROFS ENOMEM"
_EXEC = """E2BIG EACCES EAGAIN EFAULT EINVAL EIO EISDIR ELIBBAD ELOOP EMFILE ENAMETOOLONG ENFILE ENOENT ENOEXEC ENOMEM
    ENOTDIR EPERM ETXTBSY"""
_FORK = "EAGAIN ENOMEM ENOSYS"

# operation: (manual page, errnos). One row serves all operations of a name.
_TABLE: dict[str, tuple[str, str]] = {
    "open": ("open(2)", _OPEN),
    "openat": ("open(2)", f"EBADF {_OPEN}"),
    "creat": ("open(2)", _OPEN),
    "close": ("close(2)", "EBADF EDQUOT EINTR EIO ENOSPC"),
    "close_range": ("close_range(2)", "EINVAL EMFILE ENOMEM + ENOSYS"),
    "read": ("read(2)", _READ),
    "pread": ("pread(2)", f"ENXIO EOVERFLOW ESPIPE {_READ}"),
    "readv": ("readv(2)", _READ),
    "preadv": ("readv(2)", f"ENXIO EOVERFLOW ESPIPE {_READ}"),
    "preadv2": ("readv(2)", f"ENXIO EOPNOTSUPP EOVERFLOW ESPIPE {_READ} ENOSYS"),
    "write": ("write(2)", _WRITE),
    "pwrite": ("pwrite(2)", f"ENXIO EOVERFLOW ESPIPE {_WRITE}"),
    "writev": ("readv(2)", _WRITE),
    "pwritev": ("readv(2)", f"ENXIO EOVERFLOW ESPIPE {_WRITE}"),
    "pwritev2": ("readv(2)", f"ENXIO EOPNOTSUPP EOVERFLOW ESPIPE {_WRITE} ENOSYS"),
    "copy_file_range": ("copy_file_range(2)", _COPY),
    "sendfile": ("sendfile(2)", _SENDFILE),
    "splice": ("splice(2)", _SPLICE),
    "ficlone": ("ioctl_ficlone(2)", _CLONE),
    "fsync": ("fsync(2)", "EBADF EDQUOT EINTR EINVAL EIO ENOSPC EROFS"),
    "fdatasync": ("fsync(2)", "EBADF EDQUOT EINTR EINVAL EIO ENOSPC EROFS"),
    "sync": ("sync(2)", ""),
    "syncfs": ("sync(2)", "EBADF EDQUOT EIO ENOSPC"),
    "sync_file_range": ("sync_file_range(2)", "EBADF EINVAL EIO ENOMEM ENOSPC ESPIPE + ENOSYS"),
    "msync": ("msync(2)", "EBUSY EINVAL ENOMEM + EIO EINTR ENOSPC EDQUOT"),
    "truncate": ("truncate(2)", f"{_NAME} {_TRUNCATE}"),
    "ftruncate": ("truncate(2)", f"EBADF {_TRUNCATE}"),
    "fallocate": ("fallocate(2)", _FALLOCATE),
    "posix_fallocate": ("posix_fallocate(3)", "EBADF EFBIG EINTR EINVAL ENODEV ENOSPC EOPNOTSUPP ESPIPE + EDQUOT EIO"),
    "rename": ("rename(2)", _RENAME),
    "renameat": ("rename(2)", f"EBADF {_RENAME}"),
    "renameat2": ("rename(2)", f"EBADF {_RENAME} ENOSYS"),
    "unlink": ("unlink(2)", _UNLINK),
    "unlinkat": ("unlink(2)", f"EBADF EEXIST EINVAL ENOTEMPTY {_UNLINK}"),
    "remove": ("remove(3)", f"EEXIST EINVAL ENOTEMPTY {_UNLINK}"),
    "link": ("link(2)", _LINK),
    "linkat": ("link(2)", f"EBADF EINVAL {_LINK}"),
    "symlink": ("symlink(2)", _SYMLINK),
    "symlinkat": ("symlink(2)", f"EBADF {_SYMLINK}"),
    "mkdir": ("mkdir(2)", _MKDIR),
    "mkdirat": ("mkdir(2)", f"EBADF {_MKDIR}"),
    "rmdir": ("rmdir(2)", _RMDIR),
    "stat": ("stat(2)", _STAT),
    "lstat": ("stat(2)", _STAT),
    "fstat": ("stat(2)", "EBADF EFAULT ENOMEM EOVERFLOW + EIO"),
    "fstatat": ("stat(2)", f"EBADF EINVAL {_STAT}"),
    "statx": ("statx(2)", f"EBADF EINVAL {_STAT} ENOSYS"),
    "access": ("access(2)", _ACCESS),
    "faccessat": ("access(2)", f"EBADF {_ACCESS}"),
    "readlink": ("readlink(2)", f"{_NAME} EINVAL EIO ENOMEM"),
    "readlinkat": ("readlink(2)", f"EBADF {_NAME} EINVAL EIO ENOMEM"),
    "statfs": ("statfs(2)", f"{_NAME} EINTR EIO ENOMEM ENOSYS EOVERFLOW"),
    "fstatfs": ("statfs(2)", "EBADF EFAULT EINTR EIO ENOMEM ENOSYS EOVERFLOW"),
    "chmod": ("chmod(2)", _CHANGE),
    "fchmod": ("chmod(2)", _CHANGE_FD),
    "fchmodat": ("chmod(2)", f"EBADF EINVAL EOPNOTSUPP {_CHANGE}"),
    "chown": ("chown(2)", _CHANGE),
    "lchown": ("chown(2)", _CHANGE),
    "fchown": ("chown(2)", _CHANGE_FD),
    "fchownat": ("chown(2)", f"EBADF EINVAL {_CHANGE}"),
    "utimensat": ("utimensat(2)", f"EBADF EINVAL ESRCH {_CHANGE}"),
    "futimens": ("utimensat(2)", f"EACCES EINVAL {_CHANGE_FD}"),
    "utimes": ("utime(2)", f"EINVAL {_CHANGE}"),
    "setxattr": ("setxattr(2)", f"{_NAME} {_SETXATTR}"),
    "fsetxattr": ("setxattr(2)", f"EBADF {_SETXATTR}"),
    "getxattr": ("getxattr(2)", f"{_NAME} {_GETXATTR}"),
    "fgetxattr": ("getxattr(2)", f"EBADF {_GETXATTR}"),
    "listxattr": ("listxattr(2)", f"{_NAME} {_LISTXATTR}"),
    "flistxattr": ("listxattr(2)", f"EBADF {_LISTXATTR}"),
    "removexattr": ("removexattr(2)", f"{_NAME} {_REMOVEXATTR}"),
    "fremovexattr": ("removexattr(2)", f"EBADF {_REMOVEXATTR}"),
    "readdir": ("readdir(3), getdents(2)", "EBADF EFAULT EINVAL ENOENT ENOTDIR + EIO ENOMEM EINTR"),
    "readdir_r": ("readdir_r(3), getdents(2)", "EBADF ENAMETOOLONG EFAULT EINVAL ENOENT ENOTDIR + EIO ENOMEM EINTR"),
    "getdents": ("getdents(2)", "EBADF EFAULT EINVAL ENOENT ENOTDIR + EIO ENOMEM EINTR"),
    "lseek": ("lseek(2)", "EBADF EINVAL ENXIO EOVERFLOW ESPIPE + EIO"),
    "mmap": ("mmap(2)", "EACCES EAGAIN EBADF EEXIST EINVAL ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY EOPNOTSUPP"),
    "munmap": ("mmap(2)", "EINVAL ENOMEM"),
    "flock": ("flock(2)", "EBADF EINTR EINVAL ENOLCK EAGAIN"),
    "fcntl": ("fcntl(2)", "EACCES EAGAIN EBADF EDEADLK EFAULT EINTR EINVAL ENOLCK"),
    "lockf": ("lockf(3)", "EACCES EAGAIN EBADF EDEADLK EINTR EINVAL ENOLCK"),
    "clock_gettime": ("clock_gettime(2)", "EACCES EFAULT EINVAL ENODEV EOPNOTSUPP EPERM"),
    "gettimeofday": ("gettimeofday(2)", "EFAULT EINVAL EPERM"),
    "time": ("time(2)", "EFAULT EOVERFLOW"),
    "timespec_get": ("C11 7.27.2.5", ""),
    "nanosleep": ("nanosleep(2)", "EFAULT EINTR EINVAL"),
    "clock_nanosleep": ("clock_nanosleep(2)", "EFAULT EINTR EINVAL EOPNOTSUPP"),
    "sleep": ("sleep(3)", ""),
    "usleep": ("usleep(3)", "EINTR EINVAL"),
    "fork": ("fork(2)", _FORK),
    "vfork": ("vfork(2), fork(2)", _FORK),
    "clone": ("clone(2)", f"EACCES EBUSY EEXIST EINVAL ENOSPC EOPNOTSUPP EPERM EUSERS {_FORK}"),
    "posix_spawn": ("posix_spawn(3), execve(2)", f"{_FORK} {_EXEC}"),
    "pthread_create": ("pthread_create(3)", "EAGAIN EINVAL EPERM"),
    "system": ("system(3), fork(2)", f"{_FORK} ECHILD"),
    "popen": ("popen(3), fork(2), pipe(2)", f"{_FORK} EINVAL EMFILE ENFILE"),
    "execve": ("execve(2)", _EXEC),
    "execveat": ("execveat(2), execve(2)", f"EBADF {_EXEC} + ENOSYS"),
    "fexecve": ("fexecve(3), execve(2)", f"EBADF {_EXEC} ENOSYS"),
    "exit": ("exit(3)", ""),
    "_exit": ("_exit(2)", ""),
}

# Second names of a number; the first is the one that the manual pages use.
_ALIASES = ("EWOULDBLOCK", "EDEADLOCK", "ENOTSUP", "ENOATTR")
_NUMBERS: dict[str, int] = {name: getattr(errno, name) for name in dir(errno) if name[0] == "E"}
_NUMBERS["ENOATTR"] = errno.ENODATA
_NAMES: dict[int, str] = {number: name for name, number in _NUMBERS.items() if name not in _ALIASES}


class Possible(Frozen):
    """The errnos of one operation, ascending, and the manual page that says so."""

    source: str
    errnos: tuple[int, ...]


def _row(op: Operation) -> Possible:
    source, names = _TABLE.get(op.name, ("", ""))
    return Possible(source, tuple(sorted({_NUMBERS[name] for name in names.split() if name != "+"})))


_POSSIBLE: tuple[Possible, ...] = tuple(_row(op) for op in ALL_OPERATIONS)


def possible(op: Operation) -> Possible:
    """Returns what `op` can return; no errnos for one that cannot fail."""
    return _POSSIBLE[op.number]


def can_return(op: Operation, number: int) -> bool:
    """Whether `op` can really return errno `number`."""
    return number in _POSSIBLE[op.number].errnos


def name_of(number: int) -> str:
    """Returns the errno's name, or the number itself as text where it has none."""
    return _NAMES.get(number, str(number))


def names_of(numbers: Iterable[int]) -> list[str]:
    """Returns the names of these errnos, sorted."""
    return sorted(name_of(number) for number in numbers)


def number_of(name: str) -> int | None:
    """Returns the number of an errno given by name or as a decimal number, or None if there is no such errno."""
    if name.isascii() and name.isdigit():
        return int(name) if int(name) in _NAMES else None
    return _NUMBERS.get(name)


def all_errnos() -> tuple[str, ...]:
    """Every errno by name."""
    return tuple(_NUMBERS)
