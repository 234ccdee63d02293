"""Names of files, programs and rules with control characters in them: escaped on every screen, exact in JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import faultlib as api
from faultlib.inject.visible import visible, visible_lines
from tests.conftest import Run

BAD = b"a\x1b]0;title\x07\n\xff\xc2\x9b\x7f"
SHOWN = r"a\x1b]0;title\x07\n\xff\x9b\x7f"
WRITE = "import os, sys\ntry: os.write(os.open(os.fsencode(sys.argv[1]), os.O_CREAT | os.O_WRONLY), b'x')\nexcept OSError: pass"


@given(st.text())
def test_what_is_shown_is_one_line_that_obeys_nobody(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert visible(shown) == shown
    assert visible_lines(text).split("\n") == [visible(line) for line in text.split("\n")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日本 /x y", "plain é 日本 /x y"), ("a\nb", r"a\nb"), ("\x1b[31m", r"\x1b[31m"), ("\u202e", r"\u202e"),
        (os.fsdecode(b"\xff\x80"), r"\xff\x80"), ("\U000e0001", r"\U000e0001"), ("a\\b", r"a\b"),
    ],
)  # fmt: skip
def test_escapes(text: str, shown: str) -> None:
    assert visible(text) == shown


def is_clean(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_table_and_live_lines(faultlib: Run, tmp_path: Path) -> None:
    rule = "write:error=EIO:path=*/a*"
    done = faultlib("run", "-v", "-e", rule, "--json", "r.json", "--", sys.executable, "-c", WRITE, os.fsdecode(BAD))
    assert is_clean(done.stderr)
    assert done.stderr.count(SHOWN) == 2, done.stderr
    (event,) = json.loads((tmp_path / "r.json").read_text())["events"]
    assert os.fsencode(event["path"]) == os.fsencode(tmp_path) + b"/" + BAD


def test_a_rule_with_such_a_name(faultlib: Run, tmp_path: Path) -> None:
    rule = os.fsdecode(b"write:error=EIO:path=" + BAD)
    done = faultlib("run", "-e", rule, "--json", "r.json", "--", sys.executable, "-c", WRITE, os.fsdecode(BAD))
    assert is_clean(done.stderr)
    assert json.loads((tmp_path / "r.json").read_text())["rules"][0]["rule"] == rule
    assert is_clean(faultlib("explain", rule).stdout)
    assert is_clean(faultlib("explain", rule + ":p=7").stderr)


@pytest.mark.parametrize("options", [(), ("-c",), ("-o", "-")])
def test_trace(faultlib: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    done = faultlib("trace", "--path", "a*", *options, "--", sys.executable, "-c", WRITE, os.fsdecode(BAD))
    assert done.returncode == 0, done.stderr
    assert is_clean(done.stdout + done.stderr)
    assert SHOWN in done.stdout + done.stderr
    faultlib("trace", "--path", "a*", *options[: options == ("-c",)], "--format", "jsonl", "-o", "t", "--", sys.executable, "-c", WRITE, os.fsdecode(BAD))
    exact = os.fsencode(tmp_path) + b"/" + BAD
    assert {os.fsencode(json.loads(line)["path"]) for line in (tmp_path / "t").read_text().splitlines()} == {exact}


def test_a_quoted_path_is_unambiguous(faultlib: Run) -> None:
    name = 'q"\\n\n'
    done = faultlib("trace", "--op", "open", "--path", "q*", "--", sys.executable, "-c", WRITE, name)
    assert r'/q\"\\n\n"' in done.stderr


def test_ctl_and_programs(faultlib: Run, tmp_path: Path) -> None:
    script = tmp_path / "x\x1b[31m"
    script.write_text("#!/bin/sh\nread line\n")
    script.chmod(0o755)
    with api.Session([os.fsdecode(b"write:error=EIO:path=" + BAD)], name="mine") as session:
        child = session.popen([str(script)], stdin=-1)
        while not session.processes():
            assert child.poll() is None
        for words in (("list",), ("stats",)):
            shown = faultlib("ctl", "mine", *words).stdout
            assert is_clean(shown)
            assert r"\x1b" in shown
        (process,) = json.loads(faultlib("ctl", "mine", "stats", "--json").stdout)["processes"]
        assert process["comm"] == "x\x1b[31m"
        child.communicate()


def test_doctor_and_errors(faultlib: Run, tmp_path: Path) -> None:
    script = tmp_path / "x\x1b[31m"
    script.write_text("garbage")
    script.chmod(0o755)
    for words in (("doctor", "--", str(script)), ("run", "--", str(script)), ("run", "--", f"{script}/x")):
        done = faultlib(*words)
        assert is_clean(done.stdout + done.stderr)
        assert r"\x1b" in done.stdout + done.stderr
