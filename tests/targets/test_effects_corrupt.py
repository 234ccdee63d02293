"""corrupt: one bit in so many places, in the file or in the reader, never in the writer's own buffer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.targets.conftest import Compile, Under


def flipped(a: bytes, b: bytes) -> list[int]:
    """The number of differing bits at each place that differs."""
    assert len(a) == len(b)
    return [bin(x ^ y).count("1") for x, y in zip(a, b, strict=True) if x != y]


@pytest.mark.parametrize("call", ["write 4000", "pwrite 4000 0", "writev 1000 1 2999 .", "pwritev 0 4000 ."])
def test_a_corrupted_write(call: str, under: Under, compiled: Compile, tmp_path: Path) -> None:
    good = bytes(ord("a") + i % 26 for i in range(4000))
    done = under("write:corrupt=1:path=f:when=1", compiled("io"), "f", "open", "create", *call.split(), "seek", "4000", "write", "4000")
    data = (tmp_path / "f").read_bytes()
    assert done.out.splitlines()[1] == f"{call.split()[0]} 4000"
    assert flipped(data[:4000], good) == [1]
    assert data[4000:] == good, "the program's own buffer was touched"


@pytest.mark.parametrize("call", ["read 200", "pread 200 0", "readv 100 1 99 .", "preadv 0 200 ."])
def test_a_corrupted_read(call: str, under: Under, compiled: Compile, tmp_path: Path) -> None:
    good = b"x" * 200
    (tmp_path / "f").write_bytes(good)
    name = call.split()[0]
    code = "import subprocess, sys; print(subprocess.run(sys.argv[1:], capture_output=True).stdout.hex())"
    done = under("read:corrupt=1:path=f", sys.executable, "-c", code, compiled("io"), "f", "open", "rw", *call.split())
    said = bytes.fromhex(done.out.strip())
    head = f"open 0\n{name} 200 ".encode()
    assert said.startswith(head)
    assert flipped(said[len(head) :].rstrip(b"\n").ljust(200, b"\n")[:200], good) == [1]
    assert (tmp_path / "f").read_bytes() == good


def test_the_seed_says_where(under: Under, tmp_path: Path) -> None:
    def run(seed: int) -> bytes:
        under("write:corrupt=3:path=f", "dd", "if=/dev/zero", "of=f", "bs=1000", "count=1", seed=seed)
        return (tmp_path / "f").read_bytes()

    first = run(7)
    assert run(7) == first
    assert run(8) != first
    assert 1 <= len(flipped(first, bytes(1000))) <= 3


def test_git_notices(under: Under, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "a").write_text("a" * 1000)
    under("write:corrupt=1:path=*/objects/*", "git", "add", "a")
    checked = subprocess.run(["git", "fsck"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode != 0, "git fsck found nothing"


def test_a_read_that_brings_nothing_is_no_firing(under: Under, compiled: Compile, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"xxx")
    done = under("read:corrupt=1:times=1:path=f", compiled("io"), "f", "open", "rw", "seek", "3", "read", "3", "seek", "0", "read", "3", "pread", "3", "0")
    _, _, empty, _, corrupted, good = done.out.splitlines()
    assert (empty, good) == ("read 0", "pread 3 xxx")
    assert corrupted != "read 3 xxx"
    assert done.counts == [(3, 1)]
