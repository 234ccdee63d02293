"""Runs of a command as forks of it, in cells and outside, and that nothing of them is left behind."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faultlib.explore import cell, oracle
from faultlib.explore.forkserver import ForkServer, plain_words
from faultlib.inject.forkpoint import STARTS_OTHERS, Points, quoted
from faultlib.inject.readset import Group

TIMEOUT_S = 30.0


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "out").mkdir()
    (root / "data").write_text("1")
    return root


@contextmanager
def server(tree: Path, *words: str, starts: bool = False, groups: list[Group] | None = None) -> Iterator[ForkServer]:
    points = Points((quoted(str(tree / "data")),), (), (str(tree),), starts)
    one = ForkServer(words, tree, points, tree.parent / "out", timeout_s=TIMEOUT_S, groups=groups)
    try:
        yield one
    finally:
        one.close()


def python(tree: Path, code: str) -> list[str]:
    (tree / "app.py").write_text(code)
    return [sys.executable, "app.py"]


def marked(mark: str) -> list[str]:
    """The processes whose command line has the mark."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and int(place.name) != os.getpid():
            try:
                if mark.encode() in (place / "cmdline").read_bytes():
                    found.append(place.name)
            except OSError:  # ended meanwhile
                continue
    return found


def until_gone(mark: str) -> list[str]:
    deadline = time.monotonic() + 10
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def test_two_hundred_runs_are_exact(tree: Path) -> None:
    code = (
        "import json, sys, random, atexit\natexit.register(print, 'bye')\nprint('early', flush=True)\nsys.stderr.write('err\\n')\n"
        "value = json.load(open('data'))\nprint(value, random.Random(3).random(), sep=' ')\nsys.exit(value % 3)\n"
    )
    with server(tree, *python(tree, code)) as one:
        assert one.why_not is None
        for value in range(200):
            (tree / "data").write_text(str(value))
            if value % 20 == 0:
                plain = oracle.run(python(tree, code), tree, TIMEOUT_S)
                assert one.run(TIMEOUT_S) == plain
            else:
                verdict = one.run(TIMEOUT_S)
                assert verdict is not None
                assert verdict.failed == bool(value % 3)
                assert f"\n{value} 0.2379646270918914\nbye" in verdict.text or f"{value} 0.23" in verdict.text


def test_what_does_not_look_at_the_files_says_so(tree: Path) -> None:
    with server(tree, sys.executable, "-c", "print(1)") as one:
        assert one.why_not == "it does not look at the files"


SHELLS = {
    "a program": "cat data",
    "a pipe": "cat data | cat",
    "several": "x=$(cat data); test $x -ge 0 && echo $x",
    "builtin": "read x < data; echo $x",
    "in the background": "cat data & wait",
}


@pytest.mark.parametrize("script", SHELLS.values(), ids=SHELLS)
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_stops_before_its_first_program(shell: str, script: str, tree: Path) -> None:
    for words in ([shell, "-c", script], [shell, "script"]):
        (tree / "script").write_text(f"echo early\n{script}\nexit $((x % 3))\n")
        with server(tree, *words, starts=True) as one:
            assert one.why_not is None
            for value in range(7):
                (tree / "data").write_text(f"{value}\n")
                assert one.run(TIMEOUT_S) == oracle.run(words, tree, TIMEOUT_S)


@pytest.mark.parametrize("how", ["subprocess.check_output(['cat', 'data'])", "os.system('cat data > /dev/null')"])
def test_who_lets_others_look_is_told_so(how: str, tree: Path) -> None:
    with server(tree, *python(tree, f"import os, subprocess\n{how}\n")) as one:
        assert one.why_not in STARTS_OTHERS


def test_a_file_that_may_be_open_is_read_on_from_where_it_was(tree: Path) -> None:
    (tree / "list").write_text("one\ntwo\nthree\n")
    code = "file = open('list', buffering=1)\nprint(file.readline())\nopen('data')\nprint(file.read())\n"
    with server(tree, *python(tree, code)) as one:
        assert one.why_not is None
        for _ in range(3):
            verdict = one.run(TIMEOUT_S)
            assert verdict and verdict.text.split() == ["one", "two", "three"]


