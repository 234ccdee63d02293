"""SQLite: its rollback journal with FULL loses what was acknowledged, as its manual says; EXTRA and the other log do not."""

from __future__ import annotations

import sqlite3

import pytest

from tests.explore.crash.programs.lab import ORDER, POWER_CUT, UNNAMED, UNSYNCED, Lab, Outcome

PROGRAM = """
import sqlite3
db = sqlite3.connect("a.db", isolation_level=None)
db.execute("pragma journal_mode={0}")
db.execute("pragma synchronous={1}")
db.execute("pragma mmap_size={2}")
for n in range(3):
    db.execute("begin")
    db.executemany("insert into t values (?, ?)", [(n, "new" * 20)] * 5)
    db.execute("commit")
    print(n, flush=True)
db.close()
"""
CHECK = """
import sqlite3

def check(directory, output):
    db = sqlite3.connect(directory / "a.db")
    assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
    rows = dict(db.execute("select a, count(*) from t group by a"))
    db.close()
    assert rows.pop(-1) == 200
    assert set(rows.values()) <= {5}, "half a transaction"
    for n in output.split():
        assert int(n) in rows, "acknowledged and gone"
"""

INTEGRITY = CHECK[: CHECK.index("    rows")].replace(", output", "") + "    db.close()\n"
OFF = """
import sqlite3
db = sqlite3.connect("a.db", isolation_level=None)
db.executescript("pragma synchronous=off; update t set b = 'new'; delete from t where rowid % 3 = 0;")
"""


def explored(lab: Lab, journal: str, synchronous: str, mapped: int = 0) -> Outcome:
    db = sqlite3.connect(lab.here / "a.db")
    db.execute(f"pragma journal_mode={journal}")
    db.execute("create table t(a, b)")
    db.executemany("insert into t values (-1, ?)", [("old" * 20,)] * 200)
    db.commit()
    db.close()
    return lab.crash_python(PROGRAM.format(journal, synchronous, mapped), check=CHECK)


def test_rollback_journal_with_full_has_exactly_one_durability_finding(lab: Lab) -> None:
    outcome = explored(lab, "delete", "full")
    outcome.assert_found((UNNAMED, "app.py:10", "app.py:11"))
    (finding,) = outcome.findings
    assert finding["profiles"] == POWER_CUT
    assert finding["lost"]["text"] == "unlink(a.db-journal)"
    assert finding["title"] == "a.db-journal can be there again although it was acknowledged: its name is not durable"


@pytest.mark.parametrize(
    ("journal", "synchronous"), [("delete", "extra"), ("wal", "full"), ("persist", "full"), ("truncate", "full")]
)
def test_clean(lab: Lab, journal: str, synchronous: str) -> None:
    explored(lab, journal, synchronous).assert_clean()


@pytest.mark.parametrize(("journal", "synchronous"), [("delete", "extra"), ("wal", "full")])
def test_clean_with_a_mapped_database(lab: Lab, journal: str, synchronous: str) -> None:
    explored(lab, journal, synchronous, mapped=1 << 20).assert_clean()


def test_write_ahead_log_with_normal_loses_acknowledged_rows_only(lab: Lab) -> None:
    explored(lab, "wal", "normal").assert_found((UNSYNCED, "app.py:10", "app.py:11"))


def test_off_is_found_to_tear_the_database(lab: Lab) -> None:
    db = sqlite3.connect(lab.here / "a.db")
    db.execute("create table t(a, b)")
    db.executemany("insert into t values (-1, ?)", [("old" * 20,)] * 200)
    db.commit()
    db.close()
    outcome = lab.crash_python(OFF, check=INTEGRITY, budget="8s")
    assert (ORDER, "app.py:4", "app.py:4") in outcome.found
    assert any(finding["profiles"] == POWER_CUT for finding in outcome.violations)
    assert not any("kill" in finding["profiles"] for finding in outcome.violations)
