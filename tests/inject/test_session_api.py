"""What the Python interface says to those who use it wrongly: before anything happens, and in words of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import faultlib as api
from faultlib.inject import rules
from faultlib.inject.effects import Error
from faultlib.inject.grammar import parse_rule

RULE = "mkdir:error=EIO"


def test_a_single_rule_is_a_list_of_one(tmp_path: Path) -> None:
    for one in (RULE, api.rule(RULE), [RULE], (api.rule(RULE),), (text for text in [RULE])):
        with api.Session(one) as session:  # type: ignore[arg-type]  # a generator does as well
            assert session.run(["mkdir", tmp_path / "d"], capture_output=True).returncode == 1
            assert [str(row.rule) for row in session.report()] == [RULE]


@pytest.mark.parametrize("what", [[1], 5, [None], [[RULE]], {"a": 1}.items(), [b"mkdir:error=EIO"]])
def test_what_is_no_rule_is_said(what: Any) -> None:
    with pytest.raises(TypeError, match="a rule is text or a Rule, not"):
        api.Session(what)


def test_add_takes_rules_only() -> None:
    with api.Session() as session:
        for what in (None, 5, [RULE], b"x"):
            with pytest.raises(TypeError, match="a rule is text or a Rule, not"):
                session.add(what)  # type: ignore[arg-type]
        assert session.report() == []


@pytest.mark.parametrize("what", [None, True, b"x", 1.5, [1]])
def test_what_no_rule_or_clock_is_called(what: Any) -> None:
    with api.Session(RULE) as session:
        with pytest.raises(TypeError, match="a rule is taken out by its number or its name, not by"):
            session.remove(0, what)
        with pytest.raises(TypeError, match=r"what a clock does is text, as in clock\('offset', '\+1h'\), not"):
            session.clock(what)
        with pytest.raises(TypeError, match="the name of an operation is text, not"):
            rules.error(what, "EIO")
        assert len(session.report()) == 1


def test_a_rule_put_together_by_hand_is_checked() -> None:
    with api.Session() as session:
        with pytest.raises(api.RuleError, match="wriet is no operation"):
            session.add(api.Rule(names=("wriet",), effect=Error(5)))
        assert session.add(api.Rule(names=("write",), effect=Error(5))) == [0]


@pytest.mark.parametrize("seed", ["x", 1.5, True, b"1"])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(TypeError, match="a seed is a whole number, not"):
        api.Session(seed=seed)


def test_names_and_labels_are_text() -> None:
    with pytest.raises(TypeError, match="a session's name is text, not 5"):
        api.Session(name=5)  # type: ignore[arg-type]
    with api.Session() as session, pytest.raises(TypeError, match="a label is text, not b'x'"):
        session.environment(b"x")  # type: ignore[arg-type]


@pytest.mark.parametrize("label", ["a b", "a\tb", "a\n", "\x1b", "x" * 32, "é" * 16, "a\0b", "\udcff"])
def test_a_label_is_printable_and_short(label: str) -> None:
    with api.Session() as session, pytest.raises(api.UsageError, match="a label has at most 31 bytes, all of them printable"):
        session.environment(label)


@pytest.mark.parametrize("label", ["worker:1", "db/primary", "é" * 15, "x" * 31, "日本"])
def test_labels_that_can_be(label: str, tmp_path: Path) -> None:
    with api.Session(rules.error("mkdir", "EIO", proc=f"label:{label}")) as session:
        assert session.run(["mkdir", tmp_path / "d"], label=label, stderr=subprocess.DEVNULL).returncode == 1
        assert session.processes()[0].label == label


def test_who_was_just_started_finds_the_session_when_it_is_closed() -> None:
    for _ in range(40):
        with api.Session() as session:
            child = session.popen(["true"], stderr=subprocess.PIPE, text=True)
        assert child.communicate()[1] == ""  # ld.so would have something to say


def test_commands(tmp_path: Path) -> None:
    with api.Session(RULE) as session:
        for call in (session.run, session.popen):
            with pytest.raises(TypeError, match=r"a command is a list of words, as in \['true'\], or text with shell=True"):
                call("true")
            with pytest.raises(api.UsageError, match="the command is empty"):
                call([])
            with pytest.raises(api.CommandNotFound, match="'': the command was not found"):
                call([""])
            for what in (None, 5, [None], [["true"]]):
                with pytest.raises(TypeError, match="a command is a list of words, as in"):
                    call(what)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                call([5])  # type: ignore[list-item]
        assert session.run(Path("/bin/true")).returncode == 0
        assert session.run(["sh", "-c", "exit 3"]).returncode == 3
        assert session.run("mkdir d || exit 4", shell=True, cwd=tmp_path, stderr=subprocess.DEVNULL).returncode == 4
        assert session.run(["exit $1", "sh", "7"], shell=True).returncode == 7
        assert session.run(["renamed", "-c", "exit 5"], executable="/bin/sh").returncode == 5
        with pytest.raises(subprocess.CalledProcessError):
            session.run(["false"], check=True)
        assert session.report()[0].count.fired == 1


METHODS: dict[str, Callable[[api.Session], object]] = {
    "run": lambda s: s.run(["true"]), "popen": lambda s: s.popen(["true"]), "add": lambda s: s.add(RULE),
    "add nothing": lambda s: s.add(), "remove": lambda s: s.remove(0), "reset": lambda s: s.reset(),
    "clock": lambda s: s.clock("offset", "+1h"), "environment": lambda s: s.environment(), "report": lambda s: s.report(),
    "events": lambda s: s.events(), "snapshot": lambda s: s.snapshot(), "processes": lambda s: s.processes(),
    "uncovered": lambda s: s.uncovered(), "enter": lambda s: s.__enter__(),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_closed_session_says_so(method: str) -> None:
    with api.Session(RULE) as session:
        pass
    session.close()
    with pytest.raises(api.SessionGone, match="the session is closed"):
        METHODS[method](session)
    assert repr(session).endswith(", closed>")


def in_a_child(what: Callable[[], object]) -> str:
    """What comes of a call in a forked child."""
    read, write = os.pipe()
    if not (pid := os.fork()):
        try:
            said = repr(what())
        except Exception as error:  # told to the parent, whatever it is
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as stream:
        return stream.read()


@pytest.mark.parametrize("method", METHODS)
def test_a_forked_child_has_no_part_in_it(method: str, tmp_path: Path) -> None:
    with api.Session(RULE) as session:
        expected = f"FaultlibError: this session belongs to process {os.getpid()}: a forked child has no part in it"
        assert in_a_child(lambda: METHODS[method](session)) == expected
        assert in_a_child(session.close) == "None"
        assert session.run(["mkdir", tmp_path / "d"], stderr=subprocess.DEVNULL).returncode == 1
        assert len(session.events()) == 1


def test_a_child_forked_while_a_thread_holds_the_session() -> None:
    with api.Session() as session:
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with session.block.lock:
                held.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        assert in_a_child(session.reset).startswith("FaultlibError: this session belongs to")
        assert in_a_child(session.close) == "None"
        done.set()
        thread.join()


@pytest.mark.parametrize("what", [b"x", 1.5, [1]])
def test_what_no_session_is_found_by(what: Any) -> None:
    with pytest.raises(TypeError, match="a session is found by its name or by a pid, not by"):
        api.Session.attach(what)


def test_attached_sessions_too() -> None:
    with api.Session(name="mine"):
        with api.Session.attach("mine") as other:
            refused = f"FaultlibError: this session was attached by process {os.getpid()}: a forked child attaches itself"
            assert in_a_child(other.report) == refused
            with pytest.raises(TypeError, match="a rule is text or a Rule, not None"):
                other.add(None)  # type: ignore[arg-type]
            assert repr(other) == "<Attached to session mine>"
        with pytest.raises(api.SessionGone, match="it is closed here"):
            other.report()
        other.close()


def test_one_attached_session_from_many_threads() -> None:
    with api.Session(RULE, name="mine"), api.Session.attach("mine") as other:
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda: found.extend(len(other.report()) for _ in range(20))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [1] * 80


def test_rules_for_which_there_is_no_room_change_nothing() -> None:
    long = "/".join(["x" * 250] * 16)
    with api.Session() as session:
        for number in range(40):
            session.add(*[f"mkdir:error=EIO:path=/{number}/{i}/{long}" for i in range(3)])
            session.reset()
        before = len(session.report())
        with pytest.raises(api.FaultlibError, match="no room for more patterns"):
            session.add(RULE, *[f"mkdir:error=EIO:path=/last/{i}/{long}" for i in range(40)])
        assert len(session.report()) == before
        assert session.add(RULE) == [before]
        assert session.reset() == [before]


def test_a_session_shows_what_it_is() -> None:
    with api.Session(name="mine", seed=7) as session:
        assert repr(session) == f"<Session mine of process {os.getpid()}, seed 7>"
    assert repr(parse_rule(RULE)) == f"rule('{RULE}')"


def test_a_checkout_that_was_not_built_says_so(tmp_path: Path) -> None:
    package = Path(api.__file__).parent
    (tmp_path / "faultlib").mkdir()
    for file in package.glob("*.py"):
        (tmp_path / "faultlib" / file.name).write_bytes(file.read_bytes())
    for words in (["-c", "import faultlib"], ["-c", "from faultlib.inject import control"], ["-m", "faultlib", "ops"]):
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"ImportError: the C part of faultlib is missing in {tmp_path}/faultlib: ")
        assert last.endswith("or build it here: pip install -e .")