LOOKS = {
    "nothing more": ("", 1),
    "a name": ("os.path.exists('other')", 3),
    "a missing name below": ("os.path.exists('other/x')", 1),
    "an open file": ("open('other')", 3),
    "a listing": ("os.listdir('.')", 5),
    "another program": ("subprocess.run(['cat', 'other'])", 3),
    "another program without an environment": ("subprocess.run(['cat', 'other'], env={})", 3),
    "a child": ("os.fork() or os._exit(os.path.exists('other'))\nos.wait()", 3),
    "below an open directory": ("os.stat('other', dir_fd=os.open('.', 0))", 7),
    "by another name": ("open('../link')", None),
    "a static program": ("subprocess.run(['../static'])", None),
}


@pytest.mark.parametrize(("code", "read"), LOOKS.values(), ids=LOOKS)
def test_what_a_run_looks_at(code: str, read: int | None, tree: Path) -> None:
    (tree / "other").write_text("1")
    (tree.parent / "link").symlink_to(tree / "other")
    subprocess.run(["cc", "-static", "-o", tree.parent / "static", "-xc", "-"], input=b"int main(void){return 0;}", check=True)
    groups = [Group((str(tree / "data"),)), Group((str(tree / "other"),)), Group((str(tree),), True)]
    lines = "".join(f"    {line}\n" for line in (code or "pass").split("\n"))
    code = "import os, subprocess\nif open('data').read() == '2':\n" + lines
    with server(tree, *python(tree, code), groups=groups) as one:
        assert one.why_not is None
        for value, expected in (("1", 1), ("2", read), ("1", 1)):
            (tree / "data").write_text(value)
            verdict = one.run(TIMEOUT_S)
            assert verdict and not verdict.failed, verdict
            assert one.read == expected


def test_what_has_threads_says_so(tree: Path) -> None:
    code = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nopen('data')\n"
    with server(tree, *python(tree, code)) as one:
        assert one.why_not == "it has threads by then"


def test_a_library_that_opens_files_under_a_lock(tree: Path) -> None:
    """SQLite has a recursive one, and takes it again before it is given back."""
    (tree / "data").unlink()
    base = sqlite3.connect(tree / "data")
    base.execute("create table t (x)")
    with server(tree, *python(tree, "import sqlite3\nprint(sqlite3.connect('data').execute('select * from t').fetchall())\n")) as one:
        assert one.why_not is None
        for value in range(3):
            base.execute("insert into t values (?)", (value,))
            base.commit()
            assert one.run(TIMEOUT_S) == oracle.Verdict(oracle.PASS, str([(x,) for x in range(value + 1)]))
    base.close()


def test_what_is_not_to_be_found_says_so(tree: Path) -> None:
    with server(tree, "./not-there") as one:
        assert one.why_not


def test_the_output_of_each_run_is_its_own(tree: Path) -> None:
    with server(tree, *python(tree, "print('head', flush=True)\nprint(open('data').read() * 10)\nraise ValueError\n")) as one:
        for text in ("long" * 500, "x", "y"):
            (tree / "data").write_text(text)
            verdict = one.run(TIMEOUT_S)
            assert verdict is not None
            assert verdict.text.startswith("status 1\nhead\n")
            assert verdict.text.endswith("ValueError")
            assert ("y" in verdict.text.splitlines()[2]) == (text == "y")


@pytest.mark.parametrize("how", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN); "])
def test_a_timeout_kills_the_run_and_its_children(tree: Path, how: str) -> None:
    mark = f"forkserver-{os.getpid()}-{len(how)}"
    code = (
        f"import subprocess, signal\n{how}open('data')\nprint('started', flush=True)\n"
        f"subprocess.run(['sh', '-c', 'sleep 100; echo {mark}'])\n"
    )
    with server(tree, *python(tree, code)) as one:
        began = time.monotonic()
        verdict = one.run(1.0)
        assert verdict is not None
        assert (verdict.what, verdict.text) == (oracle.HANG, "still running after 1 s\nstarted")
        assert time.monotonic() - began < 10
        assert not until_gone(mark)
        (tree / "app.py").write_text("")
        assert one.run(0.5) == verdict._replace(text="still running after 0.5 s\nstarted")


