"""Shell commands that change a file: `sed -i`, a temporary file and `mv`, `cp`, `dd`."""

from __future__ import annotations

import pytest

from tests.explore.crash.programs.lab import ALWAYS, NEW, OLD, POWER_CUT, RENAMED, TORN, TRUNCATED, UNNAMED, Lab


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("sed -i s/old/new/ f", [(RENAMED, "sed", "sed")]),
        ("sed s/old/new/ f > f.tmp && mv f.tmp f", [(RENAMED, "sed", "mv")]),
        ("sed -i s/old/new/ f && echo done", [(RENAMED, "sed", "sed"), (UNNAMED, "sed", "dash")]),
        ("sed s/old/new/ f > f.tmp && sync f.tmp && mv f.tmp f && echo done", [(UNNAMED, "mv", "dash")]),
        ("dd if=new of=f.tmp status=none && mv f.tmp f", [(RENAMED, "dd", "mv")]),
        ("cp new f.tmp && mv f.tmp f", [(RENAMED, "cp", "mv")]),
    ],
)
def test_a_power_cut_does_harm(lab: Lab, script: str, found: list[tuple[str, str, str]]) -> None:
    outcome = lab.write("f", OLD).write("new", NEW).crash_shell(script)
    outcome.assert_found(*found)
    assert all(finding["profiles"] == POWER_CUT for finding in outcome.violations)


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("cat new > f", (TRUNCATED, "cat", "dash")),
        ("cp new f", (TRUNCATED, "cp", "cp")),
        ("cat new | tee f", (TRUNCATED, "tee", "tee")),
        ("dd if=new of=f bs=64k status=none", (TRUNCATED, "dd", "dd")),
        ("dd if=new of=f bs=64k conv=notrunc status=none", (TORN, "dd", "dd")),
    ],
)
def test_even_a_kill_does_harm(lab: Lab, script: str, found: tuple[str, str, str]) -> None:
    outcome = lab.write("f", OLD).write("new", NEW).crash_shell(script)
    outcome.assert_found(found)
    assert set(ALWAYS) - set(outcome.violations[0]["profiles"]) <= {"btrfs"}, "which writes a whole extent anew"


@pytest.mark.parametrize(
    "script",
    [
        "sed s/old/new/ f > f.tmp && sync f.tmp && mv f.tmp f",
        "sed s/old/new/ f > f.tmp && sync f.tmp && mv f.tmp f && sync . && echo done",
        "sed s/old/new/ f > f.tmp && sync && mv f.tmp f && sync && echo done",
        "dd if=new of=f.tmp conv=fsync status=none && mv f.tmp f",
        "dd if=new of=f.tmp oflag=dsync bs=64k status=none && mv f.tmp f",
        "cp f g && sed -i s/old/new/ g && sync g && mv g f",
    ],
)
def test_clean(lab: Lab, script: str) -> None:
    lab.write("f", OLD).write("new", NEW).crash_shell(script).assert_clean()
