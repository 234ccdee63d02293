"""Which families of calls a command makes on the files below a directory, as the kernel sees it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

FAMILIES = {
    "open": "open openat openat2 creat",
    "read": "read pread64 readv preadv preadv2",
    "write": "write pwrite64 writev pwritev pwritev2 copy_file_range sendfile splice",
    "fsync": "fsync fdatasync sync syncfs sync_file_range msync",
    "rename": "rename renameat renameat2",
    "unlink": "unlink",
    "mkdir": "mkdir mkdirat",
    "stat": "stat lstat fstat newfstatat statx access faccessat faccessat2 readlink readlinkat",
    "readdir": "getdents64",
    "truncate": "truncate ftruncate",
    "lock": "flock",
    "close": "close",
}
FAMILY_OF = {call: family for family, calls in FAMILIES.items() for call in calls.split()}
_LOCKS = ("F_SETLK", "F_SETLKW", "F_OFD_SETLK", "F_OFD_SETLKW")
_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)$")


def family_of(call: str, arguments: str) -> str | None:
    if call == "unlinkat":
        return None if "AT_REMOVEDIR" in arguments else "unlink"
    if call == "fcntl":
        return "lock" if any(f"{lock}," in arguments for lock in _LOCKS) else None
    return FAMILY_OF.get(call)


def calls_below(folder: Path, command: list[str], env: dict[str, str], stdin: str) -> dict[str, list[str]]:
    """Runs the command under strace in `folder`; returns the calls by family that name a file below it."""
    log = folder.with_name(folder.name + ".strace")
    trace = ",".join([*FAMILY_OF, "unlinkat", "fcntl"])
    subprocess.run(
        ["strace", "-f", "-y", "-qq", "-e", "signal=none", "-e", f"trace={trace}", "-o", log, *command],
        cwd=folder, env=env, capture_output=True, timeout=300, input=stdin.encode(), check=False,
    )  # fmt: skip
    found: dict[str, list[str]] = {}
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if not match or "ENOENT" in line or f"{folder}/" not in _absolute(match[2], folder):
            continue
        family = family_of(match[1], match[2])
        if family:
            found.setdefault(family, []).append(line)
    return found


def _absolute(arguments: str, folder: Path) -> str:
    """The arguments with relative names made absolute: a quoted first name, or one after AT_FDCWD<...>."""
    if arguments.startswith('"') and not arguments.startswith('"/'):
        return f"{folder}/{arguments[1:]}"
    return re.sub(r'AT_FDCWD<([^>]*)>, "(?!/)', r'AT_FDCWD, "\1/', arguments)
