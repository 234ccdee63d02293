"""LMDB: data and a page that says which are valid, made durable one after the other; with mmap and O_DSYNC."""

from __future__ import annotations

import pytest

from tests.explore.crash.programs.lab import UNSYNCED, Lab, Outcome

lmdb = pytest.importorskip("lmdb")

PROGRAM = """
import lmdb
env = lmdb.open("db", map_size=1 << 20{0})
for n in range(3):
    with env.begin(write=True) as transaction:
        for m in range(8):
            transaction.put(b"%d-%d" % (n, m), b"v" * 200)
    print(n, flush=True)
env.close()
"""
CHECK = """
import lmdb

def check(directory, output):
    env = lmdb.open(str(directory / "db"), map_size=1 << 20)
    with env.begin() as transaction:
        rows = dict(transaction.cursor())
        assert len(rows) == transaction.stat()["entries"]
    env.close()
    assert sum(value == b"x" * 50 for value in rows.values()) == 50
    for n in range(3):
        there = sum(key.startswith(b"%d-" % n) and value == b"v" * 200 for key, value in rows.items())
        assert there in (0, 8), "half a transaction"
        assert there or b"%d" % n not in output, "acknowledged and gone"
"""


TWO = """
import lmdb, os
def work(first):
    env = lmdb.open("db", map_size=1 << 20, writemap=True)
    for n in range(first, 3, 2):
        with env.begin(write=True) as transaction:
            for m in range(8):
                transaction.put(b"%d-%d" % (n, m), b"v" * 200)
        print(n, flush=True)
    env.close()
    os._exit(0)
children = [child for child in (0, 1) if os.fork() or work(child)]
for child in children: assert not os.wait()[1]
"""


def explored(lab: Lab, more: str, program: str = PROGRAM) -> Outcome:
    with lmdb.open(str(lab.here / "db"), map_size=1 << 20) as env, env.begin(write=True) as transaction:
        for n in range(50):
            transaction.put(b"old%d" % n, b"x" * 50)
    return lab.crash_python(program.format(more), check=CHECK)


def test_clean(lab: Lab) -> None:
    explored(lab, "").assert_clean()


def test_clean_with_a_writable_map(lab: Lab) -> None:
    explored(lab, ", writemap=True").assert_clean()


def test_clean_with_two_processes_and_a_writable_map(lab: Lab) -> None:
    explored(lab, "", TWO).assert_clean()


def test_without_sync_of_its_meta_page_a_commit_can_be_lost(lab: Lab) -> None:
    outcome = explored(lab, ", metasync=False")
    assert {found.kind for found in outcome.found} == {UNSYNCED}
    assert {found.kept for found in outcome.found} == {"app.py:8"}
