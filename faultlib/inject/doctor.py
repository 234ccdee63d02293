"""What this machine and one program allow: each check says what it found, and what to do where something is in the way.

Nothing of the program is run: its file and its libraries are read, and a tiny program (`true`) is launched in its place, with
the same libc, to see the shim wake up in it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faultlib.errors import FaultlibError
from faultlib.inject import folder, target
from faultlib.inject.control import ProcessView
from faultlib.inject.session import Session
from faultlib.inject.target import Image

Verdict = Literal["ok", "note", "problem", "fatal"]
LEAST_KERNEL = (5, 9)
LEAST_GLIBC = (2, 34)
STACKS = ((3, 7), (3, 13))
"""The Pythons whose source lines can be had, both ends inclusive."""
DEADLINE_S = 20
_NAMESPACES = {"user": 0x10000000, "mount": 0x00020000, "pid": 0x20000000}
_SYSCTL = Path("/proc/sys")
_SELINUX = Path("/sys/fs/selinux/enforce")


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `fatal`: nothing can be injected; `problem`: something will not be seen; `note`: good to know."""

    name: str
    verdict: Verdict
    finding: str
    advice: str = ""


def examine(command: str | None = None) -> list[Check]:
    """Checks the machine and, if given, the program that `command` stands for. Raises CommandNotFound or NotExecutable."""
    return [*machine(), *program(_tiny() if command is None else Path(target.find(command)), command)]


def instrumentable(checks: list[Check]) -> bool:
    """Whether faults can be injected at all."""
    return all(check.verdict != "fatal" for check in checks)


# the machine


def machine() -> Iterator[Check]:
    """The checks that do not depend on the program."""
    yield kernel(platform.release())
    yield architecture(platform.machine())
    yield shim(Path(folder.SHIM))
    yield proc(folder.why_no_proc())
    yield session_folder()
    yield preload(os.environ.get("LD_PRELOAD", ""))
    yield selinux(_read(_SELINUX))
    yield yama(_read(_SYSCTL / "kernel/yama/ptrace_scope"))
    for name in _NAMESPACES:
        yield namespace(name)


