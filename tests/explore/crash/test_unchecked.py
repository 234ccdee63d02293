"""What the oracle says of states when there is no check: each rule on small recordings, and real programs."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from faultlib.explore.crash import acknowledged, profiles, record, recording, strategies
from faultlib.explore.crash.acknowledged import Acknowledged
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.judge import Case
from faultlib.explore.crash.losses import Lost, State, state
from faultlib.explore.crash.model import Model
from faultlib.explore.crash.restart import Restart
from faultlib.explore.crash.settled import Settled
from faultlib.explore.crash.unchecked import Files, Unchecked
from faultlib.explore.crash.view import View
from faultlib.explore.oracle import FAIL, HANG, PASS, RECOVERY, SUSPECT, Promise, Verdict
from tests.explore.crash.story import ROOT, Story

NOTHING = Promise(b"", 0)


# settled versions


def test_a_version_between_truncation_and_close_is_none(story: Any) -> None:
    told = story(f=b"old").open("f").write("f", b"half").write("f", b"rest").close("f")
    assert told.whats() == "pffpp"
    assert told.judge(1).text == "f is empty; expected one of 2 versions, the last of them the version written at prog (process 1) (8 bytes)"
    assert told.judge(2).text.startswith("f holds the first 4 of the 8 bytes of the version written at prog (process 1); expected one of")


def test_each_closed_version_counts(story: Any) -> None:
    told = story(f=b"old")
    for data in (b"one", b"two", b"three"):
        told.open("f").write("f", data).close("f")
    assert told.whats() == "p" + "fpp" * 3


def test_without_closes_a_new_truncation_ends_a_version(story: Any) -> None:
    told = story(f=b"old").open("f").write("f", b"one").open("f").write("f", b"two").write("f", b"!")
    assert told.whats() == "pfpffp"


def test_a_closed_copy_of_a_descriptor_is_not_the_end(story: Any) -> None:
    """As shells do for `>`: open, dup2, close, write."""
    assert story(f=b"old").open("f").close("f").write("f", b"new").whats() == "pffp"
    assert story(f=b"old").open("f").close("f").open("f", cut=False).write("f", b"new").close("f").whats() == "ppppp"


def test_who_has_inherited_a_file_does_not_end_its_version(story: Any) -> None:
    told = story(f=b"old").open("f").write("f", b"1", process="1.1").close("f", process="1.1").write("f", b"2").close("f")
    assert told.whats() == "pfffpp"


def test_a_process_that_ends_leaves_its_files(story: Any) -> None:
    told = story(f=b"old").open("f", process="1.1").write("f", b"1", process="1.1").exit("1.1")
    told.open("f").write("f", b"two").close("f")
    assert told.whats() == "pfpfpp"


def test_a_synced_version_counts_but_not_one_of_o_sync(story: Any) -> None:
    told = story(f=b"old").open("f").write("f", b"one").fsync("f").write("f", b"two").close("f")
    assert told.whats() == "pfpppp"  # "one" is what was made durable
    assert story(f=b"old").open("f").write("f", b"one").fsync("f", "write").write("f", b"two").close("f").whats() == "pfffpp"


def test_a_renamed_file_is_one_version(story: Any) -> None:
    told = story(f=b"old").open("t").write("t", b"new").close("t").rename("t", "f")
    assert told.whats() == "ppppp"
    assert told.judge(4, (3, Lost(1, 2))).text.startswith("f is empty; expected one of 2 versions")
    assert told.judge(4, (0, Lost(3, 4))).what == PASS


def test_what_is_renamed_while_it_is_written_is_unfinished(story: Any) -> None:
    assert story(f=b"old").open("t").rename("t", "f").write("f", b"new").close("f").whats() == "ppfpp"


def test_a_directory_takes_its_files_along(story: Any) -> None:
    told = story(f=b"old").open("t").write("t", b"new").close("t")
    moment = Settled(told.recording()).last_before(told.at("t"), 99)
    assert moment and moment.at == 3 and moment.why.startswith("closed at")


# which names


def test_only_names_of_the_first_or_the_last_tree_are_judged(story: Any) -> None:
    told = story(f=b"old").open("t").write("t", b"x").unlink("t")
    assert told.files().judged == [] and told.whats() == "pppp"


def test_absent_as_before_or_after_is_fine_but_not_in_between(story: Any) -> None:
    assert story(f=b"old").unlink("f").whats() == "pp"
    between = story(f=b"old").open("t").write("t", b"new").close("t").unlink("f").rename("t", "f")
    assert between.whats() == "ppppfp"
    assert between.judge(4).text == "f is missing: it was removed at prog (process 1), and is there again only later"


def test_absent_in_between_is_fine_if_somebody_was_told(story: Any) -> None:
    for tell in (Story.fsync, Story.exit, lambda told: told.say(b"gone")):
        told = story(f=b"old").unlink("f")
        tell(told)
        assert told.open("f").write("f", b"new").close("f").judge(1).what == PASS


def test_a_backup_may_be_absent_while_what_becomes_it_is_under_its_own_name(story: Any) -> None:
    told = story(f=b"new", bak=b"old").unlink("bak").rename("f", "bak").open("f").write("f", b"newer").close("f")
    assert told.whats() == "ppffpp"
    assert "f is missing" in told.judge(2).text and "bak" not in told.judge(2).text
    assert told.judge(2, (0, Lost(1, 2))).what == PASS  # the rename
    assert story(f=b"old", new=b"new").unlink("f").rename("new", "f").judge(1).what == FAIL


def test_a_log_may_be_absent_while_it_is_moved_out_of_the_way(story: Any) -> None:
    def told(name: str = "journal", *, appends: bool = False, moves: bool = True) -> str:
        begun = story(**{name: b"old\n"})
        moved = begun.rename(name, name + ".1") if moves else begun.unlink(name)
        return moved.open(name).write(name, b"new\n", appends=appends).close(name).judge(1).what

    assert told(appends=True) == told("LOG") == told("app.log") == PASS
    assert told() == told("prolog") == told(appends=True, moves=False) == FAIL


def test_a_link_that_was_never_there(story: Any) -> None:
    told = story(f=b"old").open("f").write("f", b"new").close("f")
    files = told.files()
    view = View(files.disk, State(0))
    files.model.nodes[told.at("f")].kind = "other"
    files.lives[b"/r/f"][:] = [files.lives[b"/r/f"][0]._replace(node=ROOT)]
    assert "which it never was" in files.judge(view, told.tmp_path).text


# formats

VALID = {
    "f.json": (b'{"a": 1}', b'{"b": [1, 2]}', b'{"c": 3}', b'{"c": 3'),
    "f.jsonl": (b'{"a": 1}\n{"b": 2}\n', b'{"c": 1}\n[]\n', b'{"d": 1}\n', b'{"d": 1}\n{"e'),
    "f.toml": (b"a = 1\n", b"[b]\nc = 2\n", b"d = 3\n", b"d = "),
    "f.yaml": (b"a: 1\nb: 2\n", b"c: [1, 2]\n", b"d: 3\n", b"d: [3"),
    "f.gz": (gzip.compress(b"a" * 99), gzip.compress(b"b"), gzip.compress(b"c") + gzip.compress(b"d"), gzip.compress(b"c" * 9)[:-3]),
}


@pytest.mark.parametrize("name", VALID)
def test_what_still_parses_is_accepted(story: Any, name: str) -> None:
    old, new, other, torn = VALID[name]

    def told(middle: bytes) -> str:
        return story(**{name: old}).open(name).write(name, middle).open(name).write(name, new).close(name).judge(2).what

    assert told(other) == PASS
    assert told(torn) == told(b"\0" * 40) == FAIL
    assert story(**{name: old}).open(name).write(name, new).close(name).judge(1).what == FAIL  # empty is no document
    assert story(**{name: b"plain"}).open(name).write(name, other).open(name).write(name, new).close(name).judge(2).what == FAIL


def test_yaml_is_looked_for_by_name_and_a_bare_word_is_no_document(story: Any) -> None:
    assert story(f=b"a: 1\n").open("f").write("f", b"b: 2\n").open("f").write("f", b"c: 3\n").close("f").judge(2).what == FAIL
    assert story(f=b"12").open("f").write("f", b"1").write("f", b"3").close("f").judge(2).what == FAIL
    assert story(f=b"{}").open("f").write("f", b"[]").write("f", b" ").open("f").write("f", b"{}").close("f").judge(2).what == FAIL


def test_a_pickle_is_only_bytes(story: Any, tmp_path: Path) -> None:
    evil = b"cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(tmp_path / "run")
    assert story(f=evil).open("f").write("f", evil + b"1").close("f").judge(1).what == FAIL
    assert not (tmp_path / "run").exists()


def database(path: Path, rows: int) -> bytes:
    """The bytes of a database."""
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE IF NOT EXISTS t(a)")
        base.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * rows)
    base.close()
    return path.read_bytes()


def test_a_database_is_opened_with_what_belongs_to_it(story: Any, tmp_path: Path) -> None:
    one = database(tmp_path / "db", 20)
    base = sqlite3.connect(tmp_path / "db", isolation_level=None)
    base.execute("BEGIN")
    base.execute("PRAGMA cache_size=1")
    base.execute("UPDATE t SET a = 'y'")
    base.executemany("INSERT INTO t VALUES (?)", [("z" * 900,)] * 200)  # spills: the journal is hot, the database half written
    half, journal = (tmp_path / "db").read_bytes(), (tmp_path / "db-journal").read_bytes()
    base.execute("COMMIT")
    base.close()
    end = (tmp_path / "db").read_bytes()
    assert half not in (one, end)
    (tmp_path / "s").mkdir()
    told = Story(tmp_path / "s", db=one).open("db-journal").write("db-journal", journal).fsync("db-journal")
    told.open("db", cut=False).write("db", half, 0).write("db", end, 0).close("db").unlink("db-journal")
    assert told.judge(4).what == PASS
    files = told.files()

    def rows(*lost: tuple[int, Lost]) -> bytes:
        return files.opened(b"/r/db", View(files.disk, state(4, lost)), tmp_path / "s", everything=True).digest

    assert rows() == rows((2, Lost(3, 4))) != rows((3, Lost(1, 2)))  # rolled back; without its journal it is not
    assert told.judge().what == PASS
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["log"]


def test_a_torn_database_is_said_to_be_one(story: Any, tmp_path: Path) -> None:
    one, two = database(tmp_path / "db", 20), database(tmp_path / "db", 90)
    told = story(db=one).open("db").write("db", two[:8192]).write("db", two[8192:]).close("db")
    verdict = told.judge(2)
    assert verdict.what == FAIL and "something else that is still SQLite database; opened by SQLite, after its recovery:" in verdict.text
    assert told.judge(1).text.startswith("db is empty")


# logs


def test_a_log_may_end_early_or_in_zeros(story: Any) -> None:
    told = story(log=b"one\n").open("log", cut=False)
    for line in (b"two\n", b"three\n", b"four\n"):
        told.write("log", line)
    told.close("log")
    for lost in ((), ((2, Lost(0, 3)),), ((2, Lost(1, 3)),), ((2, Lost(2, 3, 0, -1, True)),), ((2, Lost(1, 2, 0, -1, True)),)):
        assert told.judge(3, *lost).what == PASS, lost


def test_a_new_log_is_one_that_was_opened_for_appending_or_is_called_one(story: Any) -> None:
    def told(name: str, *, appends: bool) -> str:
        return story().open(name).write(name, b"one", appends=appends).write(name, b"two", appends=appends).close(name).judge(2).what

    assert told("f", appends=True) == told("log", appends=False) == PASS
    assert told("f", appends=False) == SUSPECT


def test_what_is_cut_off_or_overwritten_is_no_log(story: Any) -> None:
    assert story(log=b"one\n").open("log").write("log", b"1").write("log", b"2").close("log").judge(2).what == FAIL
    assert story(log=b"one\n").open("log", cut=False).write("log", b"two").write("log", b"ONE", 0).close("log").judge(1).what == FAIL


# how bad it is


def test_a_new_file_is_only_suspicious(story: Any) -> None:
    told = story(f=b"x").open("new").write("new", b"one").write("new", b"two").close("new")
    assert told.whats() == "psspp"
    assert "It is new" in told.judge(1).text and told.judge(0).what == PASS


def test_a_new_file_that_is_written_again_is_an_old_one(story: Any) -> None:
    told = story().open("f").write("f", b"one").close("f").open("f").write("f", b"two").close("f")
    assert told.whats() == "psppfpp"


def test_a_file_that_was_given_its_name_is_not_new(story: Any) -> None:
    told = story().open("t").write("t", b"one").close("t").rename("t", "f")
    assert told.judge(4, (2, Lost(1, 2))).what == FAIL


def test_a_new_file_for_which_the_old_one_was_removed(story: Any) -> None:
    told = story(f=b"old").open("f.z").write("f.z", b"packed").close("f.z").unlink("f")
    assert told.judge(1).what == SUSPECT
    verdict = told.judge(4, (3, Lost(1, 2)))
    assert verdict.what == FAIL and "and f, which was removed at prog (process 1) after this one was done, is gone as well" in verdict.text
    assert told.judge(4, (0, Lost(3, 4)), (3, Lost(1, 2))).what == SUSPECT  # f is still there
    by_another = story(f=b"old").open("f.z").write("f.z", b"packed").close("f.z").unlink("f", process="1.1")
    assert by_another.judge(4, (3, Lost(1, 2))).what == SUSPECT


def test_what_only_its_program_understands_is_suspicious(story: Any) -> None:
    patched = story(f=b"\0" * 9000).open("f", cut=False).write("f", b"\1" * 10, 100).write("f", b"\2" * 10, 5000).close("f")
    assert patched.judge(1).what == SUSPECT
    text = story(f=b"a" * 9000).open("f", cut=False).write("f", b"b" * 10, 100).write("f", b"b" * 10, 5000).close("f")
    assert text.judge(1).what == FAIL
    whole = story(f=b"\0" * 9000).open("f", cut=False).write("f", b"\1" * 5000, 0).write("f", b"\1" * 4000, 5000).close("f")
    assert whole.judge(1).what == FAIL


def test_what_is_only_added_to_is_suspicious_if_only_its_program_understands_it(story: Any) -> None:
    def told(first: bytes, *, cut: bool = False) -> str:
        begun = story(f=first).open("f", cut=cut).write("f", b"c\1record", 9000).write("f", b"more", 9008).write("f", b" ", 9000)
        return begun.close("f").judge(2 if cut else 1).what

    assert told(b"\0" * 9000) == SUSPECT
    assert told(b"a" * 9000) == told(b"\0" * 9000, cut=True) == FAIL


@pytest.mark.parametrize(
    ("name", "first", "then"),
    [("f.tmp", b"old", b"new"), ("tmp", b"old", b"new"), ("f.lock", b" 77\n host", b" 78\n host"), ("app.pid", b"1", b"2"), ("LOCK", b"", b"2"), ("lock.mdb", b"\0\1" * 99, b"\0\2" * 99)],
)
def test_a_file_that_is_scratch_by_its_name_is_suspicious(story: Any, name: str, first: bytes, then: bytes) -> None:
    told = story(**{name: first}).open(name).write(name, then[:1]).write(name, then[1:] + b"!").close(name)
    assert told.judge(2).what == SUSPECT
    assert story(**{name: first}).unlink(name).open(name).write(name, then).close(name).judge(1).what == SUSPECT


@pytest.mark.parametrize("name", ["poetry.lock", "package-lock.json", "clock", "tmp.json", "ftmp"])
def test_a_name_does_not_make_a_scratch_file_of_what_is_none(story: Any, name: str) -> None:
    assert story(**{name: b"[[package]]" * 9}).open(name).write(name, b"[").write(name, b"[package]]" * 9).close(name).judge(1).what == FAIL


def test_the_worst_comes_first_and_not_all_is_listed(story: Any) -> None:
    told = story(**{f"f{i}": b"old" for i in range(10)}).open("a")
    for i in range(10):
        told.open(f"f{i}")
    told.write("a", b"1")
    for i in range(10):
        told.write(f"f{i}", b"new")
    lines = told.judge(11).text.splitlines()
    assert told.judge(11).what == FAIL and len(lines) == 9 and lines[-1] == "and 3 more" and lines[0].startswith("f0 is empty")


def test_what_a_file_holds_is_said_exactly(story: Any) -> None:
    big = bytes(range(1, 201)) * 50
    told = story(f=b"old" * 2000).open("t").write("t", big).close("t").rename("t", "f")
    number = told.at("f")
    assert "f holds 10000 bytes, all of them zeros; " in told.judge(4, (number, Lost(1, 2, 0, -1, True))).text
    tail = told.judge(4, (number, Lost(1, 2, 4096, -1, True))).text
    assert "f holds 10000 bytes: the first 4096 of the 10000 of the version written at prog (process 1), then zeros from byte 4096 on" in tail
    hole = told.judge(4, (number, Lost(1, 2, 4096, 8192, True))).text
    assert "with zeros from byte 4096 to 8192, where the version written at prog" in hole
    other = story(f=b"old").open("f").write("f", b"unlike").open("f").write("f", b"new").close("f").judge(2).text
    assert other.startswith("f holds 6 bytes that begin with b'unlike'; expected one of 2 versions")


def test_oracles_have_their_say_one_after_the_other(story: Any) -> None:
    told = story().open("f").write("f", b"one").close("f").say(b"1")
    files = told.files()
    said: list[str] = []

    def other(cwd: Path, case: Case, promise: Promise) -> Verdict:
        said.append("other")
        return Verdict(PASS)

    unchecked = Unchecked(files.recording, files.disk, also=[Acknowledged(files, [3]), other])
    assert unchecked(told.tmp_path, Case(State(1), 1), NOTHING).what == SUSPECT and said == ["other"]
    assert unchecked(told.tmp_path, Case(State(4, ((2, (Lost(1, 2),)),)), 4), NOTHING).what == FAIL and said == ["other"]
    assert unchecked(told.tmp_path, Case(State(4), 4), NOTHING).what == PASS


# after a recovery


def test_what_recovery_has_written_is_its_own_word(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    told = Story(tmp_path, **{"f.json": b"{}", "f": b"old"})
    for name, data in (("f.json", b"[]"), ("f", b"new")):
        told.open(name).write(name, data).close(name)
    recorded = told.recording()
    moved = {str(root).encode(): told.tree.roots.pop(b"/r")}
    told.tree.roots.update(moved)
    recorded = recorded._replace(model=Model(told.tree, told.initial, told.changes), cwd=str(root))
    unchecked = Unchecked(recorded, Disk(recorded.model), recovered=True)

    def judge(crash: int, **there: bytes) -> Verdict:
        shutil.rmtree(root)
        root.mkdir()
        for name, data in there.items():
            (root / name).write_bytes(data)
        return unchecked(root, Case(State(crash), crash), NOTHING)

    assert judge(6, **{"f.json": b"[]", "f": b"new"}).what == PASS
    assert judge(1, **{"f.json": b"", "f": b"old"}).what == FAIL  # as it was built
    assert judge(1, **{"f.json": b"[3]", "f": b"repaired"}).what == PASS
    assert judge(1, **{"f.json": b"[3", "f": b"old"}).what == FAIL
    assert judge(1, **{"f": b"old"}).text.startswith("f.json is missing")


# starting again


def restart(tmp_path: Path, code: str, timeout_s: float = 10) -> Verdict:
    """Runs a program again."""
    recorded = Story(tmp_path).recording()._replace(command=(sys.executable, "-c", code))
    return Restart(recorded, timeout_s)(tmp_path, Case(State(0), 0), NOTHING)


def test_how_a_program_can_fail_to_start_again(tmp_path: Path) -> None:
    assert restart(tmp_path, "print(1)").what == PASS
    assert restart(tmp_path, "raise SystemExit(3)").what == RECOVERY
    assert "signal 9" in restart(tmp_path, "import os; os.kill(os.getpid(), 9)").text
    caught = restart(tmp_path, "import traceback\ntry: 1 / 0\nexcept ZeroDivisionError: traceback.print_exc()")
    assert caught.what == RECOVERY and "started again, ended with a traceback\n" in caught.text
    assert restart(tmp_path, "import time; time.sleep(60)", 0.3).what == HANG


def test_only_a_program_that_runs_again_without_a_crash_is_started_again(story: Any) -> None:
    told = story(f=b"x").unlink("f")
    recorded = told.recording()
    oracle = Restart(recorded, 10)
    assert oracle.can_restart(lambda case: Verdict(PASS), recorded.model) and not oracle.reason
    bad = Verdict(RECOVERY, "prog, started again, ended with status 3\nno such task")
    assert not oracle.can_restart(lambda case: bad if case.state.crash else Verdict(PASS), recorded.model)
    assert oracle.reason == (
        "not tried whether it starts again: on the tree that it has left, without any crash, prog, started again, ended with status 3"
    )
    failing = Restart(recorded._replace(status=4), 10)
    assert not failing.can_restart(lambda case: Verdict(PASS), recorded.model) and "ended with status 4" in failing.reason


# real programs


class Run:
    """A real program, recorded, and what the oracle says of the states that it can leave."""

    def __init__(self, root: Path, command: Sequence[str], scratch: Path) -> None:
        folder = root / ".faultlib" / "c"
        folder.mkdir(parents=True)
        run = record.Run(tuple(command), root, record.check_roots([root]), folder)
        record.keep_first(run)
        record.record(run)
        self.recording = recording.load(folder)
        assert self.recording.status == 0 and not self.recording.incomplete, (folder / "output").read_text()
        self.disk = Disk(self.recording.model)
        self.files = Files(self.recording, self.disk)
        self.scratch = scratch

    def cases(self, profile: str, most: int = 1500) -> Iterator[Case]:
        """Yields the states of a profile, each once."""
        rules = profiles.Rules(profiles.PROFILES[profile], self.recording.model, 512)
        seen = set[bytes]()
        for name in "A" if profile == "kill" else strategies.STRATEGIES:
            for strategy in strategies.STRATEGIES[name]:
                for candidate in strategy(rules):
                    digest = self.disk.digest(candidate.state)
                    if digest not in seen and len(seen) < most:
                        seen.add(digest)
                        yield Case(candidate.state, rules.latest(candidate.state))

    def say(self, profile: str) -> list[Verdict]:
        """What is not in order."""
        verdicts = (self.files.judge(View(self.disk, case.state), self.scratch) for case in self.cases(profile))
        return [verdict for verdict in verdicts if verdict.failed]

    def worst(self, profile: str) -> str:
        """The worst verdict."""
        return max((verdict.what for verdict in self.say(profile)), key=[SUSPECT, FAIL].index, default=PASS)

    def acknowledged(self, profile: str, pattern: str) -> list[Verdict]:
        """What is lost of what was acknowledged."""
        oracle = Acknowledged(self.files, acknowledged.by_pattern(self.recording, pattern))
        return [verdict for case in self.cases(profile) if (verdict := oracle(self.scratch, case, NOTHING)).failed]


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Runs a program in a directory with some files; Python code, or words."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "data.json").write_text(json.dumps({"a": [1] * 4000}))
    (root / "log").write_text("first\n")

    def start(program: str | Sequence[str], prepare: str = "true") -> Run:
        subprocess.run(["sh", "-c", prepare], cwd=root, check=True, capture_output=True)
        return Run(root, [sys.executable, "-c", program] if isinstance(program, str) else program, tmp_path)

    return start


def needs(program: str) -> Any:
    """Skips where there is no such program."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"no {program}")


