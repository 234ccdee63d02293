"""A cell: a process with mounts and process numbers of its own, which ends with its maker and takes everything in it along."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from faultlib.errors import FaultlibError
from faultlib.inject import folder

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
SHM = Path("/dev/shm")
MOUNTS = ("/proc", "/dev/shm", "/dev", "/sys", "/tmp")
MNT_DETACH, PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 2, 1, 36


class CellError(FaultlibError):
    """What this machine does not let a cell do."""

    slug = "cell"


class NoRoom(FaultlibError):
    """A disk is full, or the memory that stands for one: nothing is wrong with what was being done."""

    slug = "no-room"
    exit_code = 3

    @classmethod
    def of(cls, error: OSError) -> FaultlibError:
        """Returns what an error amounts to."""
        where = f"{error.filename}: " if error.filename else ""
        kind = cls if error.errno in FULL else CellError
        return kind(f"{where}{error.strerror or error}")


FULL = (errno.ENOSPC, errno.EDQUOT)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        shown = ", ".join(repr(argument) for argument in arguments if argument is not None)
        raise CellError(f"{name}({shown}): {os.strerror(number)}")


def mount(source: str | Path, target: str | Path, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    """mount(2). Raises CellError."""
    kind_, options_ = (value.encode() if value is not None else None for value in (kind, options))
    _call("mount", os.fsencode(source), os.fsencode(target), kind_, ctypes.c_ulong(flags), options_)


def bind(source: str | Path, target: str | Path) -> None:
    """Makes one directory appear in the place of another. Raises CellError."""
    mount(source, target, flags=MS_BIND | MS_REC)


def unmount(target: str | Path) -> None:
    """Takes a mount away, whoever is still in it. Raises CellError."""
    _call("umount2", os.fsencode(target), MNT_DETACH)


def own_shm(needed: Iterable[Path]) -> None:
    """Gives a cell a /dev/shm of its own, unless it needs what is there: nobody outside takes its sessions for dead ones."""
    if not any(path.is_relative_to(SHM) for path in needed):
        mount("faultlib", SHM, "tmpfs", options="mode=1777")
        if (base := Path(folder.base())).is_relative_to(SHM):
            base.mkdir(parents=True, exist_ok=True)


def held(directory: Path) -> Path:
    """Returns a name of a directory, in a cell, under which it can be found whatever is mounted over it."""
    return Path(f"/proc/{os.getpid()}/fd/{os.open(directory, os.O_PATH)}")


_adopting = 1


def adopt() -> None:
    """Makes a process that is in no cell the parent of all orphans below it, as the first process of a cell is."""
    global _adopting
    _call("prctl", PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
    _adopting = os.getpid()


@cache
def _children(pid: int) -> int:
    return os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)


def end_strangers(kept: set[int]) -> None:
    """In a cell's first process, or one that adopts: ends all others but these. In any other process it does nothing."""
    own = os.getpid()
    if own != _adopting:
        return
    while True:
        try:
            strangers = [pid for pid in map(int, os.pread(_children(own), 4096, 0).split()) if pid not in kept]
        except FileNotFoundError:  # a kernel without it
            return
        if not strangers:
            return
        for pid in strangers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _die_with_parent(parent: int) -> None:
    _call("prctl", PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _enter() -> None:
    """Leaves the mounts and process numbers of everybody else. The next child is the first process of its world."""
    uid, gid = os.geteuid(), os.getegid()
    flags = CLONE_NEWNS | CLONE_NEWPID | (CLONE_NEWUSER if uid else 0)
    _call("unshare", flags)
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    if not _is_mount("/"):
        _step_into_own_root()
    mount("none", "/", flags=MS_REC | MS_PRIVATE)


def _is_mount(path: str) -> bool:
    """Whether it is the root of a mount. Of "/", os.path.ismount always says so."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError as error:
        raise CellError(f"/proc/self/mountinfo: {error.strerror}") from error
    return any(line.split()[4] == path for line in lines)


def _step_into_own_root() -> None:
    """Has the root directory be a mount. Where a mount can be made that nobody else sees: on one that is made private first."""
    here = Path.cwd()
    place = next((place for place in MOUNTS if _is_mount(place)), None)
    if place is None:
        raise CellError(f"the root directory is no mount, as in a chroot, and neither is any of {', '.join(MOUNTS)}")
    mount("none", place, flags=MS_PRIVATE)
    bind("/", place)
    os.chdir(place)
    os.chroot(".")
    os.chdir(here)


def why_not() -> str | None:
    """Returns why there can be no cells here: in a container, say, that forbids them. None: there can."""
    try:
        call(lambda: mount("faultlib", "/proc/sys", "tmpfs"))
    except CellError as error:
        return str(error)
    return None


def _print(error: CellError) -> None:
    print(f"faultlib: {error}", file=sys.stderr)


def start(work: Callable[[], None], *, isolated: bool = True, complain: Callable[[CellError], None] = _print) -> int:
    """Runs `work` in a new cell, in a fork of this process; returns its pid. Its status is 0 when `work` has returned.

    Whoever dies, this process or the cell's first, ends everything in it. If it is not `isolated`, it is a mere process.
    `complain` is called there if there can be no cell.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    _live(work, parent, isolated, complain)


def _live(work: Callable[[], None], parent: int, isolated: bool, complain: Callable[[CellError], None]) -> NoReturn:
    status = 125
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _die_with_parent(parent)
        if not isolated:
            work()
            os._exit(0)
        _enter()
        first = os.fork()
        if first == 0:
            _call("prctl", PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
            mount("proc", "/proc", "proc")
            work()
        else:
            _, ended = os.waitpid(first, 0)
            os._exit(os.waitstatus_to_exitcode(ended) & 0xFF)
        status = 0
    except CellError as error:
        complain(error)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def call(work: Callable[[], Any], *, isolated: bool = True) -> Any:
    """Returns what `work`, run in a new cell, returns: plain data. Raises FaultlibError as it does."""
    reader, writer = os.pipe()

    def answer(plain: dict[str, Any]) -> None:
        with os.fdopen(writer, "w") as stream:
            json.dump(plain, stream)

    def fail(error: FaultlibError) -> None:
        answer({"error": str(error), "kind": type(error).__name__, "module": type(error).__module__})

    def report() -> None:
        os.close(reader)
        try:
            result = work()
        except FaultlibError as error:
            return fail(error)
        except OSError as error:
            return fail(NoRoom.of(error))
        return answer({"result": result})

    pid = start(report, isolated=isolated, complain=fail)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    _, ended = os.waitpid(pid, 0)
    if not text:
        raise CellError(f"a cell ended with status {os.waitstatus_to_exitcode(ended)} before it had answered")
    said = json.loads(text)
    if "error" in said:
        kind = getattr(sys.modules[said["module"]], said["kind"])
        raise kind(said["error"])
    return said["result"]
