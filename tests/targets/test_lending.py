"""Programs that cannot open the session's memory through /proc get it from the guard, and strangers do not."""

from __future__ import annotations

import array
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faultlib._core import lib

import faultlib as api
from faultlib.inject import folder
from tests.conftest import Run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
NOBODY = 65534
PYTHON = "/usr/bin/python3"
"""One that every user can run."""
TIMEOUT_S = 60
WAYS = [
    "setpriv --reuid 65534 --clear-groups", "runuser -u nobody --", "unshare --pid --fork --mount-proc", "unshare --user",
    "unshare --user --map-root-user", "unshare --user --pid --fork --mount-proc",
    "setpriv --reuid 65534 --clear-groups unshare --user --pid --fork --mount-proc",
]  # fmt: skip
WRITE = "import os\ntry: os.write(os.open('f', 65, 0o666), b'x')\nexcept OSError as error: print('python', error.errno, flush=True)"
SCRIPT = f'echo x > f || echo bash; {PYTHON} -c "{WRITE}"; (exec env -i {PYTHON} -c "{WRITE}")'


@pytest.fixture(autouse=True)
def everybody_may(tmp_path: Path) -> None:
    """The test's directory is everybody's."""
    tmp_path.chmod(0o777)
    for place in tmp_path.parents:
        if place.stat().st_uid == 0 and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o011)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def possible(command: list[str]) -> bool:
    """Whether this machine lets root do that: containers may forbid namespaces."""
    return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("way", WAYS)
