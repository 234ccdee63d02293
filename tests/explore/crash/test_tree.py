"""What the model says of real programs: the log, done again on the first tree, is the last tree."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from faultlib.explore.crash.changes import Ack, DirChange, Resize, Sync, Write
from faultlib.explore.crash.tree import Tree, differences
from faultlib.inject.datalog import DataLog, recording
from faultlib.inject.session import Session

COREUTILS = """
echo hello > a; echo more >> a; mv a b; mkdir d; ln -s ../b d/l; echo via >> d/l; ln b c; rm c; cp b e; truncate -s 3 e; sed -i s/h/H/ b
mkdir -p x/y; ln -s x z; echo in > z/y/f; mv x/y x/w; echo other > o; mv -T --exchange o e 2>/dev/null; ln b twin; mv twin b; rm -r d
fallocate -l 9000 long; fallocate -p -o 100 -l 5000 long 2>/dev/null; dd if=/dev/urandom of=sync bs=4k count=5 oflag=sync 2>/dev/null; sync
"""
PYTHON = """
import gzip, os, shelve, tempfile, zipfile
with shelve.open("s") as s: s["a"], s["b"] = 1, [1] * 1000
gzip.open("g.gz", "wb").write(b"x" * 100000)
with zipfile.ZipFile("z.zip", "w") as z: z.writestr("a", "b" * 1000)
os.makedirs("p/q"); os.replace("g.gz", "p/q/g"); os.symlink("p", "l"); open("l/q/h", "w").write("1")
with tempfile.NamedTemporaryFile(dir=".") as t: t.write(b"gone")
d = os.open("p", os.O_RDONLY | os.O_DIRECTORY); f = os.open("below", os.O_CREAT | os.O_WRONLY, dir_fd=d); os.write(f, b"1")
os.rename("below", "beside", src_dir_fd=d, dst_dir_fd=d)
os.chdir("p/q"); open("there", "w").write("2"); os.fsync(d); os.fsync(f)
"""
PERL = 'open F,">f"; print F "x" x 9999; close F; rename "f","g"; open F,"+<g"; seek F,100,0; print F "mid"; truncate F,5000; close F; mkdir "d"; open F,">>d/z"; print F 1'
SQLITE = "create table t(a); insert into t values(1),(2); update t set a=a+1; pragma journal_mode=wal; insert into t values(9); pragma wal_checkpoint;"
GIT = "git init -q . && echo 1 > f && git add f && git -c user.name=a -c user.email=b commit -qm one && git gc -q && git rm -q f"
PROGRAMS = {
    "bash and coreutils": ["bash", "-c", COREUTILS],
    "python": [sys.executable, "-c", PYTHON],
    "perl": ["perl", "-e", PERL],
    "sqlite3": ["sqlite3", "db", SQLITE],
    "git": ["bash", "-c", GIT],
    "tar": ["bash", "-c", "tar cf a.tar first && mkdir out && tar xf a.tar -C out && gzip a.tar && gzip -t a.tar.gz"],
    "gcc": ["bash", "-c", "echo 'int main(void) { return 0; }' > m.c && gcc -o m m.c && strip m"],
}


def traced(command: Sequence[str], root: Path, copy: Path) -> tuple[Tree, list]:
    """Runs a program in `root`; returns its tree by the model, and the changes."""
    (root / "first").mkdir(parents=True)
    (root / "first" / "old").write_text("was there before")
    (root / "first" / "link").symlink_to("old")
    shutil.copytree(root, copy, symlinks=True)
    tree = Tree.scanned({root: copy})
    with Session(recording=recording(), cwd=root, stacks=False) as session, DataLog(session) as log:
        done = session.run(command, cwd=root, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done
        log.finish()
        changes = list(tree.follow(log))
        assert log.complaints() == tree.uncertain == []
        assert differences(tree, Tree.scanned({root: root})) == []
    return tree, changes


@pytest.mark.parametrize("name", PROGRAMS)
def test_done_again_it_is_what_the_program_left(name: str, tmp_path: Path) -> None:
    _, changes = traced(PROGRAMS[name], tmp_path / "root", tmp_path / "copy")
    assert len(changes) > 5


def test_the_parts_of_a_replacement(tmp_path: Path) -> None:
    code = (
        "import os; f = open('first/new', 'w'); f.write('x'); f.flush(); os.fsync(f.fileno()); os.replace('first/new', 'first/old')\n"
        "d = os.open('first', os.O_RDONLY); os.fsync(d); print('done')"
    )
    tree, changes = traced([sys.executable, "-c", code], tmp_path / "root", tmp_path / "copy")
    kinds = [type(change).__name__ for change in changes]
    assert kinds == ["DirChange", "Write", "Sync", "DirChange", "Sync", "Close", "Ack"]
    made, synced, moved, durable = changes[0], changes[2], changes[3], changes[4]
    assert isinstance(made, DirChange) and isinstance(moved, DirChange) and isinstance(synced, Sync) and isinstance(durable, Sync)
    assert synced.node == made.made and durable.node == moved.entries[0].directory
    assert [entry.name for entry in moved.entries] == [b"new", b"old"] and moved.entries[1].after == made.made
    assert isinstance(changes[-1], Ack) and changes[-1].status == 0
    assert isinstance(changes[1], Write) and (changes[1].node, changes[1].position, changes[1].length) == (made.made, 0, 1)
    assert tree.nodes[synced.node].content.size == 1


def test_an_append_is_placed_at_the_size_that_the_file_had(tmp_path: Path) -> None:
    code = (
        "import os; f = os.open('first/old', os.O_WRONLY | os.O_APPEND); os.write(f, b'one'); os.truncate('first/old', 1); os.write(f, b'two')\n"
        "g = os.open('first/old', os.O_WRONLY); os.pwrite(g, b'beyond', 9); os.write(f, b'x' * 300000); os.write(f, b'last')"
    )
    _, changes = traced([sys.executable, "-c", code], tmp_path / "root", tmp_path / "copy")
    places = [(change.position, change.length) for change in changes if isinstance(change, Write)]
    whole = [(place, length) for place, length in places if length < 10000]
    assert whole == [(len("was there before"), 3), (1, 3), (9, 6), (300015, 4)]
    pieces = [one for one in places if one not in whole]
    assert [place for place, _ in pieces] == [15, *(place + length for place, length in pieces[:-1])]
    assert sum(pieces[-1]) == 300015


def test_a_sync_of_a_part_of_a_mapping(tmp_path: Path) -> None:
    """Of its pages, and only if it waits."""
    code = (
        "import ctypes, mmap, os; f = os.open('f', os.O_RDWR | os.O_CREAT); os.ftruncate(f, 40960)\n"
        "m = mmap.mmap(f, 36864, offset=4096); m.flush(8192, 5000); m.flush(4096, 32768); at = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
        "assert not ctypes.CDLL(None).msync(ctypes.c_void_p(at), 4096, 1)"
    )
    _, changes = traced([sys.executable, "-c", code], tmp_path / "root", tmp_path / "copy")
    parts = [(change.first, change.last, change.data_only) for change in changes if isinstance(change, Sync)]
    assert parts == [(12288, 20480, True), (8192, 40960, True)]


def test_a_socket_is_none_of_our_business(tmp_path: Path) -> None:
    code = "import socket, os; socket.socket(socket.AF_UNIX).bind('sock'); open('f', 'w').write('1')"
    tree, _ = traced([sys.executable, "-c", code], tmp_path / "root", tmp_path / "copy")
    assert not tree.uncertain and not differences(tree, Tree.scanned({tmp_path / "root": tmp_path / "root"}))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """A tree in which somebody else was at work is no tree of the program's."""
    root, copy = tmp_path / "root", tmp_path / "copy"
    root.mkdir()
    (root / "f").write_text("one")
    shutil.copytree(root, copy)
    tree = Tree.scanned({root: copy})
    with Session(recording=recording(), cwd=root, stacks=False) as session, DataLog(session) as log:
        (root / "f").write_text("changed by another")
        session.run(["bash", "-c", "echo two > f2; rm f; truncate -s 1 f2"], cwd=root, timeout=60, check=True)
        (root / "f3").touch()
        log.finish()
        changes = list(tree.follow(log))
        found = differences(tree, Tree.scanned({root: root}))
    assert any(isinstance(change, Resize) for change in changes)
    assert found == [f"{root}/f3 should not be there"]
