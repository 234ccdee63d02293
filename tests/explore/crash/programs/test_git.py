"""git: by default it leaves most of what it writes to the file system; with core.fsync=all nothing is lost."""

from __future__ import annotations

import pytest

from tests.explore.crash.programs.lab import ALWAYS, POWER_CUT, RECOVERY, RENAMED, Lab, Outcome

REPOSITORY = """
git init -q .
git config user.email somebody@example.org
git config user.name Somebody
git config gc.auto 0
seq 1000 > a
git add .
git commit -q -m one
seq 2000 > a
"""
SYNCED = "git -c core.fsync=all -c core.fsyncMethod=fsync"


def add_and_commit(lab: Lab, git: str) -> Outcome:
    lab.prepare(REPOSITORY)
    return lab.crash_shell(f"{git} add . && {git} commit -q -m two", check="git fsck --full --strict && git status && git log")


def test_commit_with_default_settings(lab: Lab) -> None:
    outcome = add_and_commit(lab, "git")
    assert outcome.status == 1, outcome.err
    assert (RENAMED, "git", "git") in outcome.found
    assert len(outcome.violations) >= 2
    assert all(finding["profiles"] == POWER_CUT for finding in outcome.violations)
    assert any(".git/objects/" in finding["title"] for finding in outcome.violations)


def test_commit_with_fsync_of_all_is_clean(lab: Lab) -> None:
    add_and_commit(lab, SYNCED).assert_clean()


@pytest.mark.parametrize("git", ["git", SYNCED], ids=["default", "synced"])
def test_init_leaves_a_lock_behind_that_stops_the_next_one(lab: Lab, git: str) -> None:
    outcome = lab.crash_shell(f"{git} init -q .", recover="git init -q .", check="git status && git fsck", budget="150")
    found = [finding for finding in outcome.violations if finding["profiles"] == ALWAYS]
    assert {finding["kind"] for finding in found} == {RECOVERY}
    assert ".git/HEAD.lock" in [finding["files"][0] for finding in found]
