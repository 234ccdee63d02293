"""dbm.dumb, which shelve falls back to: a file of data and one of positions, neither of which is ever made durable."""

from __future__ import annotations

import dbm.dumb

from tests.explore.crash.programs.lab import ALWAYS, ORDER, TORN, UNFINISHED, Lab

PROGRAM = """
import dbm.dumb
db = dbm.dumb.open("db", "c")
for n in range(5):
    db["new%d" % n] = b"y" * 600
db.close()
"""
CHECK = """
import dbm.dumb

def check(directory):
    db = dbm.dumb.open(str(directory / "db"), "r")
    for n in range(5):
        assert db["k%d" % n] == b"x" * 50
    for key in db.keys():
        assert not key.startswith(b"new") or db[key] == b"y" * 600, key
"""


def test_it_loses_its_index_and_points_at_data_that_are_not_there(lab: Lab) -> None:
    with dbm.dumb.open(str(lab.here / "db"), "c") as db:
        for n in range(5):
            db[f"k{n}"] = b"x" * 50
    outcome = lab.crash_python(PROGRAM, check=CHECK)
    outcome.assert_found((UNFINISHED, "app.py:6", "app.py:6"), (ORDER, "app.py:5", "app.py:5"), (TORN, "app.py:5", "app.py:5"))
    assert outcome.violations[0]["profiles"] == ALWAYS
    assert outcome.violations[1]["files"] == ["db.dir", "db.dat"]
