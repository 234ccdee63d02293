"""Threads and processes that do everything at once, while rules come and go. Also with the sanitizers' runtimes in it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

import faultlib

PROCESSES, THREADS, ROUNDS = 4, 8, 300
RULES = (
    "write:error=ENOSPC:path=*/f*:when=7+",
    "open,rename:error=EDQUOT:path=*/f1:p=0.3",
    "fsync,close,read:error!=EDQUOT:path=*/f[23]:when=1..50+3",
    "write:error=ENOSPC:scope=session:times=20:path=*/f*",
    "stat:error!=EDQUOT:path=*/g*:scope=thread:when=2",
    "flock:delay=1ms:path=*/f4:times=5",
)
FLAVOURS = {
    "plain": [],
    "asan": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "tsan": ["-fsanitize=thread"],
}
DEADLINE_SECONDS = 60
"""Against hanging: nothing is judged by time."""


@pytest.fixture(scope="module", params=FLAVOURS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """stress.c, plain or with a sanitizer in it."""
    made = tmp_path_factory.mktemp("stress") / f"stress-{request.param}"
    source = Path(__file__).with_name("stress.c")
    subprocess.run(["cc", "-O1", "-g", "-pthread", *FLAVOURS[request.param], "-o", made, source], check=True)
    return made


def test_rules_come_and_go_under_load(program: Path, tmp_path: Path) -> None:
    command = [str(program), str(PROCESSES), str(THREADS), str(ROUNDS)]
    (tmp_path / "work").mkdir()
    with faultlib.Session(seed=1) as session, (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        child = session.popen(command, cwd=tmp_path / "work", stdout=out, stderr=err, start_new_session=True)
        try:
            changes = change_rules(session, child)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        said = (tmp_path / "err").read_text()
        assert child.returncode == 0, said[-4000:]
        assert not said, said[-4000:]
        output = (tmp_path / "out").read_text()
        rounds, injected = (sum(map(int, re.findall(rf"{word} (\d+)", output))) for word in ("rounds", "injected"))
        assert rounds == PROCESSES * THREADS * ROUNDS
        assert changes > 50
        fired = sum(row.count.fired for row in session.report() if "flock" not in row.rule.names)
        assert fired == injected > 100


def change_rules(session: faultlib.Session, child: subprocess.Popen[bytes]) -> int:
    """Adds and removes rules until the child ends; returns how often."""
    changes = 0
    live: list[list[int]] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while child.poll() is None:
        assert time.monotonic() < deadline
        if session.block.live._next_slot < 3500:  # a session has room for 4,096 rules in all
            live.append(session.add(RULES[changes % len(RULES)]))
        if len(live) > 4:
            session.remove(*live.pop(0))
        changes += 1
        time.sleep(0.002)
    session.reset()
    return changes