def test_in_a_cell_descendants_that_left_their_group_end_too(tree: Path) -> None:
    code = "import subprocess\nopen('data')\nsubprocess.Popen(['setsid', 'sleep', '100'])\n"
    words = python(tree, code)

    def work() -> list[int]:
        counts = []
        with server(tree, *words) as one:
            for _ in range(3):
                assert one.run(TIMEOUT_S) is not None
                before = len([p for p in Path("/proc").iterdir() if p.name.isdigit()])
                cell.end_strangers(one.pids)
                counts += [before, len([p for p in Path("/proc").iterdir() if p.name.isdigit()])]
        return counts

    counts = cell.call(work)
    assert counts[1::2] == [counts[1]] * 3
    assert counts[0] == counts[1] + 1


def test_a_killed_controller_leaves_nothing(tree: Path) -> None:
    mark = f"forkserver-orphan-{os.getpid()}"
    words = python(tree, f"import subprocess\nopen('data')\nsubprocess.run(['sh', '-c', 'sleep 100; echo {mark}'])\n")
    code = (
        "import sys\nfrom pathlib import Path\nfrom faultlib.explore.forkserver import ForkServer\n"
        "from faultlib.inject.forkpoint import Points\ntree = Path(sys.argv[1])\n"
        "one = ForkServer(sys.argv[3:], tree, Points((str(tree / 'data'),), (), (str(tree),)), tree.parent / 'out')\n"
        "print(one.why_not, *one.pids, flush=True)\none.run(100)\n"
    )
    controller = subprocess.Popen([sys.executable, "-c", code, tree, mark, *words], stdout=subprocess.PIPE, text=True)
    assert controller.stdout
    why, *pids = controller.stdout.readline().split()
    assert why == "None"
    deadline = time.monotonic() + 20
    while len(marked(mark)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    assert not until_gone(mark)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_server_that_is_killed_is_no_verdict(tree: Path) -> None:
    with server(tree, "cat", "data") as one:
        assert one.run(TIMEOUT_S) == oracle.Verdict(oracle.PASS, "1")
        (pid,) = one.pids - {int(one._session.block.ctl.guard_pid)} if one._session else set()
        os.kill(pid, signal.SIGKILL)
        assert one.run(TIMEOUT_S) is None


@pytest.mark.parametrize(
    ("code", "quick_is_the_same"),
    [
        ("open('left', 'w').write(open('data').read())", True),
        ("import atexit\natexit.register(lambda: open('left', 'w').write(open('data').read()))\nopen('data')", True),
        ("import threading\ndef late(): open('left', 'w').write('late')\nopen('data')\nthreading.Thread(target=late).start()", True),
        ("import sys\nf = open('left', 'w')\nf.write(open('data').read())\nsys.exit(3)", True),
        ("import sys\nopen('data')\nsys.stdout.close()\nsys.exit(4)", True),
        ("import os\nopen('data')\nos._exit(5)", True),
        ("import os\nopen('data')\nos.abort()", True),
        ("class Late:\n    def __del__(self): print('gone')\nlate = Late()\nopen('data')", False),
    ],
)
def test_a_quick_end_leaves_what_the_real_one_does(tree: Path, code: str, quick_is_the_same: bool) -> None:
    words = python(tree, code)

    def left() -> str | None:
        path = tree / "left"
        text = path.read_text() if path.exists() else None
        path.unlink(missing_ok=True)
        return text

    plain, plain_left = oracle.run(words, tree, TIMEOUT_S), left()
    with server(tree, *words) as one:
        assert one.why_not is None
        for one.quick in (False, True, False):
            verdict = one.run(TIMEOUT_S)
            assert ((verdict, left()) == (plain, plain_left)) is (quick_is_the_same or not one.quick)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cat 'a b' c", ["cat", "a b", "c"]), ("cat \"a;b\" c", ["cat", "a;b", "c"]), ("cat a | cat", None), ("X=1 cat a", None),
        ("cat *.json", None), ("test -s f", None), ("cat a && cat b", None), ("cat $HOME", None), ("cat \"$HOME\"", None), ("", None),
        ("not-there a", None), ("cat 'open", None), ("cat <a", None), ("cat -c 'x; print(1)'", ["cat", "-c", "x; print(1)"]),
        ("cat ~/x", None), ("cat a # b", None), ("exit 3", None), ("cat a\ncat b", None), ("cat a=b", ["cat", "a=b"]),
    ],
)  # fmt: skip
def test_which_commands_need_no_shell(text: str, words: list[str] | None, tmp_path: Path) -> None:
    assert plain_words(text, tmp_path) == words
