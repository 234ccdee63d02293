"""Files whose names are too long for the kernel to tell them: rules look at the end that is known, and the summary says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from faultlib._core import lib

import faultlib as api
from faultlib.report import summary
from tests.conftest import Run

PROGRAM = """
import os, sys
name = "d" * 200
for depth in range(25):
    os.mkdir(name); os.chdir(name)
os.mkdir("last"); os.chdir("last")
def attempt(what, work):
    try: work(); print(what, "ok")
    except OSError as error: print(what, error.errno)
fd = os.open("f", os.O_RDWR | os.O_CREAT)
attempt("write", lambda: os.write(fd, b"x"))
attempt("open", lambda: os.open("../last/g", os.O_CREAT))
here = os.open(".", os.O_RDONLY)
attempt("unlink", lambda: os.unlink("f", dir_fd=here))
attempt("up", lambda: os.mkdir("../../../up"))
attempt("rename", lambda: os.rename("g", "h"))
attempt("inherited", lambda: os.write(int(sys.argv[1]), b"x") if len(sys.argv) > 1 else None)
for left in os.listdir("."): os.unlink(left)
for depth in range(26):
    os.chdir("..")
    for left in os.listdir("."): os.rmdir(left)
"""


@pytest.mark.parametrize(
    ("rule", "failing", "error"),
    [
        ("write:error=EIO:path=*/f", "write", 5), ("write:error=EIO:path=/.../f", "write", 5), ("open:error=EACCES:path=*/last/g", "open", 13),
        ("unlink:error=EACCES:path=/.../f:when=1", "unlink", 13), ("mkdir:error=EACCES:path=/.../up", "up", 13),
        ("rename:error=EXDEV:to=*/h", "rename", 18),
    ],
)  # fmt: skip
def test_the_known_end_of_a_name_is_looked_at(rule: str, failing: str, error: int, faultlib: Run, tmp_path: Path) -> None:
    done = faultlib("run", "-e", rule, "--", sys.executable, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    said = {"write": "ok", "open": "ok", "unlink": "ok", "up": "ok", "rename": "ok", "inherited": "ok"} | {failing: str(error)}
    if failing == "open":
        said["rename"] = "2"
    assert dict(line.split() for line in done.stdout.splitlines()) == said
    assert "was too long to be known whole" in done.stderr
    assert not any(tmp_path.iterdir())


def test_a_name_below_the_working_directory_does_not_match_there(faultlib: Run) -> None:
    done = faultlib("run", "-e", "write:error=EIO:path=d*", "--", sys.executable, "-c", PROGRAM)
    assert "write ok" in done.stdout
    assert "was too long to be known whole" in done.stderr and "never fired" in done.stderr


def test_a_trace_shows_the_end(faultlib: Run, tmp_path: Path) -> None:
    faultlib("trace", "--op", "write,mkdir", "--format", "jsonl", "-o", "t", "--", sys.executable, "-c", PROGRAM)
    paths = {call["path"] for call in map(json.loads, (tmp_path / "t").read_text().splitlines())}
    assert {"/.../f", "/.../up"} <= paths
    assert any(path.startswith(f"{tmp_path}/ddd") for path in paths)


def test_names_that_find_no_room_are_said(tmp_path: Path) -> None:
    with api.Session(["write:error=EIO:path=f"], cwd=tmp_path) as session:
        session.block.ctl.next_path = lib.FL_MAX_PATHS
        done = session.run(["bash", "-c", "echo x > f"], cwd=tmp_path)
        warnings = summary.collect(session, [], done.returncode).warnings
    assert done.returncode == 0
    assert any("found no room in the table" in warning for warning in warnings), warnings
