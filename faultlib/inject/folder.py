"""The session's folder: one link to the shim per launched command, whose path tells the shim its session and launch.

The folder lies in /dev/shm (or the temporary directory) under a name without spaces, readable by every user, so that a
process that changes its user can still be started. The session's owner removes it, or the guard when the owner is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat

from faultlib.errors import FaultlibError, NameTaken, UsageError
from faultlib.inject import target
from faultlib.inject.frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHIM = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "libfaultlib_preload.so")
_NAME = r"faultlib\.(\d+)\.(\d+)\.([0-9a-f]+)"
SHM = "/dev/shm"
SOCKET = "control"
LENDING = "block"
"""The socket at which the guard lends the control block (csrc/lend.h)."""
NAME = "name"
MOUNT_PROC = "mount -t proc proc /proc"
RESERVED = ("list", "add", "remove", "reset", "clock", "stats", "sessions")
"""The verbs of `faultlib ctl`, which no session can be named."""


class Place(Frozen):
    """What a folder's name says: the owner's pid, its descriptor of the control block, the session's random number."""

    path: str
    pid: int
    descriptor: int
    uid: int


def base() -> str:
    """Where sessions' folders are made: $FAULTLIB_DIR, else /dev/shm, else the temporary directory."""
    if named := os.environ.get("FAULTLIB_DIR"):
        return named if os.path.isabs(named) else os.path.join(os.getcwd(), named)
    if os.path.isdir(SHM) and os.access(SHM, os.W_OK | os.X_OK):
        return SHM
    import tempfile

    return tempfile.gettempdir()


def why_no_proc() -> str | None:
    """What is wrong with /proc, by which programs reach the session's control block; None if nothing is."""
    try:
        own = os.readlink("/proc/self")
    except OSError:
        return "/proc is not mounted"
    return None if own == str(os.getpid()) else "/proc is that of another pid namespace"


def create(descriptor: int, uid: int) -> str:
    """Makes the folder of this process' session. Raises FaultlibError if that cannot be done."""
    if why := why_no_proc():
        raise FaultlibError(f"{why}, and programs find their session there: {MOUNT_PROC}")
    sweep()
    where = base()
    folder = os.path.join(where, f"faultlib.{os.getpid()}.{descriptor}.{uid:x}")
    if any(c.isspace() or c == ":" for c in folder):
        raise FaultlibError(f"{where} cannot hold a session: LD_PRELOAD allows no space or colon; set FAULTLIB_DIR")
    try:
        os.mkdir(folder, 0o755)
        os.chmod(folder, 0o755)
    except OSError as error:
        raise FaultlibError(f"cannot make the session's folder {folder}: {error.strerror}") from error
    return folder


def link(folder: str, launch: int) -> str:
    """Makes the link of one launched command and returns it: the value for LD_PRELOAD."""
    if not os.path.exists(SHIM):
        raise FaultlibError(f"{SHIM} is missing: the package was not built")
    path = os.path.join(folder, f"{launch}.so")
    os.symlink(SHIM if _everybody_reads(SHIM) else _copy(folder), path)
    return path


def _everybody_reads(file: str) -> bool:
    if not os.stat(file).st_mode & stat.S_IROTH:
        return False
    while file != "/":
        file = os.path.dirname(file)
        if not os.stat(file).st_mode & stat.S_IXOTH:
            return False
    return True


def _copy(folder: str) -> str:
    """A shim in somebody's private directory is copied: the loader would complain in a child that changes its user."""
    copy = os.path.join(folder, "shim")
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return SHIM
    if not os.path.exists(copy):
        part = os.path.join(folder, f"shim.{os.getpid()}")
        with open(SHIM, "rb") as shim, open(part, "wb") as file:
            file.write(shim.read())
        os.chmod(part, 0o755)
        os.rename(part, copy)
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
    """Returns the name of a session. Raises UsageError for one that cannot be, TypeError for what is no text."""
    if not isinstance(name, str):
        raise TypeError(f"a session's name is text, not {name!r}")
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


def take_name(folder: str, name: str) -> None:
    """Gives a session its name, under `naming`. Raises NameTaken if another one of this user's has it."""
    user = os.getuid()
    for place in places():
        if read_name(place.path) == name and os.stat(place.path).st_uid == user and owner_lives(place):
            raise NameTaken(f"a session named {name} is running already, process {place.pid}")
    with open(os.path.join(folder, NAME), "w") as file:
        file.write(name)


def read_name(folder: str) -> str | None:
    """The name of the session in a folder, None if it has none."""
    try:
        with open(os.path.join(folder, NAME)) as file:
            return file.read()
    except OSError:
        return None


def parse(path: str) -> Place | None:
    """Reads a folder's name; None if it is not a session's."""
    import re

    found = re.fullmatch(_NAME, os.path.basename(path))
    if not found:
        return None
    return Place(path, int(found[1]), int(found[2]), int(found[3], 16))


def places() -> list[Place]:
    """The folders of sessions, those whose owner is gone included."""
    where = base()
    try:
        names = sorted(name for name in os.listdir(where) if name.startswith("faultlib."))
    except OSError:  # whoever makes a folder there says so
        names = []
    return [place for name in names if (place := parse(os.path.join(where, name)))]


def owner_lives(place: Place) -> bool:
    """Whether the process that the folder names exists and, as far as we may look, holds a control block there."""
    try:
        target = os.readlink(f"/proc/{place.pid}/fd/{place.descriptor}")
    except PermissionError:
        return True
    except OSError:
        return False
    return target.startswith("/memfd:faultlib ")


def sweep() -> None:
    """Removes the folders of sessions whose owner, guard and targets were all killed at once.

    A target that is left still needs its link: the loader would complain in each of its children.
    """
    stale = [place for place in places() if os.stat(place.path).st_uid == os.getuid() and not owner_lives(place)]
    if not stale:
        return
    environments = [text for pid in os.listdir("/proc") if pid.isdigit() and (text := _environment(pid))]
    for place in stale:
        if not any(os.fsencode(os.path.basename(place.path)) in text for text in environments):
            remove(place.path)


def _environment(pid: str) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:  # ended meanwhile, or another user's
        return b""


def remove(folder: str) -> None:
    """Removes the folder and what is in it; what is gone already is no error."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
