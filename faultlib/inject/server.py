"""The session's end of the control socket: requests from `faultlib ctl` and members are carried out here, one at a time.

One request is one line of JSON with a `do`, one reply is one line. The thread that serves is the owner's own, so the owner
stays the only one who writes to the control block. `join` makes the connection a member: closing it is its leave.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from faultlib.errors import FaultlibError, RuleError, UsageError
from faultlib.inject import folder
from faultlib.inject.directory import WorkingDirectory

if TYPE_CHECKING:
    from faultlib.inject.session import Session

REPLY_S = 5.0
"""A client that does not take its reply in that time is dropped."""
LINE_BYTES = 1 << 20
Reply = dict[str, Any]


def describe(error: FaultlibError) -> Reply:
    """An error as JSON values; `client.raise_error` makes it one again."""
    reply: Reply = {"error": error.slug, "message": str(error)}
    if isinstance(error, RuleError):
        reply["rule"] = [error.text, error.position, error.reason, error.suggestion, error.origin]
    return reply


@dataclass(slots=True)
class Connection:
    """One client. `pid` is its process, `is_member` whether it shares the session until it leaves."""

    stream: socket.socket
    pid: int
    is_member: bool = False
    received: bytearray = field(default_factory=bytearray)


class Server:
    """Serves one session on its listening socket until `stop`, an eventfd, is written to.

    `when_alone` is called when the last member has left.
    """

    def __init__(
        self, session: Session, listener: int, stop: int, when_alone: Callable[[], None] | None = None
    ) -> None:  # fmt: skip
        self._session = session
        self._stop = stop
        self._when_alone = when_alone
        self._members: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(fileno=listener)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(stop, selectors.EVENT_READ, None)

    def adopt(self, stream: socket.socket, pid: int) -> None:
        """Takes a connection that was not made through the socket, as a member already: nobody leaves before it does."""
        self._register(Connection(stream, pid, is_member=True))
        self._members.add(stream.fileno())

    def run(self) -> None:
        """Serves until told to stop."""
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._stop:
                    self._close()
                    return
                if key.data is None:
                    self._accept()
                else:
                    self._read(key.data)

    def _accept(self) -> None:
        if self._listener.fileno() < 0:  # closed since it was seen to be ready
            return
        stream, _ = self._listener.accept()
        pid = struct.unpack("3i", stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        self._register(Connection(stream, pid))

    def _register(self, connection: Connection) -> None:
        connection.stream.settimeout(REPLY_S)
        self._selector.register(connection.stream, selectors.EVENT_READ, connection)

    def _read(self, connection: Connection) -> None:
        if connection.stream.fileno() < 0:  # turned away while it waited for its turn
            return
        try:
            data = connection.stream.recv(1 << 16)
            connection.received += data
            while data and (end := connection.received.find(b"\n")) >= 0:
                line = bytes(connection.received[:end])
                del connection.received[: end + 1]
                connection.stream.sendall(json.dumps(self._answer(connection, line)).encode() + b"\n")
        except OSError:  # gone, or does not read what it asked for
            data = b""
        if not data or len(connection.received) > LINE_BYTES:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        number = connection.stream.fileno()
        self._selector.unregister(connection.stream)
        connection.stream.close()
        if connection.is_member:
            self._members.discard(number)
            if not self._members and self._when_alone:
                self._refuse_newcomers()
                self._when_alone()

    def _refuse_newcomers(self) -> None:
        """Whoever comes too late finds nobody, and starts a session of its own."""
        (self._session.folder / folder.NAME).unlink(missing_ok=True)
        self._selector.unregister(self._listener)
        self._listener.close()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Connection):  # let in already, but no member yet
                self._drop(key.data)

    def _close(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Connection):
                key.data.stream.close()
        self._listener.close()
        self._selector.close()

    # requests

    def _answer(self, connection: Connection, line: bytes) -> Reply:
        try:
            request = json.loads(line)
            handler = _HANDLERS[request.pop("do")]
            return handler(self, connection, **request)
        except FaultlibError as error:
            return describe(error)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return describe(UsageError(f"not a request of this version of faultlib: {error!r}"))

    def _hello(self, connection: Connection) -> Reply:
        session = self._session
        pids = [process.pid for process in session.processes() if process.alive]
        return {"name": session.name, "pid": os.getpid(), "pids": pids, "members": self._member_pids()}

    def _member_pids(self) -> list[int]:
        connections = (key.data for key in self._selector.get_map().values() if key.data)
        return [one.pid for one in connections if one.is_member]

    def _snapshot(self, connection: Connection, launch: int | None = None) -> Reply:
        return self._session.snapshot(launch, self._member_pids()).to_json()

    def _events(self, connection: Connection, after: int) -> Reply:
        events = [event for event in self._session.events() if event.number >= after]
        return {"events": [event.as_dict() for event in events]}

    def _add(self, connection: Connection, rules: list[str], cwd: list[str] | None = None) -> Reply:
        numbers, notes = self._session.add_noted(*rules, cwd=WorkingDirectory(*cwd) if cwd else None)
        return {"numbers": numbers, "notes": notes}

    def _remove(self, connection: Connection, rules: list[int | str]) -> Reply:
        return {"numbers": self._session.remove(*rules)}

    def _reset(self, connection: Connection) -> Reply:
        return {"numbers": self._session.reset()}

    def _join(self, connection: Connection, rules: list[str], cwd: list[str], label: str, seed: int | None) -> Reply:
        session = self._session
        if seed is not None and seed != session.seed:
            raise UsageError(f"the session {session.name} has the seed {session.seed}, not {seed}")
        link, launch = session.prepare_launch(label)
        numbers, notes = session.share(rules, WorkingDirectory(*cwd))
        connection.is_member = True
        self._members.add(connection.stream.fileno())
        return {"link": link, "launch": launch, "numbers": numbers, "notes": notes, "seed": session.seed}


_HANDLERS: dict[str, Callable[..., Reply]] = {
    "hello": Server._hello, "snapshot": Server._snapshot, "events": Server._events, "add": Server._add,
    "remove": Server._remove, "reset": Server._reset, "join": Server._join,
}  # fmt: skip