REPLACE = """
import json, os
with open("data.tmp", "w") as f:
    json.dump({"b": [2] * 5000}, f)
    %s
os.replace("data.tmp", "data.json")
"""


def test_json_dumped_in_place_is_torn_by_a_kill(run: Any) -> None:
    dumped = run('import json\nwith open("data.json", "w") as f: json.dump({"b": [2] * 5000}, f)')
    said = dumped.say("kill")
    assert {verdict.what for verdict in said} == {FAIL}
    assert said[0].text.startswith("data.json is empty; expected one of 2 versions") and "<string>:2" in said[0].text


def test_a_rename_without_fsync_is_empty_after_a_power_cut(run: Any) -> None:
    replaced = run(REPLACE % "")
    assert replaced.say("kill") == []
    assert any(verdict.what == FAIL and verdict.text.startswith("data.json is empty") for verdict in replaced.say("ext4"))


def test_a_rename_after_fsync_is_clean(run: Any) -> None:
    replaced = run(REPLACE % "f.flush(); os.fsync(f.fileno())")
    assert {profile: replaced.say(profile) for profile in profiles.PROFILES} == {profile: [] for profile in profiles.PROFILES}


def test_a_plain_log_is_clean(run: Any) -> None:
    log = run('with open("log", "a") as f:\n for i in range(9): print("x" * 700 * i, file=f, flush=True)')
    assert {profile: log.say(profile) for profile in profiles.PROFILES} == {profile: [] for profile in profiles.PROFILES}


