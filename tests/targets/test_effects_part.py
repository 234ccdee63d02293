"""short and torn: the part is really done, and no more than the part."""

from __future__ import annotations

import signal
import string
import sys
from pathlib import Path

import pytest

from tests.targets.conftest import Compile, Under

ABC = string.ascii_lowercase


@pytest.mark.parametrize(
    ("rule", "calls", "said", "content"),
    [
        ("write:short=3", "write 10", "write 3", "abc"),
        ("write:short=50%", "write 10", "write 5", "abcde"),
        ("write:short=1%", "write 10", "write 1", "a"),
        ("write:short=4", "pwrite 10 2", "pwrite 4", "\0\0abcd"),
        ("write:short=5", "writev 3 3 3 .", "writev 5", "abcde"),
        ("write:short=6", "writev 3 3 3 .", "writev 6", "abcdef"),
        ("write:short=2", "writev 3 3 .", "writev 2", "ab"),
        ("write:short=5", "pwritev 1 3 3 .", "pwritev 5", "\0abcde"),
        ("write:short=3:when=2", "write 4 write 4", "write 4\nwrite 3", "abcdabc"),
        ("write:short=3:path=!*.log", "write 10", "write 3", "abc"),
    ],
)
def test_a_short_write_writes_that_much(
    rule: str, calls: str, said: str, content: str, under: Under, compiled: Compile, tmp_path: Path
) -> None:
    done = under(rule, compiled("io"), "f", "open", "create", *calls.split())
    assert done.out == f"open 0\n{said}\n"
    assert (tmp_path / "f").read_text() == content
    assert done.counts[0][1] == 1


def test_a_short_append_goes_to_the_end(under: Under, compiled: Compile, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("12345")
    done = under("write:short=2:path=f:when=1", compiled("io"), "f", "open", "append", "seek", "0", "write", "4", "write", "1")
    assert done.out == "open 0\nseek 0\nwrite 2\nwrite 1\n"
    assert (tmp_path / "f").read_text() == "12345aba"


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ("read 10 read 4", "read 3 abc\nread 3 def"),
        ("pread 10 5", "pread 3 fgh"),
        ("readv 2 2 2 .", "readv 3 abc"),
        ("preadv 4 1 9 .", "preadv 3 efg"),
    ],
)
def test_a_short_read_reads_that_much(calls: str, said: str, under: Under, compiled: Compile, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(ABC)
    done = under("read:short=3:path=f", compiled("io"), "f", "open", "rw", *calls.split())
    assert done.out == f"open 0\n{said}\n"


def test_programs_that_loop_finish_their_short_writes(under: Under, tmp_path: Path) -> None:
    code = "open('f', 'wb', buffering=0).write(b'x' * 10); open('g', 'w').write('y' * 100000)"
    done = under(["write:short=3:path=f", "write:short=50%:path=g"], sys.executable, "-c", code)
    assert done.status == 0
    assert (tmp_path / "f").read_text() == "xxx"
    assert (tmp_path / "g").read_text() == "y" * 100000
    assert done.counts[1][1] > 10


def test_cp_copes_with_short_copies(under: Under, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(ABC * 1000)
    done = under(["write:short=1K:path=g", "read:short=7:path=f:call=read"], "cp", "f", "g")
    assert done.status == 0
    assert (tmp_path / "g").read_text() == ABC * 1000
    assert done.counts[0][1] > 20


@pytest.mark.parametrize(
    ("rule", "calls", "content"),
    [
        ("write:torn=4", "write 10 write 10", "abcd"),
        ("write:torn=50%:when=2", "write 4 write 10 write 10", "abcdabcde"),
        ("write:torn=4", "pwrite 10 3", "\0\0\0abcd"),
        ("write:torn=4", "writev 3 3 .", "abcd"),
    ],
)
def test_a_torn_write_leaves_its_beginning(
    rule: str, calls: str, content: str, under: Under, compiled: Compile, tmp_path: Path
) -> None:
    done = under(rule, compiled("io"), "f", "open", "create", *calls.split())
    assert done.status == -signal.SIGKILL
    assert (tmp_path / "f").read_text() == content
    assert done.counts[0][1] == 1


def test_torn_json_of_python(under: Under, tmp_path: Path) -> None:
    code = "import json; json.dump(list(range(100)), open('tasks.json', 'w'))"
    done = under("write:torn=20:path=tasks.json", sys.executable, "-c", code)
    assert done.status == -signal.SIGKILL
    assert (tmp_path / "tasks.json").read_text() == "[0, 1, 2, 3, 4, 5, 6"


def test_torn_needs_a_larger_write(under: Under, compiled: Compile, tmp_path: Path) -> None:
    done = under("write:torn=10", compiled("io"), "f", "open", "create", "write", "10", "write", "11")
    assert done.counts == [(1, 1)]
    assert (tmp_path / "f").read_text() == ABC[:10] + ABC[:10]
