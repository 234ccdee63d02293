"""A session of another process: found by name or pid, and changed through its control socket (server.py)."""

from __future__ import annotations

import difflib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from faultlib import errors
from faultlib.errors import FaultlibError, LateChange, RuleError, SessionGone, UsageError
from faultlib.inject import folder, rules
from faultlib.inject.control import ProcessView
from faultlib.inject.directory import WorkingDirectory
from faultlib.inject.events import Event
from faultlib.inject.folder import Place
from faultlib.inject.rules import Rule
from faultlib.inject.snapshot import RuleReport, Snapshot

ANSWER_S = 60.0
"""How long a session may take for an answer; it may be stopped or swapped out."""
JOIN_S = 60.0


def raise_error(reply: dict[str, Any]) -> NoReturn:
    """Raises the error that a session answered with."""
    if reply.get("rule"):
        raise RuleError(*reply["rule"])
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, FaultlibError)]
    kind = next((one for one in classes if one.slug == reply["error"]), FaultlibError)
    raise kind(reply["message"])


class Connection:
    """Requests to one session over its socket, in turn, from any thread of the process that made it."""

    def __init__(self, stream: socket.socket, title: str) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._closed = False
        self._stream.settimeout(ANSWER_S)
        self._file = stream.makefile("rb")
        self.title = title

    @classmethod
    def to(cls, place: Place) -> Connection:
        """Connects to the session in a folder. Raises UsageError if it is another user's, SessionGone if it is gone."""
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        title = f"session {folder.read_name(place.path) or place.pid}"
        try:
            stream.connect(os.path.join(place.path, folder.SOCKET))
        except PermissionError:
            stream.close()
            raise UsageError(f"the {title} is another user's") from None
        except OSError as error:
            stream.close()
            raise SessionGone(f"the {title} does not answer: {error.strerror}") from error
        return cls(stream, title)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Sends a request and returns the reply. Raises what the session answered, or SessionGone."""
        if os.getpid() != self._owner:
            raise FaultlibError(f"this session was attached by process {self._owner}: a forked child attaches itself")
        data = json.dumps({"do": do, **request}).encode() + b"\n"
        try:
            with self._lock:
                if self._closed:
                    raise SessionGone(f"the {self.title} was let go of: it is closed here")
                self._stream.sendall(data)
                line = self._file.readline()
        except TimeoutError:
            raise SessionGone(f"the {self.title} has not answered for {ANSWER_S:.0f} seconds") from None
        except OSError:
            line = b""
        if not line:
            raise SessionGone(f"the {self.title} has ended")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise_error(reply)
        return reply

    def close(self) -> None:
        """Ends the connection; a member leaves by this."""
        self._closed = True
        self._file.close()
        self._stream.close()


class Attached:
    """A running session of another process; see `faultlib.Session.attach`. Its methods are those of Session.

        with faultlib.Session.attach("nightly") as session:
            session.add("write:error=ENOSPC:path=*.json")
            print(session.report())

    All of them raise SessionGone (a FaultlibError) once the session has ended.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._events: list[Event] = []

    def __repr__(self) -> str:
        return f"<Attached to {self._connection.title}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, *new: str | Rule) -> list[int]:
        """Makes rules live at once; returns their numbers. Relative patterns are below the session's directory.

        Raises RuleError, before anything changes, if one of them cannot be. Warns as Session.add does.
        """
        numbers, notes = self.add_noted(*new)
        LateChange.warn(notes)
        return numbers

    def add_noted(self, *new: str | Rule) -> tuple[list[int], list[str]]:
        """Makes rules live like `add`; returns their numbers, and what it would warn of."""
        reply = self._connection.ask("add", rules=[rules.text_of(rule) for rule in new])
        return list(reply["numbers"]), list(reply["notes"])

    def remove(self, *which: int | str) -> list[int]:
        """Takes rules out, by number or by `name=`; returns their numbers. Raises UsageError for one that is not live."""
        return list(self._connection.ask("remove", rules=list(which))["numbers"])

    def reset(self) -> list[int]:
        """Takes every rule out; returns their numbers."""
        return list(self._connection.ask("reset")["numbers"])

    def clock(self, verb: str, value: rules.Value = True, **keys: rules.Value) -> int:
        """Changes a clock, as Session.clock does; returns the rule's number. Warns as Session.clock does."""
        (number,), notes = self.add_noted(rules.clock(verb, value, **keys))
        LateChange.warn(notes)
        return number

    def snapshot(self, launch: int | None = None) -> Snapshot:
        """Everything the session knows at this moment; with `launch`, `attached` is of that launched command."""
        return Snapshot.from_json(self._connection.ask("snapshot", launch=launch))

    def processes(self) -> list[ProcessView]:
        """Every process that was attached at some time and whose slot was not given away."""
        return list(self.snapshot().processes)

    def report(self) -> list[RuleReport]:
        """Each rule that was ever live, with its counters and its first firing."""
        return list(self.snapshot().rules)

    def events(self) -> list[Event]:
        """The firings since the session began, oldest first."""
        settled = next((i for i, event in enumerate(self._events) if event.held), len(self._events))
        after = self._events[settled - 1].number + 1 if settled else 0
        self._events[settled:] = [Event.from_dict(event) for event in self._connection.ask("events", after=after)["events"]]
        return list(self._events)

    def close(self) -> None:
        """Lets go of the session, which goes on."""
        self._connection.close()


