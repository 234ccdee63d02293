"""The session's folder: its links lead to a shim that every user can read, wherever the package lies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import faultlib
from faultlib.inject import folder


@pytest.fixture
def private_shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as it lies in a home directory that is closed to others."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shutil.copy(folder.SHIM, home / "shim.so")
    monkeypatch.setattr(folder, "SHIM", str(home / "shim.so"))
    return home / "shim.so"


def test_a_shim_that_others_cannot_reach_is_copied(private_shim: Path, tmp_path: Path) -> None:
    with faultlib.Session([f"write:error=EIO:path={tmp_path}/f"]) as session:
        done = session.run(["bash", "-c", "echo x > f; exit 3"], cwd=tmp_path, capture_output=True, text=True)
        (link, *others) = sorted(path for path in session.folder.iterdir() if path.suffix == ".so")
        real = link.resolve()
        assert real.parent == session.folder
        assert real.stat().st_mode & 0o777 == 0o755
        assert not others
        assert "Input/output error" in done.stderr
    assert not session.folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
def test_another_users_loader_says_nothing(private_shim: Path, tmp_path: Path) -> None:
    with faultlib.Session(["write:error=EIO:path=*/f"]) as session:
        become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "id", "-un"]
        done = session.run(["bash", "-c", '"$@"; exit 0', "bash", *become], capture_output=True, text=True)
    assert done.stdout == "nobody\n"
    assert done.stderr == ""


def test_where_programs_may_not_lie_the_shim_stays_where_it_is(private_shim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder.os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_NOEXEC))
    with faultlib.Session() as session:
        assert Path(folder.link(str(session.folder), 1)).readlink() == private_shim


HIDE_PROC = 'mount --make-private /proc && mount -t tmpfs none /proc && exec "$@"'
"""In a chroot the root is no mount that could be made private as a whole, as unshare does by itself."""


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (["--mount", "--propagation=unchanged", "sh", "-c", HIDE_PROC, "sh"], "/proc is not mounted"),
        (["--fork", "--pid"], "/proc is that of another pid namespace"),
    ],
    ids=["bare chroot", "pid namespace"],
)
def test_without_the_proc_that_programs_would_look_into_nothing_starts(how: list[str], why: str, tmp_path: Path) -> None:
    unshare = ["unshare"] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
    if subprocess.run([*unshare, *how, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces here")
    for verb, status in (["run", "-e", "write:error=EIO", "--", "touch", "started"], 125), (["doctor"], 126):
        command = [*unshare, *how, sys.executable, "-m", "faultlib", *verb]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stdout + done.stderr
        assert why in done.stdout + done.stderr
        assert "mount -t proc proc /proc" in done.stdout + done.stderr
    assert not (tmp_path / "started").exists()
