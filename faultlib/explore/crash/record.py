"""Runs the target once, on a copy of the roots in their place, and writes down what it does to them."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from faultlib.errors import CommandNotFound, FaultlibError, NotExecutable, NotInstrumentable, UsageError
from faultlib.explore import cell
from faultlib.explore.cell import NoRoom
from faultlib.explore.crash import recording
from faultlib.explore.crash.changes import Change
from faultlib.explore.crash.elsewhere import WHY, Elsewhere, Trespass
from faultlib.explore.crash.model import Initial
from faultlib.explore.crash.recording import LOG, OUTPUT, Op
from faultlib.explore.crash.tree import Tree, differences
from faultlib.inject import datalog, stacks, target, uncovered
from faultlib.inject.control import ProcessView
from faultlib.inject.datalog import DataLog, LogEntry
from faultlib.inject.events import Event
from faultlib.inject.session import Session

PATIENCE_S = 2.0
"""How long processes that the command leaves behind are waited for."""
MOST_BYTES, MOST_FILES = 1 << 30, 100_000
MOST_NAMES = 5000
"""So many names go on one command line: 255 bytes each at most, and 2 MiB are allowed (execve(2))."""
MOST_SAID = 3
KEEP_OUT = ".faultlib"
"""Campaigns lie there: no part of a tree."""


class Incomplete(FaultlibError):
    """The recording is not the whole truth: exploring it would tell lies."""

    slug = "incomplete"
    exit_code = 3


class Run(NamedTuple):
    """What to run, and where. `folder` is the campaign's.

    `cwd` and `roots` are those of the copies that are `elsewhere`, if namespaces are forbidden.
    """

    command: tuple[str, ...]
    cwd: Path
    roots: tuple[Path, ...]
    folder: Path
    elsewhere: Elsewhere | None = None

    @property
    def isolated(self) -> bool:
        """Whether it has mounts of its own, and runs in the place of the real files."""
        return self.elsewhere is None

    @property
    def copies(self) -> dict[Path, Path]:
        """Where each root is kept as it was before the run."""
        return recording.Roots(tuple(map(str, self.roots))).copies(self.folder)

    def moved(self, elsewhere: Elsewhere) -> Run:
        """Returns the same run on copies."""
        places = elsewhere.copies
        home = next((root for root in self.roots if self.cwd.is_relative_to(root)), None)
        cwd = places[home] / self.cwd.relative_to(home) if home else self.cwd
        return self._replace(cwd=cwd, roots=tuple(places.values()), elsewhere=elsewhere)


def check_roots(roots: Sequence[Path]) -> tuple[Path, ...]:
    """Returns the roots, absolute, none in another. Raises UsageError for what cannot be one."""
    found = list[Path]()
    for root in roots:
        if not root.exists():
            raise UsageError(f"--root {root}: there is no such directory")
        if not root.is_dir():
            raise UsageError(f"--root {root}: this is no directory")
        found.append(root.resolve())
    if Path("/") in found:
        raise UsageError("--root /: a copy is made of each root; name the directories that the program writes to")
    for root in found:
        if any(root.is_relative_to(place) for place in ("/proc", "/sys", "/dev")) and not root.is_relative_to(cell.SHM):
            raise UsageError(f"--root {root}: no disk holds what is there, and no crash changes it")
        if not os.access(root, os.R_OK | os.X_OK):
            raise UsageError(f"--root {root}: it cannot be read, and a copy is made of each root")
    return tuple(sorted({root for root in found if not any(other in root.parents for other in found)}))


def keep_first(run: Run) -> None:
    """Copies the roots, as they are before the run, into the campaign. Raises UsageError if they are too large."""
    shutil.rmtree(run.folder / "initial", ignore_errors=True)  # of a campaign that was killed before it had a recording
    for path, copy in run.copies.items():
        _measure(path)
        folder = run.folder.resolve()
        copy_tree(path, copy, folder.relative_to(path).parts if folder.is_relative_to(path) else ())


def _measure(root: Path) -> None:
    size = files = 0
    for here, directories, names in os.walk(root):
        if KEEP_OUT in directories:
            directories.remove(KEEP_OUT)
        files += len(names)
        size += sum(os.lstat(os.path.join(here, name)).st_size for name in names)  # noqa: PTH118 - many
        if size > MOST_BYTES or files > MOST_FILES:
            most = f"{MOST_BYTES >> 30} GiB or {MOST_FILES:,} files"
            raise UsageError(f"{root}: a copy is made of each root, and this has more than {most}: narrow it down with --root")


def copy_tree(source: Path, copy: Path, inside: tuple[str, ...] = ()) -> None:
    """Copies a directory with everything that belongs to its files; hard links stay links. Raises FaultlibError.

    `inside` are the names that lead to the campaign's folder, if that is in it: campaigns stay out.
    """
    copy.mkdir(parents=True)
    names = [entry.name for entry in os.scandir(source) if entry.name not in (KEEP_OUT, *inside[:1])]
    shutil.copystat(source, copy)
    for some in (names[i : i + MOST_NAMES] for i in range(0, len(names), MOST_NAMES)):
        copy_files("-t", copy.resolve(), "--", *some, cwd=source)
    if inside and inside[0] != KEEP_OUT:
        copy_tree(source / inside[0], copy / inside[0], inside[1:])


def copy_files(*words: str | Path, cwd: Path) -> None:
    """Runs cp. Raises UsageError for what cannot be read, NoRoom, FaultlibError."""
    words = ("cp", "-a", "--reflink=auto", *words)
    env = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, errors="backslashreplace")
    if done.returncode:
        kinds = {errno.ENOSPC: NoRoom, errno.EDQUOT: NoRoom, errno.EACCES: UsageError, errno.EPERM: UsageError}
        kind = next((kind for number, kind in kinds.items() if os.strerror(number) in done.stderr), FaultlibError)
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        more = [f"and {len(lines) - MOST_SAID} more"] if len(lines) > MOST_SAID else []
        hint = ["a copy is made of each root: --root narrows it down"] if kind is UsageError else []
        raise kind(f"{cwd} could not be copied:\n  " + "\n  ".join(lines[:MOST_SAID] + more + hint))


def record(run: Run, rules: Sequence[str] = (), seed: int | None = None, elsewhere: Elsewhere | None = None) -> None:
    """Runs the command in a cell, or `elsewhere`, under some rules, and saves the recording.

    Raises what a target can be refused for, and Trespass.
    """
    try:
        target.check(run.command[0], os.environ.get("PATH"), str(run.cwd))
    except (CommandNotFound, NotExecutable) as error:
        raise UsageError(str(error)) from error
    except NotInstrumentable as error:
        raise Incomplete(f"nothing that it does to files would be seen: {error}") from error
    run = run.moved(elsewhere) if elsewhere else run
    cell.call(lambda: _record(run._replace(folder=cell.held(run.folder)), rules, seed), isolated=run.isolated)


def _record(run: Run, rules: Sequence[str], seed: int | None) -> None:
    if run.isolated:
        cell.own_shm((run.cwd, *run.roots, run.folder.resolve()))
    put_in_place(run)
    os.chdir(run.cwd)
    tree = Tree.scanned(run.copies)
    initial = Initial.of(tree)
    fence = run.elsewhere.fence() if run.elsewhere else []
    os.environ.update(run.elsewhere.environment(os.environ) if run.elsewhere else {})
    session = Session([*fence, *rules], seed=seed, recording=datalog.recording(), cwd=run.cwd)
    with session, DataLog(session, folder=run.folder) as log:
        with (run.folder / OUTPUT).open("wb") as output:
            status = os.fstat(output.fileno())
            tree.output = status.st_dev, status.st_ino
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
            done = session.run(run.command, cwd=run.cwd, **streams)
        outlived = _wait_for_others(session, ends=run.isolated)
        unfired = [report.rule.text for report in session.report()[len(fence) :] if not report.count.fired]
        if run.elsewhere and (path := run.elsewhere.trespass(session.events())):
            raise Trespass(f"the command opens or looks at {path}: {WHY}")
        log.finish()
        complaints = log.complaints()
        if any(os.strerror(errno.ENOSPC) in sentence for sentence in complaints):
            raise NoRoom("there is no room in the campaign's folder for the data that the command has written")
        log.save(run.folder / LOG)
        ops, changes = _read(tree, log)
        complaints += [_told(process) for process in session.uncovered()]
        outside = [path for path in tree.outside if not _is_gone_from_tmp(path, tree.fresh)]
        complaints += tree.uncertain + differences(tree, Tree.scanned({root: root for root in run.roots}))
    head = {
        "command": run.command, "cwd": str(run.cwd), "roots": list(map(str, run.roots)), "status": done.returncode,
        "incomplete": complaints, "outside": outside, "outlived": outlived, "unfired": unfired,
        "remarks": tree.remarks,
    }  # fmt: skip
    recording.save(run.folder, head, tree, initial, changes, ops)


def _is_gone_from_tmp(path: str, fresh: set[str]) -> bool:
    """Whether a file was a temporary one: made by the run, by itself or with its directory, in such a place, and gone again."""
    places = {tempfile.gettempdir(), "/tmp", "/var/tmp"}
    is_fresh = any(str(one) in fresh for one in (Path(path), *Path(path).parents))
    return is_fresh and any(Path(path).is_relative_to(place) for place in places) and not os.path.lexists(path)


def _wait_for_others(session: Session, *, ends: bool) -> list[str]:
    """Gives processes that the command has left behind some time; returns those that do not end, and, in a cell, ends them."""
    deadline = time.monotonic() + PATIENCE_S
    while (others := [process for process in session.processes() if process.alive]) and time.monotonic() < deadline:
        time.sleep(0.01)
    for process in others if ends else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return [f"{process.comm} (process {process.lineage})" for process in others]


def _told(process: ProcessView) -> str:
    name = f"{process.exe} (process {process.lineage})" if process.exe.startswith("/") else process.comm
    return f"{name} could not be instrumented, what it did to files is not known: {uncovered.why(process)}"


def put_in_place(run: Run) -> None:
    """Makes the roots what they were before the run."""
    scratch = run.folder / "scratch"
    if run.isolated:
        scratch.mkdir(exist_ok=True)
        cell.mount("faultlib", scratch, "tmpfs")
    for number, (path, copy) in enumerate(run.copies.items()):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not run.isolated:
            shutil.rmtree(path, ignore_errors=True)  # of a recording that was killed
        own = copy.relative_to(run.folder), f"scratch/{number}" if run.isolated else path
        copy_files("-T", *own, cwd=run.folder)  # which may not look into our descriptors
        if run.isolated:
            cell.bind(scratch / str(number), path)


def _read(tree: Tree, log: DataLog) -> tuple[list[Op], list[Change]]:
    ops = list[Op]()

    def entries() -> Any:
        for entry in log.entries():
            ops.append(_op(entry))
            is_exclusive = entry.operation.family == "open" and entry.event.flags & os.O_CREAT and entry.event.flags & os.O_EXCL
            if is_exclusive or entry.operation.family == "mkdir":
                tree.fresh.add(os.fsdecode(entry.names[0]))
            for name in _changed_names(entry):
                if tree.find(name) is None and not any(name.startswith(root + b"/") for root in tree.roots):
                    tree.outside.setdefault(os.fsdecode(name), entry.operation.name)
            yield entry

    return ops, list(tree.follow(log, entries()))


def _changed_names(entry: LogEntry) -> list[bytes]:
    """The names that a call has made or removed, but those of devices, of which nothing is on disk."""
    if entry.operation.family not in ("mkdir", "rmdir", "link", "unlink", "rename"):
        return []
    first, second = entry.names
    names = (first, second) if entry.operation.family == "rename" else (second or first,)
    return [name for name in names if name.startswith(b"/") and not name.startswith((b"/dev/", b"/proc/"))]


def _op(entry: LogEntry) -> Op:
    event: Event = entry.event
    return Op(
        entry.operation.name, event.lineage, event.actor.thread, event.actor.comm,
        tuple(os.fsdecode(name) for name in entry.names if name) or ((event.path,) if event.path else ()),
        event.fd, event.size, entry.position, event.flags, event.result, event.frames, stacks.outside_library(event.frames),
        entry.status,
    )  # fmt: skip