def kernel(release: str) -> Check:
    """The kernel's version is new enough."""
    found = re.match(r"(\d+)\.(\d+)", release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version >= LEAST_KERNEL:
        return Check("kernel", "ok", f"Linux {release}")
    return Check("kernel", "fatal", f"Linux {release}", "faultlib needs Linux {}.{} or later".format(*LEAST_KERNEL))


def architecture(machine: str) -> Check:
    """The shim knows this machine."""
    if machine == "x86_64":
        return Check("architecture", "ok", machine)
    if machine == "aarch64":
        lack = "there is no entry patch: what glibc calls inside itself (stdio, opendir, system) is not seen"
        return Check("architecture", "problem", f"{machine}; {lack}", "inject into programs that call open and write themselves")
    return Check("architecture", "fatal", machine, "faultlib knows x86_64 and aarch64")


def shim(file: Path) -> Check:
    """The shim was built, and may be mapped as a program."""
    if not file.exists():
        return Check("shim", "fatal", f"{file} is missing", "the package was not built: pip install it again")
    if os.statvfs(file).f_flag & os.ST_NOEXEC:
        return Check("shim", "fatal", f"{file} is on a file system mounted noexec", "install faultlib somewhere else")
    return Check("shim", "ok", str(file))


def proc(why_not: str | None) -> Check:
    """Programs can reach the session's control block."""
    if why_not:
        return Check("/proc", "fatal", f"{why_not}: programs find their session there", folder.MOUNT_PROC)
    return Check("/proc", "ok", "mounted")


def session_folder() -> Check:
    """There is a place for the folders of sessions."""
    base = Path(folder.base())
    if re.search(r"[\s:]", str(base)):
        return Check("sessions", "fatal", f"{base}: LD_PRELOAD allows no space or colon", "set TMPDIR to another directory")
    if not os.access(base, os.W_OK | os.X_OK):
        return Check("sessions", "fatal", f"{base} is not writable", "mount a tmpfs on /dev/shm, or set TMPDIR")
    if "FAULTLIB_DIR" in os.environ:
        return Check("sessions", "ok", f"in {base}, as FAULTLIB_DIR says")
    if base != Path("/dev/shm"):
        advice = "programs of other users may not find the shim there: mount a tmpfs on /dev/shm"
        return Check("sessions", "note", f"in {base}, /dev/shm is missing or not writable", advice)
    noexec = ", mounted noexec (no matter: only links lie there)" if os.statvfs(base).f_flag & os.ST_NOEXEC else ""
    return Check("sessions", "ok", f"in {base}{noexec}")


def preload(value: str) -> Check:
    """Whether something else is loaded first."""
    if not value:
        return Check("LD_PRELOAD", "ok", "not set")
    advice = "calls that it does not pass on are not seen; unset it if in doubt"
    return Check("LD_PRELOAD", "note", f"{value} is kept and comes first", advice)


def selinux(enforce: str | None) -> Check:
    """Whether SELinux may forbid the entry patch."""
    if enforce is None:
        return Check("SELinux", "ok", "not there")
    if enforce == "0":
        return Check("SELinux", "ok", "permissive")
    advice = "if the entry patch is refused below: setsebool selinuxuser_execmod on, or setenforce 0 while testing"
    return Check("SELinux", "note", "enforcing: it may forbid the entry patch", advice)


def yama(scope: str | None) -> Check:
    """Said because everybody asks."""
    return Check("ptrace", "ok", f"not used, so ptrace_scope{'' if scope is None else ' = ' + scope} does not matter")


def namespace(name: str) -> Check:
    """Whether a namespace of this kind can be made, in a user namespace of its own where that is needed."""
    flag = _NAMESPACES[name]
    if _can_unshare(flag) or _can_unshare(flag | _NAMESPACES["user"]):
        return Check(f"{name} namespace", "ok", "can be made")
    advice = "`run` does not need it; it takes root, or sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone"
    return Check(f"{name} namespace", "note", "cannot be made", advice)


def _can_unshare(flags: int) -> bool:
    libc = ctypes.CDLL(None)
    child = os.fork()
    if not child:
        os._exit(libc.unshare(flags) != 0)
    return os.waitpid(child, 0)[1] == 0


# the program


def program(file: Path, command: str | None = None) -> Iterator[Check]:
    """The checks of one program. Raises CommandNotFound or NotExecutable for the interpreter of a script."""
    file = behind_env(file)
    image = target.look(command or str(file), str(file))
    by = "" if image.path == str(file) else f", run by {image.path}"
    if image.why_not:
        yield Check("program", "fatal", f"{file}{by}: {image.why_not}", _instead(image))
        return
    if image.interpreter is None and not os.access(image.path, os.R_OK):
        advice = "`run` starts it all the same, and says if the shim does not wake up in it"
        yield Check("program", "problem", f"{file}{by}: may not be read, so it is not known what it is", advice)
        return
    yield Check("program", "ok", f"{file}{by}")
    libraries, missing = loaded_libraries(image)
    if missing:
        advice = "set LD_LIBRARY_PATH as it is when the program runs, or install them"
        yield Check("libraries", "problem", f"not found: {' '.join(missing)}", advice)
    yield libc(image, libraries)
    yield from attach(image, libraries)
    yield io_uring(libraries, _read(_SYSCTL / "kernel/io_uring_disabled"))
    yield native_aio(libraries)
    yield python_stacks(image)


def behind_env(file: Path) -> Path:
    """The interpreter that a script's `#!/usr/bin/env NAME` line finds; any other file itself."""
    try:
        with file.open("rb") as stream:
            line = stream.readline(256)
    except OSError:
        return file
    words = re.sub(rb"\s-S\s", b" ", line).removeprefix(b"#!").split() if line.startswith(b"#!") else []
    if len(words) < 2 or Path(os.fsdecode(words[0])).name != "env":
        return file
    found = shutil.which(os.fsdecode(words[1]))
    return behind_env(Path(found)) if found and Path(found) != file else file


def _instead(image: Image) -> str:
    assert image.why_not
    if "#!" in image.why_not:
        return f"give it a first line such as #!/bin/sh, or run it by its interpreter: sh {image.path}"
    if "beginning" in image.why_not:
        return "it is damaged: build or install it again"
    if "static" in image.why_not:
        return "build it dynamically (Go: -linkmode=external or CGO_ENABLED=1 with net or os/user; C: without -static)"
    if "LD_PRELOAD" in image.why_not:
        return "run faultlib as its owner or as root, or test a plain copy (cp keeps neither bits nor capabilities)"
    return f"build it for {platform.machine()} against glibc"


def loaded_libraries(image: Image) -> tuple[dict[str, Path], list[str]]:
    """The libraries that the program's own loader would load, by name, and those that it does not find.

    Asked for the file behind every link: the kernel tells a loader that one, and $ORIGIN is its directory. Nothing is run.
    """
    if image.interpreter is None:
        return {}, []
    try:
        done = subprocess.run(
            [image.interpreter, Path(image.path).resolve()], capture_output=True, text=True, timeout=DEADLINE_S, check=False,
            env=os.environ | {"LD_TRACE_LOADED_OBJECTS": "1"},
        )  # fmt: skip
    except OSError:
        return {}, []
    found = {name: Path(path) for name, path in re.findall(r"^\s*(\S+) => (\S+) \(", done.stdout, re.MULTILINE)}
    return found, re.findall(r"^\s*(\S+) => not found", done.stdout, re.MULTILINE)


def libc(image: Image, libraries: dict[str, Path]) -> Check:
    """Which libc the program runs on."""
    file = libraries.get("libc.so.6")
    if not file:
        finding = f"{image.interpreter} does not say which libc it loads"
        return Check("libc", "problem", finding, f"see what it says: {image.interpreter} --list {Path(image.path).resolve()}")
    found = re.search(rb"GNU C Library .*? version (\d+)\.(\d+)", file.read_bytes())
    return libc_version((int(found[1]), int(found[2])) if found else None, file)


def libc_version(version: tuple[int, int] | None, file: Path) -> Check:
    """Whether that glibc is one of those that faultlib is for."""
    if version is None:
        return Check("libc", "problem", f"glibc of unknown version, {file}", "look whether rules fire: --require-fired")
    finding = "glibc {}.{}, {}".format(*version, file)
    if version >= LEAST_GLIBC:
        return Check("libc", "ok", finding)
    lack = "not tested, as its threads are in a library of their own; look whether rules fire: --require-fired"
    return Check("libc", "problem", "{}: older than {}.{}".format(finding, *LEAST_GLIBC), lack)


def attach(image: Image, libraries: dict[str, Path]) -> Iterator[Check]:
    """Whether the shim wakes up on that libc, and what it could patch."""
    try:
        process = probe(image, libraries)
    except (FaultlibError, OSError, subprocess.SubprocessError) as error:
        yield Check("session", "fatal", str(error), "this must work before anything else does")
        return
    if process is None:
        finding = "the shim did not wake up in `true` on this libc"
        yield Check("session", "fatal", finding, "look at its loader's messages: LD_DEBUG=files faultlib run -- true")
        return
    yield Check("session", "ok", "the shim wakes up and finds its session")
    file = libraries.get("libc.so.6")
    exported = file.read_bytes() if file else b""
    missed = [name for name in process.entries_missed if b"\0%s\0" % name.encode() in exported]  # others it does not have
    yield entry_patch(process.entries, missed)


def entry_patch(done: Sequence[str], missed: Sequence[str]) -> Check:
    """Which functions of glibc the shim took over at their beginning, for the callers within glibc."""
    if not missed:
        return Check("entry patch", "ok", " ".join(done))
    lack = "what glibc does through the missing ones inside itself (stdio, opendir, system ...) is not seen"
    if not done:
        advice = f"{lack}; SELinux or a hardened kernel may forbid it, or this glibc is not known"
        return Check("entry patch", "problem", "none", advice)
    return Check("entry patch", "problem", f"{' '.join(done)}; not {' '.join(missed)}", f"{lack}: this glibc is not known yet")


def probe(image: Image, libraries: dict[str, Path]) -> ProcessView | None:
    """Launches `true` on the program's libc. Returns its process, None if the shim did not wake up."""
    tiny = target.inspect(str(_tiny()))
    command = [str(tiny.path)]
    if image.interpreter and loaded_libraries(tiny)[0].get("libc.so.6") != libraries.get("libc.so.6"):
        places = ":".join(sorted({str(path.parent) for path in libraries.values()}))
        command = [image.interpreter, "--library-path", places, *command]
    with Session() as session:
        session.run(command, timeout=DEADLINE_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return next(iter(session.processes()), None)


def io_uring(libraries: dict[str, Path], disabled: str | None) -> Check:
    """Whether the program may do its I/O where no rule sees it."""
    if disabled == "2":
        return Check("io_uring", "ok", "the kernel has it switched off")
    if any(name.startswith("liburing") for name in libraries):
        advice = "what it does through a ring is not seen: switch it off by sysctl kernel.io_uring_disabled=2, or in the program"
        return Check("io_uring", "problem", "the program is linked with liburing", advice)
    return Check("io_uring", "ok", "the program is not linked with liburing; `run` says if it makes a ring all the same")


def native_aio(libraries: dict[str, Path]) -> Check:
    """Whether the program may do its I/O by io_submit. libaio makes its system calls itself: `run` cannot see them."""
    if any(name.startswith("libaio") for name in libraries):
        advice = "what it does by io_submit is not seen: switch it off in the program"
        return Check("native AIO", "problem", "the program is linked with libaio", advice)
    return Check("native AIO", "ok", "the program is not linked with libaio")


def python_stacks(image: Image) -> Check:
    """Whether source lines of a Python program can be had."""
    name = Path(image.path).resolve().name
    if not name.startswith(("python", "pypy")):
        return Check("Python lines", "ok", "not a Python program")
    version = python_version(Path(image.path))
    text = ".".join(map(str, version)) if version else "of unknown version"
    if version and STACKS[0] <= version <= STACKS[1] and name.startswith("python"):
        return Check("Python lines", "ok", f"CPython {text}")
    advice = "those are for CPython {}.{} to {}.{}; faults work all the same".format(*STACKS[0], *STACKS[1])
    return Check("Python lines", "note", f"{name} {text}: calls have no source lines", advice)


def python_version(file: Path) -> tuple[int, int] | None:
    """Asks an interpreter for its version, None if it does not answer."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([file, "-S", "-E", "-c", code], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.fullmatch(r"(\d+)\.(\d+)\s*", done.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _tiny() -> Path:
    return Path(shutil.which("true") or sys.executable)


def _read(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None
