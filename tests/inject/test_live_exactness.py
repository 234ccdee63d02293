"""Counters and seeds under load: rules come and go while several processes with several threads call without pause.

FAULTLIB_STRESS_S says for how many seconds rules come and go; more finds more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import faultlib as api

STRESS_S = float(os.environ.get("FAULTLIB_STRESS_S", "5"))
PROCESSES, THREADS = 4, 4

SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Threads write to one file until standard input ends (or LIMIT times each), then say how often, and how it failed. */
static int fd, stop;
static long limit;
static struct tally { long calls, ok, failed[200]; } tallies[64];

static void *work(void *argument)
{
    struct tally *tally = argument;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED) && (!limit || tally->calls < limit)) {
        tally->calls++;
        if (pwrite(fd, "x", 1, 0) == 1)
            tally->ok++;
        else
            tally->failed[errno]++;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int threads = atoi(argv[1]);
    char byte;
    pthread_t thread[64];
    limit = atol(argv[2]);
    fd = open(argv[3], O_RDWR | O_CREAT, 0600);
    if (write(1, "begin\n", 6) != 6 || read(0, &byte, 1) != 1)
        return 1;
    for (int i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, work, &tallies[i]);
    if (!limit && read(0, &byte, 1) != 1)
        return 1;
    __atomic_store_n(&stop, !limit, __ATOMIC_RELAXED);
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    long calls = 0, failed[200] = {0};
    for (int i = 0; i < threads; i++) {
        calls += tallies[i].calls;
        for (int e = 0; e < 200; e++)
            failed[e] += tallies[i].failed[e];
    }
    printf("%ld", calls);
    for (int e = 0; e < 200; e++)
        if (failed[e])
            printf(" %d:%ld", e, failed[e]);
    printf("\n");
    return 0;
}
"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worker")
    (folder / "worker.c").write_text(SOURCE)
    subprocess.run(["cc", "-O2", "-pthread", "-o", folder / "worker", folder / "worker.c"], check=True)
    return folder / "worker"


class Crowd:
    """Workers under one session that begin together."""

    def __init__(self, session: api.Session, worker: Path, file: Path, *, processes: int, threads: int, limit: int) -> None:
        command = [str(worker), str(threads), str(limit), str(file)]
        self._workers = [
            session.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
        ]
        for one in self._workers:
            assert one.stdout and one.stdout.readline() == "begin\n"
        self.signal()

    def signal(self) -> None:
        for one in self._workers:
            assert one.stdin
            one.stdin.write("x")
            one.stdin.flush()

    def results(self) -> tuple[int, Counter[int]]:
        """The calls made by all, and their failures by errno."""
        calls, failures = 0, Counter[int]()
        for one in self._workers:
            out, _ = one.communicate(timeout=300)
            assert one.returncode == 0
            first, *rest = out.split()
            calls += int(first)
            for item in rest:
                number, count = item.split(":")
                failures[int(number)] += int(count)
        return calls, failures


def test_every_counter_is_exact_while_rules_come_and_go(tmp_path: Path, worker: Path) -> None:
    """Of the rules that are live throughout, one only counts and one fails every 1000th call of a process; of those that
    come and go, each has failures of its own errno: what they say fired is what the programs saw."""
    file = tmp_path / "f"
    numbers = {5: "EIO", 28: "ENOSPC", 122: "EDQUOT", 27: "EFBIG"}
    with api.Session() as session:
        always = session.add(
            f"pwrite:error=EIO:path={file}:when={1 << 62}", f"pwrite:error!=EPERM:path={file}:when=1000..{1 << 62}+1000"
        )
        crowd = Crowd(session, worker, file, processes=PROCESSES, threads=THREADS, limit=0)
        deadline, added = time.monotonic() + STRESS_S, 0
        while time.monotonic() < deadline and added < 3500:
            number = list(numbers)[added % len(numbers)]
            passing = session.add(
                f"pwrite:error={numbers[number]}:path={file}:when=1..999999999+7:scope=session",
                f"fsync:error=EIO:path={file}",
            )
            added += 2
            time.sleep(0.005)
            session.remove(*passing)
        crowd.signal()
        calls, failures = crowd.results()
        report = {row.slot: row for row in session.report()}
    assert report[always[0]].count.matched == report[always[1]].count.matched == calls
    assert report[always[0]].count.fired == 0
    fired = Counter[int]()
    for row in report.values():
        if "fsync" in row.rule.names:
            assert row.count == (type(row.count))(0, 0)
        elif row.rule.effect is not None and row.slot != always[0]:
            fired[row.rule.effect.errno] += row.count.fired  # type: ignore[attr-defined]
    assert +fired == failures
    assert added > 100
    assert failures[1] > 0


def test_a_number_of_the_whole_session_comes_once(tmp_path: Path, worker: Path) -> None:
    file = tmp_path / "f"
    with api.Session([f"pwrite:error=EIO:path={file}:when=123456:scope=session"]) as session:
        crowd = Crowd(session, worker, file, processes=8, threads=4, limit=5000)
        calls, failures = crowd.results()
        (row,) = session.report()
    assert calls == 8 * 4 * 5000
    assert failures == {5: 1}
    assert (row.count.matched, row.count.fired) == (calls, 1)
    assert row.first and row.first.nth == 123456


DRAWS = """
import os, threading
def work(name, count):
    done = []
    for i in range(count):
        try:
            os.close(os.open(name, os.O_RDWR | os.O_CREAT))
            done.append(".")
        except OSError:
            done.append("x")
    results[name] = "".join(done)
results = {}
if (pid := os.fork()) == 0:
    work("child", 60)
    os.write(1, ("child " + results["child"] + "\\n").encode())
    os._exit(0)
threads = [threading.Thread(target=work, args=(f"t{i}", 60)) for i in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
os.waitpid(pid, 0)
print(*sorted(results.items()))
"""


def test_a_seed_gives_the_same_faults_under_load(tmp_path: Path) -> None:
    """Twenty runs beside two busy processes: draws depend on who calls for which time, not on when."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    outputs = set()
    try:
        for _ in range(20):
            with api.Session([f"open:error=EMFILE:p=0.3:path={tmp_path}/*"], seed=7) as session:
                done = session.run([sys.executable, "-c", DRAWS], cwd=tmp_path, capture_output=True, text=True, timeout=100)
                assert done.returncode == 0, done.stderr
                outputs.add(done.stdout)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    (only,) = outputs
    rows = [word.strip("(),'") for word in only.split() if "x" in word or "." in word]
    assert len(rows) == 4
    assert len(set(rows)) == 4, "every thread and process has draws of its own"
