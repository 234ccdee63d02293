"""space: a disk that fills, with the partial write of a real one, and that gives space back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.targets.conftest import Compile, Under


def test_dd_fills_the_disk(under: Under, tmp_path: Path) -> None:
    done = under("write:space=10000:path=f", "dd", "if=/dev/zero", "of=f", "bs=4096", "count=10")
    assert done.status == 1
    assert "No space left on device" in done.err
    assert (tmp_path / "f").stat().st_size == 10000


def test_cp_fills_the_disk(under: Under, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 50000)
    done = under("write:space=30000:path=g", "cp", "f", "g")
    assert done.status == 1
    assert "No space left on device" in done.err
    assert (tmp_path / "g").read_bytes() == b"x" * 30000


def test_python_fills_the_disk(under: Under, tmp_path: Path) -> None:
    code = "s = open('f', 'wb')\nfor i in range(100): s.write(b'x' * 1000)"
    done = under("write:space=64K:path=f", sys.executable, "-c", code)
    assert done.status == 1
    assert "[Errno 28]" in done.err
    assert (tmp_path / "f").stat().st_size == 65536


def test_several_files_share_the_disk(under: Under, tmp_path: Path) -> None:
    done = under("write:space=6:path=*/disk/*", "bash", "-c", "mkdir disk; for i in 1 2 3 4; do echo 12 > disk/$i; done; exit 0")
    assert done.err.count("No space left on device") == 2
    assert sum(p.stat().st_size for p in (tmp_path / "disk").iterdir()) == 6


def test_overwriting_takes_nothing(under: Under, compiled: Compile, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 10)
    done = under("write:space=4:path=f", compiled("io"), "f", "open", "rw", *["write", "10", "pwrite", "10", "0", "pwrite", "10", "4", "pwrite", "1", "14", "write", "1"])
    assert done.out == "open 0\nwrite 10\npwrite 10\npwrite 10\npwrite -1 ENOSPC\nwrite 1\n"
    assert (tmp_path / "f").stat().st_size == 14


@pytest.mark.parametrize(
    ("back", "said"),
    [
        (["truncate", "0", "seek", "0"], "truncate 0\nseek 0\n"),
        (["open", "trunc"], "open 0\n"),
        (["unlink", "other"], "unlink 0\n"),
        (["rename", "new"], "rename 0\n"),
    ],
)
def test_space_comes_back(back: list[str], said: str, under: Under, compiled: Compile, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"x" * 20)
    (tmp_path / "new").write_bytes(b"")
    calls = ["open", "create", "write", "20", "write", "1", *back, "write", "20"]
    done = under("write:space=20:path=*/f,*/other,*/new", compiled("io"), "f", *calls)
    assert done.out == f"open 0\nwrite 20\nwrite -1 ENOSPC\n{said}write 20\n"


def test_a_second_name_keeps_the_space(under: Under, tmp_path: Path) -> None:
    script = "echo 1234567 > f; ln f g; rm f; echo x > h; rm g; echo x > h"
    done = under("write:space=8:path=*/f,*/g,*/h", "bash", "-c", script)
    assert done.err.count("No space left on device") == 1


def test_an_allocation_that_does_not_fit_takes_nothing(under: Under, compiled: Compile) -> None:
    done = under(["write,posix_fallocate:space=10:path=f"], compiled("io"), "f", "open", "create", "fallocate", "11", "fallocate", "10")
    assert done.out == "open 0\nfallocate 28\nfallocate 0\n"
