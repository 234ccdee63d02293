"""A control block that is damaged, foreign, of another version or gone: the target runs on undisturbed, and is named."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faultlib._core import lib

import faultlib as api
from faultlib.inject import folder
from faultlib.report import summary

RULE = "write:error=EIO:path=*/f"
SCRIPT = ["bash", "-c", "echo hello > f && cat f"]


def scribbles() -> dict[str, Callable[[api.Session], None]]:
    def put(field: str, value: int) -> Callable[[api.Session], None]:
        return lambda session: setattr(session.block.ctl, field, value)

    areas = ["rules_off", "tallies_off", "procs_off", "paths_off", "strings_off", "clocks_off", "path_bytes_off"]
    return {
        "magic": put("magic", 0), "newer abi": put("abi", lib.FL_ABI + 1), "size": put("size", 4096),
        "huge size": put("size", 1 << 40), "another session's number": put("uid", 7), "closed": put("closed", 1),
        **{area: put(area, 1 << 40) for area in areas}, "odd offset": put("procs_off", 4097),
    }  # fmt: skip


SCRIBBLES = scribbles()


@pytest.mark.parametrize("what", SCRIBBLES)
def test_a_damaged_block_disturbs_nobody_and_is_said(tmp_path: Path, what: str) -> None:
    session = api.Session([RULE])
    header = bytes(session.block._map[:4096])
    try:
        env = session.environment()
        SCRIBBLES[what](session)
        done = subprocess.run(SCRIPT, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    finally:
        session.block._map[:4096] = header  # the owner itself relies on it
    with session:
        assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
        report = summary.collect(session, SCRIPT, 0)
    assert any("never woke up" in warning for warning in report.warnings)


def test_the_block_cannot_be_cut_or_grown() -> None:
    with api.Session() as session:
        for size in (0, 4096, 1 << 30):
            with pytest.raises(PermissionError):
                os.ftruncate(session.block.descriptor, size)
        seals = fcntl.fcntl(session.block.descriptor, fcntl.F_GET_SEALS)
        assert seals & (fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW) == fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


def test_a_file_that_is_no_sealed_block_is_not_mapped(tmp_path: Path) -> None:
    """The descriptor in the link's name leads to something else."""
    with api.Session([RULE]) as session, (tmp_path / "other").open("wb+") as other:
        other.truncate(1 << 24)
        place = Path(os.environ["FAULTLIB_DIR"]) / f"faultlib.{os.getpid()}.{other.fileno()}.{session.block.ctl.uid:x}"
        place.mkdir()
        link = folder.link(str(place), 1)
        env = {**os.environ, "LD_PRELOAD": str(link)}
        done = subprocess.run(SCRIPT, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
        shutil.rmtree(place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


@pytest.mark.parametrize("name", ["x", "faultlib.1.2", "faultlib.1.x.3", "faultlib.99999999.3.abc", "faultlib.0.0.0"])
def test_a_link_that_names_no_session_is_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    link = folder.link(str(tmp_path / name), 1)
    env = {**os.environ, "LD_PRELOAD": str(link)}
    done = subprocess.run(SCRIPT, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_a_folder_that_somebody_removed_is_said(tmp_path: Path) -> None:
    with api.Session([RULE]) as session:
        env = session.environment()
        shutil.rmtree(session.folder)
        done = subprocess.run(SCRIPT, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
        report = summary.collect(session, SCRIPT, 0)
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert any("never woke up" in warning for warning in report.warnings)


def test_a_session_that_ended_leaves_targets_alone(tmp_path: Path) -> None:
    with api.Session([RULE]) as session:
        child = session.popen(
            ["bash", "-c", "read; echo hello > f; /bin/cat f"], cwd=tmp_path, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until = time.monotonic() + 30
        while not session.block.ctl.attached:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert child.communicate("\n", timeout=30) == ("hello\n", "")


def test_another_pid_namespace_does_not_count_as_a_dead_controller(tmp_path: Path) -> None:
    """There our pid means nothing: only the owner lock says whether we live."""
    inner = [sys.executable, "-c", "import os\ntry: os.write(os.open('f', 65), b'x')\nexcept OSError as e: print(e.errno)"]
    if subprocess.run(["unshare", "--fork", "--pid", "true"], capture_output=True).returncode:
        pytest.skip("no pid namespaces here")
    with api.Session([RULE]) as session:
        done = session.run(["unshare", "--fork", "--pid", *inner], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert not session.block.ctl.closed
        assert done.stdout in ("5\n", "")
        again = session.run(inner, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert again.stdout == "5\n"
        guard = int(session.block.ctl.guard_pid)
    until = time.monotonic() + 20
    while Path(f"/proc/{guard}").exists():  # a number of that namespace is somebody else's here: no target of ours
        assert time.monotonic() < until
        time.sleep(0.02)


def test_more_processes_than_slots(tmp_path: Path) -> None:
    """Slots are given again and the counters of the dead are kept."""
    script = "for i in $(seq 1400); do (: > f); done"
    with api.Session(["open:error=EIO:path=*/f:when=5000:scope=session", "open:delay=1ns:path=*/f"]) as session:
        done = session.run(["bash", "-c", script], cwd=tmp_path, timeout=300)
        assert done.returncode == 0
        counts = [row.count.matched for row in session.report()]
        assert int(session.block.ctl.attach_refused) == 0
    assert counts == [1400, 1400]


def test_many_short_programs_are_all_counted(tmp_path: Path) -> None:
    script = "for i in $(seq 1500); do /bin/true; done; /bin/true"
    with api.Session(["execve:delay=1ns", "exit:delay=1ns:proc=comm:true"]) as session:
        assert session.run(["bash", "-c", script], cwd=tmp_path, timeout=300).returncode == 0
        (execs, _) = session.report()
        assert execs.count.matched == 1502  # seq is one too
        assert int(session.block.ctl.attached) >= 1503
        assert int(session.block.ctl.slot_reach) < 200, "a process' slot is found near its place"


def test_uncovered_programs_do_not_use_up_the_slots(tmp_path: Path) -> None:
    (tmp_path / "static.c").write_text("int main(void) { return 0; }")
    if subprocess.run(["cc", "-static", "-o", "static", "static.c"], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("no static libc here")
    script = "for i in $(seq 1200); do ./static; done; : > f"
    with api.Session(["open:error=EIO:path=*/f"]) as session:
        done = session.run(["bash", "-c", script], cwd=tmp_path, timeout=300, stderr=subprocess.DEVNULL)
        assert done.returncode == 1
        snapshot = session.snapshot()
        report = summary.collect(session, SCRIPT, 1)
        assert len(session.uncovered()) + snapshot.forgotten == 1200
    assert snapshot.refused == 0
    assert f"not covered: {snapshot.forgotten} more processes went on" in "\n".join(report.warnings)


def test_sessions_side_by_side_and_from_threads(tmp_path: Path) -> None:
    failures: list[str] = []

    def work(number: int) -> None:
        with api.Session([f"mkdir:error=EIO:path=*/d{number}"]) as session:
            for other in range(4):
                done = session.run(["mkdir", f"d{other}-{number}", f"d{number}"], cwd=tmp_path, capture_output=True, text=True)
                if "Input/output error" not in done.stderr:
                    failures.append(done.stderr)
            if session.report()[0].count.fired != 4:
                failures.append(str(session.report()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_one_session_from_many_threads(tmp_path: Path) -> None:
    with api.Session() as session:
        taken: list[int] = []

        def work() -> None:
            for _ in range(50):
                numbers = session.add("mkdir:error=EIO:path=*/nowhere", "rmdir:error=EIO:path=*/nowhere")
                taken.extend(numbers)
                session.report()
                session.remove(*numbers)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == list(range(400))
        assert not session.block.live.rules


def test_a_forked_child_does_not_end_the_session(tmp_path: Path) -> None:
    with api.Session(["mkdir:error=EIO"]) as session:
        if not (pid := os.fork()):
            session.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert session.run(["mkdir", "d"], cwd=tmp_path, stderr=subprocess.DEVNULL).returncode == 1


def test_a_program_that_forgets_to_close(tmp_path: Path) -> None:
    script = "import faultlib, os; s = faultlib.Session(['mkdir:error=EIO']); print(s.folder)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 30
    while Path(done.stdout.strip()).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_close_twice_and_signals_of_the_host_program() -> None:
    before = signal.getsignal(signal.SIGCHLD), signal.pthread_sigmask(signal.SIG_BLOCK, [])
    session = api.Session()
    session.close()
    session.close()
    assert (signal.getsignal(signal.SIGCHLD), signal.pthread_sigmask(signal.SIG_BLOCK, [])) == before


def test_descriptors_and_threads_are_given_back() -> None:
    with api.Session():
        pass

    def mine() -> tuple[int, int]:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    before = mine()
    for _ in range(20):
        with api.Session(["mkdir:error=EIO"]):
            pass
    assert mine() == before
