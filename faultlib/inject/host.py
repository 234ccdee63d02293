"""The process that owns a named session: it begins with the first member and ends when the last one has left.

Started by `client.join` as `python -m faultlib.inject.host NAME DESCRIPTOR PID [SEED]`; DESCRIPTOR is the first member's
connection, PID its process. It is a process of its own, as any member may end, or be killed, before the others.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading

from faultlib.errors import FaultlibError, NameTaken
from faultlib.inject.server import Server, describe
from faultlib.inject.session import Session


class HostedSession(Session):
    """A session with a first member from the beginning; `over` is set when the last one has left."""

    def __init__(self, name: str, seed: int | None, first: socket.socket, pid: int) -> None:
        self.over = threading.Event()
        self._first = first, pid
        super().__init__(name=name, seed=seed)

    def _waits_for_knock(self) -> bool:
        return False

    def _make_server(self) -> Server:
        server = Server(self, self._listener, self._stop_serving, self.over.set)
        server.adopt(*self._first)
        return server


def main(arguments: list[str]) -> int:
    """Owns the session until it is over. What goes wrong is told to the first member."""
    name, descriptor, pid, *seed = arguments
    first = socket.socket(fileno=int(descriptor))
    first.set_inheritable(False)
    try:
        session = HostedSession(name, int(seed[0]) if seed else None, first, int(pid))
    except NameTaken:  # somebody was faster: the member finds that session when it looks again
        return 0
    except FaultlibError as error:
        first.sendall(json.dumps(describe(error)).encode() + b"\n")
        return error.exit_code
    with session:
        os.chdir("/")
        session.over.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