SQL = """
import sqlite3
db = sqlite3.connect("db", isolation_level=None)
db.execute("pragma synchronous=%s")
for i in range(2):
    db.execute("insert into t values (?)", ("x" * 6000,))
    print("done", i, flush=True)
"""
CREATE = "sqlite3 db 'pragma journal_mode=%s; create table t(a); insert into t values(1);'"


@needs("sqlite3")
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_sqlite_is_clean(run: Any, mode: str) -> None:
    database = run(SQL % "full", CREATE % mode)
    assert {profile: database.say(profile) for profile in profiles.PROFILES} == {profile: [] for profile in profiles.PROFILES}


@needs("sqlite3")
@pytest.mark.parametrize(("level", "is_lost"), [("full", True), ("extra", False)])
def test_sqlite_acknowledges_before_its_journal_is_gone(run: Any, level: str, is_lost: bool) -> None:
    said = run(SQL % level, CREATE % "delete").acknowledged("ext4", r"^done \d$")
    assert bool(said) is is_lost
    assert all("db holds less than it did; acknowledged at <string>:" in verdict.text for verdict in said)


@needs("sqlite3")
def test_sqlite_without_any_fsync_is_not(run: Any) -> None:
    assert run(SQL % "off", CREATE % "delete").worst("ext4") == FAIL


@needs("gzip")
def test_gzip_removes_what_is_not_yet_packed(run: Any) -> None:
    assert run(["gzip", "data.json"]).worst("ext4") == FAIL


@needs("gzip")
@pytest.mark.parametrize("option", ["-k", "--synchronous"])
def test_gzip_that_keeps_or_waits_is_suspicious_at_most(run: Any, option: str) -> None:
    packed = run(["gzip", option, "data.json"])
    assert {packed.worst(profile) for profile in profiles.PROFILES} <= {PASS, SUSPECT}


@needs("git")
def test_git_commit_leaves_empty_objects_by_default(run: Any) -> None:
    user = "-c user.name=a -c user.email=b"
    prepare = f"git init -q . && git add log && git {user} commit -qm one && echo 2 >> log"
    said = run(["git", *user.split(), "commit", "-qam", "two"], prepare).say("ext4")
    assert any(".git/objects/" in verdict.text and verdict.what == FAIL for verdict in said)
