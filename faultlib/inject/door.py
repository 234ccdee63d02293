"""The sockets in a session's folder. That for control before anybody has knocked: what serves it is heavy to import, and most
sessions never need it."""

from __future__ import annotations

import _socket
import os
import select

from faultlib.errors import FaultlibError
from faultlib.inject import folder

PATH_BYTES = 107
BACKLOG = 16


def open_door(place: str) -> int:
    """Listens on the control socket in a session's folder, which is for its owner only; returns the descriptor.

    Raises FaultlibError if that cannot be.
    """
    return listen(os.path.join(place, folder.SOCKET), 0o600, BACKLOG)


def listen(path: str, mode: int, backlog: int) -> int:
    """Listens on a socket at that path; returns the descriptor. Raises FaultlibError if that cannot be."""
    if len(os.fsencode(path)) > PATH_BYTES:
        raise FaultlibError(f"{path} is too long for a socket: set FAULTLIB_DIR to a shorter one")
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # before there is a file: nobody else gets in
        listener.bind(path)
        listener.listen(backlog)
        if mode != 0o600:
            os.chmod(path, mode)
    except OSError as error:
        raise FaultlibError(f"cannot listen on {path}: {error.strerror}") from error
    return listener.detach()


def wait_for_knock(listener: int, stop: int) -> bool:
    """Waits until somebody connects; false if `stop` can be read first."""
    ready, _, _ = select.select([listener, stop], [], [])
    return stop not in ready
