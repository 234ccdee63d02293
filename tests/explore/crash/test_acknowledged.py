"""What was acknowledged has to be there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faultlib.explore.crash import acknowledged
from faultlib.explore.crash.acknowledged import Acknowledged
from faultlib.explore.crash.judge import Case
from faultlib.explore.crash.losses import Lost, state
from faultlib.explore.oracle import FAIL, PASS, Promise, Verdict
from tests.explore.crash.story import Story

NOTHING = Promise(b"", 0)


def acknowledge(told: Story, moments: Sequence[int] | None, crash: int, promised: int, *lost: tuple[int, Lost]) -> Verdict:
    """Judges a state by what was acknowledged."""
    files = told.files()
    oracle = Acknowledged(files, acknowledged.by_descriptor(files.recording, 1) if moments is None else moments)
    return oracle(told.tmp_path, Case(state(crash, lost), promised), NOTHING)


def test_what_acknowledges(story: Any) -> None:
    recorded = story().say(b"ok 1\nla").say(b"la\nok").say(b" 2\n", fd=2).exit().recording()
    assert acknowledged.by_pattern(recorded, r"^ok \d$") == [0, 2]
    assert acknowledged.by_pattern(recorded, r"lala") == [1]
    assert acknowledged.by_descriptor(recorded, 2) == [2]
    assert acknowledged.by_function(recorded, lambda data: b"la" in data) == [0, 1]
    assert acknowledged.by_exit(recorded) == [3]


def test_an_acknowledged_version_must_not_be_lost(story: Any) -> None:
    told = story(f=b"old").open("t").write("t", b"new").close("t").rename("t", "f").say(b"done\n")
    assert acknowledge(told, None, 4, 4, (0, Lost(3, 4))).what == PASS  # nobody was told yet
    verdict = acknowledge(told, None, 5, 5, (0, Lost(3, 4)))
    assert verdict.what == FAIL
    assert verdict.text == "f is in an older version, or incomplete; acknowledged at prog (process 1) by b'done\\n'"
    assert acknowledge(told, None, 3, 5).what == FAIL  # a crash now leaves what one before it did
    assert acknowledge(told, None, 5, 5).what == PASS


def test_a_later_version_than_the_acknowledged_is_fine(story: Any) -> None:
    told = story(f=b"old").open("f").write("f", b"one").close("f").say(b"1").open("t").write("t", b"two").close("t").rename("t", "f")
    assert acknowledge(told, None, 8, 8).what == PASS
    assert acknowledge(told, None, 8, 8, (0, Lost(7, 8))).what == PASS
    assert acknowledge(told, None, 4, 4, (2, Lost(0, 2))).what == FAIL


def test_acknowledged_files_are_there_and_removed_ones_are_not(story: Any) -> None:
    made = story().open("f").write("f", b"new").close("f").say(b"1")
    assert acknowledge(made, None, 4, 4, (0, Lost(0, 1))).text.startswith("f is missing, which was there; acknowledged at")
    gone = story(f=b"old").unlink("f").say(b"1")
    assert acknowledge(gone, None, 2, 2, (0, Lost(0, 1))).text.startswith("f is there, which was gone")
    assert acknowledge(gone, None, 2, 2).what == PASS


def test_an_acknowledged_line_of_a_log_is_in_it(story: Any) -> None:
    told = story(log=b"0\n").open("log", cut=False).write("log", b"1\n").say(b"1").write("log", b"2\n").say(b"2")
    assert acknowledge(told, None, 3, 3, (2, Lost(2, 3))).what == PASS
    assert acknowledge(told, None, 3, 3, (2, Lost(0, 1))).what == FAIL
    assert acknowledge(told, None, 4, 4, (2, Lost(2, 3))).what == FAIL


def test_an_acknowledged_link_must_not_be_the_old_one(story: Any) -> None:
    told = story(a=b"1").symlink("a", "link").say(b"one\n").symlink("b", "new").rename("new", "link").say(b"two\n")
    assert acknowledge(told, None, 2, 2).what == PASS
    verdict = acknowledge(told, None, 5, 5, (0, Lost(2, 4)))
    assert verdict == (FAIL, "link leads to a, as it did before; acknowledged at prog (process 1) by b'two\\n'", ("link",))
    assert acknowledge(told, None, 4, 2).what == acknowledge(told, None, 5, 5).what == PASS
    assert acknowledge(told, None, 2, 2, (0, Lost(0, 1))).what == FAIL


def test_nobody_promises_a_lock(story: Any) -> None:
    told = story(**{"a.lock": b"1", "b": b"1"}).open("a.lock").write("a.lock", b"2").open("b").write("b", b"2").say(b"done")
    lost = [(told.at(name), Lost(0, 4)) for name in ("a.lock", "b")]
    assert acknowledge(told, None, 5, 5, lost[0]).what == PASS
    assert acknowledge(told, None, 5, 5, lost[1]).what == FAIL


def test_a_crash_before_the_change_can_come_after_the_acknowledgement(story: Any) -> None:
    """Nothing was durable: the state before all of it is one that is left after the promise, too."""
    told = story(f=b"old").open("f").write("f", b"new").close("f").say(b"done")
    assert acknowledge(told, None, 0, 0).what == PASS
    assert acknowledge(told, None, 0, 4).what == acknowledge(told, None, 1, 4).what == FAIL
    assert acknowledge(told, None, 3, 4).what == PASS
