"""The flags that `flags=` may name, by the operations that take them. Linux values, as the shim sees them.

A set of required and forbidden flags becomes a mask and a value: a call matches when `flags & mask == value`.
"""

from __future__ import annotations

from faultlib.inject.ops import Operation

# Names of one field rather than of a bit: (mask of the field, value).
_ACCESS_MODES = {"O_RDONLY": (3, 0), "O_WRONLY": (3, 1), "O_RDWR": (3, 2)}
_SEEKS = ("SEEK_SET", "SEEK_CUR", "SEEK_END", "SEEK_DATA", "SEEK_HOLE")
_WHENCE = {name: (0xFF, value) for value, name in enumerate(_SEEKS)}
_SHARING = {"MAP_SHARED": (0xF, 1), "MAP_PRIVATE": (0xF, 2), "MAP_SHARED_VALIDATE": (0xF, 3)}


def _bits(**flags: int) -> dict[str, tuple[int, int]]:
    return {name: (bits, bits) for name, bits in flags.items()}


_NOFOLLOW = _bits(AT_SYMLINK_NOFOLLOW=0x100, AT_EMPTY_PATH=0x1000)
_OPEN = _ACCESS_MODES | _bits(
    O_CREAT=0o100, O_EXCL=0o200, O_NOCTTY=0o400, O_TRUNC=0o1000, O_APPEND=0o2000, O_NONBLOCK=0o4000, O_DSYNC=0o10000,
    O_DIRECT=0o40000, O_DIRECTORY=0o200000, O_NOFOLLOW=0o400000, O_NOATIME=0o1000000, O_CLOEXEC=0o2000000,
    O_SYNC=0o4010000, O_PATH=0o10000000, O_TMPFILE=0o20200000,
)  # fmt: skip
_LOCK = _bits(LOCK_SH=1, LOCK_EX=2, LOCK_NB=4, LOCK_UN=8)
_ONE_OF = {"LOCK_SH", "LOCK_EX", "LOCK_UN"}
_RWF = _bits(RWF_HIPRI=1, RWF_DSYNC=2, RWF_SYNC=4, RWF_NOWAIT=8, RWF_APPEND=16)
_VOCABULARY: dict[str, dict[str, tuple[int, int]]] = {
    "open": _OPEN,
    "openat": _OPEN,
    "flock": _LOCK,
    "fcntl": _LOCK,
    "lockf": _LOCK,
    "preadv2": _RWF,
    "pwritev2": _RWF,
    "lseek": _WHENCE,
    "mmap": _SHARING
    | _bits(MAP_FIXED=0x10, MAP_ANONYMOUS=0x20, MAP_LOCKED=0x2000, MAP_POPULATE=0x8000, MAP_SYNC=0x80000),
    "msync": _bits(MS_ASYNC=1, MS_INVALIDATE=2, MS_SYNC=4),
    "sync_file_range": _bits(
        SYNC_FILE_RANGE_WAIT_BEFORE=1, SYNC_FILE_RANGE_WRITE=2, SYNC_FILE_RANGE_WAIT_AFTER=4
    ),
    "fallocate": _bits(
        FALLOC_FL_KEEP_SIZE=1, FALLOC_FL_PUNCH_HOLE=2, FALLOC_FL_COLLAPSE_RANGE=8, FALLOC_FL_ZERO_RANGE=16,
        FALLOC_FL_INSERT_RANGE=32, FALLOC_FL_UNSHARE_RANGE=64,
    ),
    "renameat2": _bits(RENAME_NOREPLACE=1, RENAME_EXCHANGE=2, RENAME_WHITEOUT=4),
    "linkat": _bits(AT_SYMLINK_FOLLOW=0x400, AT_EMPTY_PATH=0x1000),
    "fstatat": _NOFOLLOW | _bits(AT_NO_AUTOMOUNT=0x800),
    "statx": _NOFOLLOW | _bits(AT_NO_AUTOMOUNT=0x800),
    "fchownat": _NOFOLLOW,
    "utimensat": _NOFOLLOW,
    "execveat": _NOFOLLOW,
}  # fmt: skip


def vocabulary(op: Operation) -> dict[str, tuple[int, int]]:
    """Returns the flags that `op` takes: name to (mask, value). Empty for an operation without flags."""
    return _VOCABULARY.get(op.name, {}) if op.has_flags else {}


def is_field(op: Operation, name: str) -> bool:
    """Whether `name` is one value of a field (an access mode), which cannot be forbidden by a mask."""
    mask, value = vocabulary(op)[name]
    return mask != value


def number(text: str) -> int | None:
    """Returns flags given as a number (decimal, 0x or 0o), or None if it is none. 0 to 2^32 - 1: an argument has no more."""
    try:
        value = int(text, 0)
    except ValueError:
        return None
    return value if 0 <= value < 1 << 32 else None


def mask_and_value(op: Operation, flags: tuple[str, ...]) -> tuple[int, int] | None:
    """Returns what `flags & mask` must be. None if `op` has not all of them, or they contradict each other."""
    words, mask, value = vocabulary(op), 0, 0
    if len(_ONE_OF & set(flags)) > 1:
        return None
    if not op.has_flags:
        return None
    for flag in flags:
        name = flag.removeprefix("!")
        plain = number(name)
        if plain is None and name not in words:
            return None
        this_mask, this_value = words[name] if plain is None else (plain, plain)
        if flag[0] == "!":
            this_value = 0
        if mask & this_mask & (value ^ this_value):
            return None
        mask |= this_mask
        value |= this_value
    return mask, value