class Member(Attached):
    """A share in a named session: the session lives until the last member has left."""

    def __init__(self, connection: Connection, joined: dict[str, Any]) -> None:
        super().__init__(connection)
        self.link: str = joined["link"]
        self.launch: int = joined["launch"]
        self.numbers: list[int] = joined["numbers"]
        self.notes: list[str] = joined["notes"]
        self.seed: int = joined["seed"]


# finding


def _is_mine(place: Place) -> bool:
    try:
        return os.stat(place.path).st_uid == os.geteuid()
    except OSError:  # it has just ended
        return False


def _changeable() -> Iterator[Place]:
    """The sessions that this user may change: root everybody's."""
    return (place for place in folder.places() if (_is_mine(place) or os.geteuid() == 0) and folder.owner_lives(place))


def _titles(places: Sequence[Place]) -> list[str]:
    return [folder.read_name(place.path) or str(place.pid) for place in places]


def _runs_in(place: Place, pid: int) -> bool:
    """Whether a process is a target or a member of the session."""
    try:
        connection = Connection.to(place)
        try:
            hello = connection.ask("hello")
        finally:
            connection.close()
    except FaultlibError:
        return False
    return pid in hello["pids"] or pid in hello["members"]


def find(which: str | int | None) -> Place:
    """Returns the session of that name or pid (its owner's, a member's or a target's); None: the only one.

    Raises UsageError that names those there are.
    """
    places = list(_changeable())
    titles = _titles(places)
    if which is None:
        if len(places) == 1:
            return places[0]
        if not places:
            raise UsageError("no session is running")
        raise UsageError(f"several sessions are running, say which: {', '.join(titles)}")
    wanted = str(which)
    found = [place for place, title in zip(places, titles, strict=True) if wanted in (title, str(place.pid))]
    if not found and wanted.isdigit():
        found = [place for place in places if _runs_in(place, int(wanted))]
    if len(found) > 1 and not wanted.isdigit():
        found = [place for place in found if _is_mine(place)] or found
    if len(found) == 1:
        return found[0]
    if found and wanted.isdigit():
        raise UsageError(f"process {wanted} has several sessions; name them")
    if found:
        owners = ", ".join(str(place.pid) for place in found)
        raise UsageError(f"several users have a session called {wanted}; say which by its process: {owners}")
    other = [place for place in folder.places() if wanted in (folder.read_name(place.path), str(place.pid))]
    if any(folder.owner_lives(place) for place in other):
        raise UsageError(f"the session {wanted} is another user's")
    near = difflib.get_close_matches(wanted, titles, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    there = f"there are {', '.join(titles)}" if titles else "no session is running"
    raise UsageError(f"no session is called {wanted}{hint or f'; {there}'}")


def attach(which: str | int | None = None) -> Attached:
    """Attaches to a running session, see `find`. Raises UsageError, or SessionGone if it has just ended."""
    return Attached(Connection.to(find(which)))


@dataclass(frozen=True, slots=True)
class Listed:
    """One running session: `user` is the owner's uid; `snapshot` is None if it may not or does not answer."""

    name: str | None
    pid: int
    user: int
    snapshot: Snapshot | None


def sessions() -> list[Listed]:
    """Every running session on this machine."""
    found = []
    for place in folder.places():
        if not folder.owner_lives(place):
            continue
        try:
            user = os.stat(place.path).st_uid
            with Attached(Connection.to(place)) as session:
                snapshot = session.snapshot()
        except FileNotFoundError:
            continue
        except FaultlibError:
            snapshot = None
        found.append(Listed(folder.read_name(place.path), place.pid, user, snapshot))
    return found


# joining


def join(name: str, new: Sequence[Rule], *, label: str = "", seed: int | None = None) -> Member:
    """Joins this user's session of that name, starting it if there is none. Raises UsageError and RuleError.

    Never another user's, not even as root: whoever owns a session decides what is loaded into its programs.
    """
    folder.check_name(name)
    here = WorkingDirectory.current()
    request = {
        "rules": [rules.text_of(rule) for rule in new], "cwd": [here.logical, here.real], "label": label, "seed": seed
    }  # fmt: skip
    deadline = time.monotonic() + JOIN_S
    while True:
        mine = filter(_is_mine, folder.places())
        named = [place for place in mine if folder.read_name(place.path) == name and folder.owner_lives(place)]
        connection = None
        try:
            connection = Connection.to(named[0]) if named else _start_host(name, seed)
            return Member(connection, connection.ask("join", **request))
        except SessionGone:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)  # the last one has just left: the next session of that name is ours
        except BaseException:
            if connection:
                connection.close()
            raise


def _start_host(name: str, seed: int | None) -> Connection:
    """Starts the process that owns the session until its last member leaves; we are its first.

    Raises SessionGone if another one was faster.
    """
    ours, theirs = socket.socketpair()
    package = str(Path(__file__).resolve().parent.parent.parent)
    env = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [package, env.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", "faultlib.inject.host", name, str(theirs.fileno()), str(os.getpid())]
    process = subprocess.Popen(
        command if seed is None else [*command, str(seed)], env=env, pass_fds=[theirs.fileno()], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    process.returncode = 0  # it outlives us: nobody waits for it
    theirs.close()
    connection = Connection(ours, f"session {name}")
    try:
        connection.ask("hello")  # SessionGone if somebody else has just taken the name
    except BaseException:
        connection.close()
        raise
    return connection