def test_faults_reach_another_user_and_another_namespace(way: str, tmp_path: Path) -> None:
    if not possible(way.split()):
        pytest.skip("no such namespaces here")
    with api.Session(["write:error=EIO:path=f"], cwd=tmp_path) as session:
        done = session.run([*way.split(), "bash", "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S)
        assert done.stdout == "bash\npython 5\npython 5\n", done
        assert (session.report()[0].count.matched, session.report()[0].count.fired) == (3, 3)
        assert not session.uncovered()
        lineages = [process.lineage for process in session.processes()]
    assert len(lineages) == len(set(lineages))
    assert not any("?" in lineage for lineage in lineages), "nobody lost his place in the tree"


def test_in_a_proc_of_its_own_each_goes_by_the_number_that_the_controller_sees(tmp_path: Path) -> None:
    way = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if not possible(way):
        pytest.skip("no such namespaces here")
    code = "import os, sys; pid = os.fork(); os.write(1, b'%d\\n' % os.getpid()); os.waitpid(pid, 0) if pid else os.open(sys.stdin.readline()[:-1], os.O_CREAT)"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with api.Session(cwd=tmp_path) as session, session.popen([*way, sys.executable, "-c", code], cwd=tmp_path, text=True, **pipes) as child:
        assert child.stdin and child.stdout
        assert {child.stdout.readline(), child.stdout.readline()} == {"1\n", "2\n"}
        inside = [process.pid for process in session.processes() if process.state == "live" and process.pid != child.pid]
        assert len(inside) == 2
        names = [Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].split("\n")[0].split() for pid in inside]
        assert [(int(outer), inner) for outer, inner in names] == [(inside[0], "1"), (inside[1], "2")]
        rule = session.add("open:stop:path=f")  # it is woken by that number
        child.stdin.write("f\n")
        child.stdin.flush()
        until(lambda: state(inside[1]) == "T")
        session.remove(*rule)
        assert not child.wait(TIMEOUT_S)


def knock(session: api.Session) -> list[int]:
    """The descriptors that the guard gives to whoever asks now; none if it refuses."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT_S)
        client.connect(str(session.folder / folder.LENDING))
        descriptors = array.array("i")
        text, extra, _, _ = client.recvmsg(4, socket.CMSG_SPACE(8))
        for _, _, data in extra:
            descriptors.frombytes(data)
        assert bool(text) == bool(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return list(descriptors)


def as_nobody(work: Callable[[], bool]) -> bool:
    """What `work` says in a child of another user."""
    child = os.fork()
    if not child:
        os.setresuid(NOBODY, NOBODY, NOBODY)
        os._exit(0 if work() else 1)
    return os.waitpid(child, 0)[1] == 0


def test_only_the_sessions_own_get_it() -> None:
    with api.Session() as session:
        slot = session.block.area("struct fl_proc", "procs_off")[lib.FL_MAX_PROCS - 1]

        def pretend(pid: int, state: int, started_ns: int) -> None:
            slot.pid, slot.started_ns, slot.state = pid, started_ns, state

        def knocks() -> bool:
            return len(knock(session)) == 2

        later = session.block.now_ns() + 1000 * 10**9
        assert knocks(), "the owner's user does"
        assert not as_nobody(knocks)
        pretend(os.getpid(), lib.FL_PROC_LIVE, session.block.now_ns())
        assert as_nobody(knocks), "a child of one who is there"
        pretend(os.getpid(), lib.FL_PROC_EXITED, session.block.now_ns())
        assert not as_nobody(knocks)
        pretend(os.getpid(), lib.FL_PROC_LIVE, -(10**15) & (1 << 64) - 1)
        assert not as_nobody(knocks), "the number was another process' when the slot was taken"

        def claim(state: int, started_ns: int) -> bool:
            pretend(os.getpid(), state, started_ns)
            return knocks()

        assert as_nobody(lambda: claim(lib.FL_PROC_EXEC_PENDING, later)), "one who executes a new image"
        assert not as_nobody(lambda: claim(lib.FL_PROC_EXEC_PENDING, -(10**15) & (1 << 64) - 1))
        assert not as_nobody(lambda: claim(lib.FL_PROC_EXITED, later))
        slot.state = lib.FL_PROC_FREE


def test_those_who_ask_and_do_not_listen_hold_nobody_up(tmp_path: Path) -> None:
    with api.Session(["write:error=EIO:path=f"], cwd=tmp_path) as session:
        silent = [socket.socket(socket.AF_UNIX) for _ in range(300)]
        for client in silent:
            client.connect(str(session.folder / folder.LENDING))
        done = session.run([*WAYS[0].split(), "bash", "-c", "echo x > f || echo caught"], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == "caught\n"
        guard = int(session.block.ctl.guard_pid)
        os.kill(guard, signal.SIGKILL)
        until(lambda: int(session.block.ctl.guard_pid) != guard)
        done = session.run([*WAYS[0].split(), "bash", "-c", "echo x > f || echo caught"], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == "caught\n", "the next guard answers too"
        for client in silent:
            client.close()


def test_a_guard_that_sleeps_does_not_keep_a_program_from_running(tmp_path: Path, faultlib: Run) -> None:
    script = f'kill -STOP $1; {WAYS[0]} sh -c "echo ran; true; /bin/true"; kill -CONT $1'
    with api.Session(["write:error=EIO:path=f"], cwd=tmp_path) as session:
        command = ["bash", "-c", script, "bash", str(int(session.block.ctl.guard_pid))]
        done = session.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        assert (done.stdout, done.stderr) == ("ran\n", "")
        (left,) = session.uncovered()
        assert left.lineage == "1.1"


def test_a_stopped_program_of_another_user_is_woken_when_all_are_killed(tmp_path: Path) -> None:
    program = [PYTHON, "-c", "import os; print(os.getpid(), flush=True); os.open('f', 65, 0o666); print('on')"]
    command = [sys.executable, "-m", "faultlib", "run", "-q", "-e", "open:stop:path=f", "--", *WAYS[0].split(), *program]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as controller:
        assert controller.stdout
        target = int(controller.stdout.readline())
        until(lambda: state(target) == "T")
        (place,) = [place for place in folder.places() if place.pid == controller.pid]
        os.kill(controller.pid, signal.SIGSTOP)
        for pid in (guard_of(controller.pid), controller.pid):
            os.kill(pid, signal.SIGKILL)
        assert controller.stdout.readline() == "on\n"
    folder.remove(place.path)


def guard_of(controller: int) -> int:
    for path in Path("/proc").glob("[0-9]*/stat"):
        name, fields = path.read_text().partition("(")[2].rsplit(")", 1)
        if name == "faultlib-guard" and int(fields.split()[1]) == controller:
            return int(path.parent.name)
    raise AssertionError("no guard")


@pytest.fixture
def bare_root(tmp_path: Path) -> Path:
    """A root directory with a shell, and nothing of ours."""
    root = tmp_path / "root"
    listed = subprocess.run(["ldd", "/bin/bash"], capture_output=True, text=True, check=True).stdout
    for file in ["/bin/bash", *(word for word in listed.split() if word.startswith("/"))]:
        (root / file[1:]).parent.mkdir(parents=True, exist_ok=True)
        (root / file[1:]).write_bytes(Path(file).read_bytes())
        (root / file[1:]).chmod(0o755)
    return root


def test_in_a_root_directory_without_the_shim_the_reason_is_said(bare_root: Path, faultlib: Run) -> None:
    done = faultlib("run", "-e", "write:error=EIO:path=*/f", "--", "chroot", str(bare_root), "/bin/bash", "-c", "echo x > f; echo ran")
    assert done.stdout == "ran\n"
    assert "/bin/bash: the session's folder cannot be reached from its root directory" in done.stderr
    assert "ld.so" not in done.stderr


def test_among_other_mounts_the_reason_is_said(faultlib: Run) -> None:
    way = ["unshare", "--mount", "sh", "-c"]
    if not possible(["unshare", "--mount"]):
        pytest.skip("no such namespaces here")
    hidden = folder.base()
    done = faultlib("run", "-e", "write:error=EIO:path=*/f", "--", *way, f"mount -t tmpfs none '{hidden}' && exec bash -c 'echo x > f; echo ran'")
    assert done.stdout == "ran\n"
    assert "cannot be reached" in done.stderr and "ld.so" not in done.stderr


def test_other_reasons_are_said(faultlib: Run, tmp_path: Path) -> None:
    subprocess.run(["gcc", "-static", "-o", "static", "-x", "c", "-"], cwd=tmp_path, input=b"int main(void){return 0;}", check=True)
    setuid = tmp_path / "setuid"
    setuid.write_bytes(Path("/bin/true").read_bytes())
    setuid.chmod(0o4755)
    script = f"./static; {WAYS[0]} ./setuid; \"{sys.executable}\" -m faultlib run -q -- true"
    done = faultlib("run", "-e", "write:error=EIO:path=none", "--", "bash", "-c", script)
    assert f"{tmp_path}/static: it is statically linked" in done.stderr
    assert f"{tmp_path}/setuid: it is setuid or setgid" in done.stderr
    assert "true: it belongs to a session of its own" in done.stderr
