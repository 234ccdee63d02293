"""What libc does inside itself past the shim."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unseen:
    """`way` is that of unseen.c. `what` names the functions, `calls` what is not seen of them; `rules` would match those calls,
    `strace` is the system calls' names, and `line` is in each of them."""

    way: str
    what: str
    calls: str
    rules: str
    strace: str
    line: str
    needs_root: bool = False


UNSEEN = [
    Unseen("sem_open", "`sem_open` of a new semaphore", "the link to its name, the unlink of its temporary file", "link:delay=1ns:path=*/sem.*", "link,linkat", "faultlib-unseen"),
    Unseen("nftw", "`ftw`, `nftw`, `fts`, `glob`", "the stat of what they find", "lstat,fstatat:delay=1ns:path=d,d/*", "newfstatat,lstat", "AT_SYMLINK_NOFOLLOW"),
    Unseen("fseek", "`fseek`, `ftell` and other streams", "the lseek", "seek:delay=1ns:path=f", "lseek", ""),
    Unseen("getpwnam", "`getpwnam` and other look-ups of names", "the stat of `/etc/nsswitch.conf`", "stat:call=stat:delay=1ns:path=/etc/nsswitch.conf", "newfstatat,stat", "nsswitch"),
    Unseen("pututline", "`pututline` and other records of logins", "the lock, an fcntl", "lock:delay=1ns", "fcntl", "F_SETLK"),
    Unseen("lckpwdf", "`lckpwdf`", "the lock, an fcntl", "lock:delay=1ns", "fcntl", "F_SETLK", needs_root=True),
    Unseen("malloc", "`malloc`, stacks of threads", "mmap, munmap", "mmap:delay=1ns", "mmap", "MAP_ANONYMOUS"),
    Unseen("dlopen", "`dlopen`: the loader's own calls", "open, read, fstat, mmap, close", "open,read,mmap:delay=1ns:path=*/libutil*", "openat", "libutil"),
]  # fmt: skip
