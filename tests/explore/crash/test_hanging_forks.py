"""What hangs as a fork only: it costs little, no finding comes of it, and it is run anew from then on."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from faultlib.explore.crash import commands
from faultlib.explore.crash.explorer import Budget
from faultlib.explore.finding import Campaign
from tests.explore.crash.conftest import Explore

PROGRAM = """
import os
for text in ('mid', 'mid 2', 'last'):
    with open('f.tmp', 'w') as file:
        file.write(text)
    os.rename('f.tmp', 'f')
"""
FILES = {"f": "first"}
TELLS = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))"
HANGS = f"""import os, socket, sys, time
def hang():
    {TELLS}
    time.sleep(1000)
pid = os.getpid()
text = open('f').read() if os.path.exists('f') else ''
if os.getpid() != pid and (WHEN):
    hang()
"""
JUDGES = HANGS + "assert text in ('first', 'mid', 'mid 2', 'last'), 'torn'\n"
FUNCTION = f"""import os, socket, sys, time
def check(directory):
    text = (directory / 'f').read_text()
    if 'function_host' in sys.argv[0] and (WHEN):
        {TELLS}
        time.sleep(1000)
    assert text in ('first', 'mid', 'mid 2', 'last'), 'torn'
"""
ALWAYS, IN_BETWEEN = "True", "text not in ('first', 'last')"
WHERE_IT_FAILS = "text not in ('first', 'mid', 'mid 2', 'last')"


class Told:
    """How often some program has said that it will hang now. What is written to files around the roots is undone."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)

    def code(self, code: str, when: str) -> str:
        return code.replace("PORT", str(self._socket.getsockname()[1])).replace("WHEN", when)

    def times(self) -> int:
        count = 0
        while True:
            try:
                self._socket.recv(10)
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def hangs() -> Iterator[Told]:
    told = Told()
    yield told
    told.close()


def command(name: str) -> str:
    return f"'{sys.executable}' {name}"


def notes(found: Campaign, start: str) -> list[str]:
    return [note for note in found.not_covered if note.startswith(start)]


@pytest.mark.parametrize("when", [ALWAYS, IN_BETWEEN, WHERE_IT_FAILS])
def test_a_check(when: str, hangs: Told, campaign: Explore) -> None:
    files = {**FILES, "check.py": hangs.code(JUDGES, when)}
    found = campaign(PROGRAM, files, check=command("check.py"), profiles=("ext4",), timeout_s=3.0)
    assert [one.kind for one in found.findings] == ["rename before data"] and not found.unstable
    (note,) = notes(found, "the check is started anew")
    assert note.endswith("as a fork of one process it hangs")
    assert not notes(found, "every state was judged twice")
    assert hangs.times() in ((1,) if when == ALWAYS else (1, 2))  # one in each judge


@pytest.mark.parametrize("when", [ALWAYS, IN_BETWEEN, WHERE_IT_FAILS])
def test_a_function(when: str, hangs: Told, campaign: Explore) -> None:
    files = {**FILES, "chk.py": hangs.code(FUNCTION, when)}
    found = campaign(PROGRAM, files, check="chk:check", profiles=("ext4",), timeout_s=3.0)
    assert [one.kind for one in found.findings] == ["rename before data"] and not found.unstable
    assert not found.not_covered and hangs.times() in (1, 2)


@pytest.mark.parametrize("when", [ALWAYS, IN_BETWEEN])
def test_a_recovery(when: str, hangs: Told, campaign: Explore) -> None:
    files = {**FILES, "recover.py": hangs.code(HANGS, when)}
    found = campaign(PROGRAM, files, check="grep -Eqx 'first|mid|mid 2|last' f", recover=command("recover.py"), profiles=("ext4",), timeout_s=3.0)
    assert [one.kind for one in found.findings] == ["rename before data"] and not found.unstable
    (note,) = notes(found, "the recovery is started anew")
    assert note.endswith("as a fork of one process it hangs")
    assert not notes(found, "every state was judged twice")
    assert hangs.times() in (1, 2)


@pytest.mark.parametrize("when", [ALWAYS, IN_BETWEEN])
def test_the_command_itself(when: str, hangs: Told, campaign: Explore) -> None:
    found = campaign(hangs.code(HANGS, when) + PROGRAM, FILES, profiles=("kill",), timeout_s=3.0)
    assert not found.findings and not found.unstable and not found.failing
    (note,) = notes(found, "the command is started anew")
    assert note.endswith("as a fork of one process it hangs")
    assert hangs.times() in (1, 2)


def test_what_takes_its_time_does_not_hang(campaign: Explore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork is not given all the time that a plain run has, and loses nothing by that."""
    monkeypatch.setattr(commands, "GRACE_S", 0.05)
    code = "import time\ntext = open('f').read()\ntime.sleep(0 if text in ('first', 'last') else 1.2)\nassert text, 'empty'\n"
    found = campaign(PROGRAM, {**FILES, "check.py": code}, check=command("check.py"), profiles=("kill",))
    assert not found.findings and not found.not_covered


def test_a_fork_that_fails_and_then_hangs_is_not_unstable(hangs: Told, campaign: Explore) -> None:
    """What it has said of some states before cannot be trusted, either."""
    code = hangs.code(JUDGES, "text == 'mid 2'") + "assert text, 'empty'\nassert os.getpid() == pid or text != 'mid', 'only here'\n"
    found = campaign(PROGRAM, {**FILES, "check.py": code}, check=command("check.py"), profiles=("ext4",), timeout_s=3.0, jobs=1)
    assert [one.kind for one in found.findings] == ["rename before data"] and not found.unstable


def test_a_budget_ends_what_waits_too(campaign: Explore) -> None:
    """That a state hangs is seen in the states that wait behind it: they are not judged when the time is over."""
    where = "(directory / 'f.tmp').exists() or (directory / 'f').read_text().startswith('mid')"
    code = f"import time\ndef check(directory):\n    time.sleep(1000 * ({where}))\n"
    spec = {"check": "chk:check", "profiles": ("kill",), "timeout_s": 0.3, "jobs": 1, "budget": Budget(seconds=0.2)}
    found = campaign(PROGRAM, {**FILES, "chk.py": code}, **spec)
    assert not found.complete and found.failing == len(found.findings) == 1
