"""The session's folder: one link to the shim per launched command, whose path tells the shim its session and launch.

The folder lies in /dev/shm (or the temporary directory) under a name without spaces, readable by every user, so that a
process that changes its user can still be started. The session's owner removes it, or the guard when the owner is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from faultlib.errors import FaultlibError, NameTaken, UsageError
from faultlib.inject import target
from faultlib.inject.frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHIM = Path(__file__).resolve().parent.parent / "libfaultlib_preload.so"
_NAME = r"faultlib\.(\d+)\.(\d+)\.([0-9a-f]+)"
SOCKET = "control"
NAME = "name"
MOUNT_PROC = "mount -t proc proc /proc"
RESERVED = ("list", "add", "remove", "reset", "clock", "stats", "sessions")
"""The verbs of `faultlib ctl`, which no session can be named."""


class Place(Frozen):
    """What a folder's name says: the owner's pid, its descriptor of the control block, the session's random number."""

    path: Path
    pid: int
    descriptor: int
    uid: int


def base() -> Path:
    """Where sessions' folders are made: $FAULTLIB_DIR, else /dev/shm, else the temporary directory."""
    if named := os.environ.get("FAULTLIB_DIR"):
        return Path(named).absolute()
    shm = Path("/dev/shm")
    if shm.is_dir() and os.access(shm, os.W_OK | os.X_OK):
        return shm
    import tempfile

    return Path(tempfile.gettempdir())


def why_no_proc() -> str | None:
    """What is wrong with /proc, by which programs reach the session's control block; None if nothing is."""
    try:
        own = Path("/proc/self").readlink()
    except OSError:
        return "/proc is not mounted"
    return None if own.name == str(os.getpid()) else "/proc is that of another pid namespace"


def create(descriptor: int, uid: int) -> Path:
    """Makes the folder of this process' session. Raises FaultlibError if that cannot be done."""
    if why := why_no_proc():
        raise FaultlibError(f"{why}, and programs find their session there: {MOUNT_PROC}")
    sweep()
    folder = base() / f"faultlib.{os.getpid()}.{descriptor}.{uid:x}"
    if any(c.isspace() or c == ":" for c in str(folder)):
        raise FaultlibError(f"{folder.parent} cannot hold a session: LD_PRELOAD allows no space or colon; set FAULTLIB_DIR")
    try:
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
    except OSError as error:
        raise FaultlibError(f"cannot make the session's folder {folder}: {error.strerror}") from error
    return folder


def link(folder: Path, launch: int) -> Path:
    """Makes the link of one launched command and returns it: the value for LD_PRELOAD."""
    if not SHIM.exists():
        raise FaultlibError(f"{SHIM} is missing: the package was not built")
    path = folder / f"{launch}.so"
    path.symlink_to(SHIM if _everybody_reads(SHIM) else _copy(folder))
    return path


def _everybody_reads(file: Path) -> bool:
    return bool(file.stat().st_mode & stat.S_IROTH) and all(parent.stat().st_mode & stat.S_IXOTH for parent in file.parents)


def _copy(folder: Path) -> Path:
    """A shim in somebody's private directory is copied: the loader would complain in a child that changes its user."""
    copy = folder / "shim"
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return SHIM
    if not copy.exists():
        part = folder / f"shim.{os.getpid()}"
        part.write_bytes(SHIM.read_bytes())
        part.chmod(0o755)
        part.rename(copy)
    return copy


def preload(link: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns an environment whose LD_PRELOAD ends in a launch's link, in place of any other session's."""
    result = dict(os.environ if env is None else env)
    runtime, ours, rest = result.get("LD_PRELOAD", "").partition(target.OURS)
    listed = rest if ours and runtime.startswith(target.RUNTIMES) else result.get("LD_PRELOAD", "")
    words = listed.replace(" ", ":").split(":")
    result["LD_PRELOAD"] = ":".join([*(word for word in words if word and "/faultlib." not in word), link])
    return result


def check_name(name: str) -> str:
    """Returns the name of a session. Raises UsageError for one that cannot be."""
    import re

    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,31}", name):
        raise UsageError(
            f"a session's name is a letter and up to 31 letters, digits, dots, dashes or underscores, not {name!r}"
        )
    if name in RESERVED:
        raise UsageError(f"a session cannot be named {name}: that is a command of faultlib ctl")
    return name


@contextlib.contextmanager
def naming() -> Iterator[None]:
    """Names are given one at a time."""
    descriptor = os.open(base(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def take_name(folder: Path, name: str) -> None:
    """Gives a session its name, under `naming`. Raises NameTaken if another one of this user's has it."""
    user = os.getuid()
    for place in places():
        if read_name(place.path) == name and place.path.stat().st_uid == user and owner_lives(place):
            raise NameTaken(f"a session named {name} is running already, process {place.pid}")
    (folder / NAME).write_text(name)


def read_name(folder: Path) -> str | None:
    """The name of the session in a folder, None if it has none."""
    try:
        return (folder / NAME).read_text()
    except OSError:
        return None


def parse(path: Path) -> Place | None:
    """Reads a folder's name; None if it is not a session's."""
    import re

    found = re.fullmatch(_NAME, path.name)
    if not found:
        return None
    return Place(path, int(found[1]), int(found[2]), int(found[3], 16))


def places() -> list[Place]:
    """The folders of sessions, those whose owner is gone included."""
    return [place for path in sorted(base().glob("faultlib.*")) if (place := parse(path))]


def owner_lives(place: Place) -> bool:
    """Whether the process that the folder names exists and, as far as we may look, holds a control block there."""
    try:
        target = str(Path(f"/proc/{place.pid}/fd/{place.descriptor}").readlink())
    except PermissionError:
        return True
    except OSError:
        return False
    return target.startswith("/memfd:faultlib ")


def sweep() -> None:
    """Removes the folders of sessions whose owner, guard and targets were all killed at once.

    A target that is left still needs its link: the loader would complain in each of its children.
    """
    stale = [place for place in places() if place.path.stat().st_uid == os.getuid() and not owner_lives(place)]
    if not stale:
        return
    environments = [text for process in Path("/proc").glob("[0-9]*") if (text := _environment(process))]
    for place in stale:
        if not any(os.fsencode(place.path.name) in text for text in environments):
            remove(place.path)


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:  # ended meanwhile, or another user's
        return b""


def remove(folder: Path) -> None:
    """Removes the folder and what is in it; what is gone already is no error."""
    with contextlib.suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            path.unlink(missing_ok=True)
        folder.rmdir()
