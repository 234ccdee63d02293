"""space: a disk that fills, with the partial write of a real one, and that gives space back."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import sys
from pathlib import Path

import pytest

from tests.conftest import Run
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


# Holes. The pieces are larger than the blocks of any file system.

K = 1024


def io(calls: str) -> list[str]:
    """Sizes such as 64K in bytes."""
    return [str(int(word[:-1]) * K) if word[-1] == "K" and word[0].isdigit() else word for word in calls.split()]


def says_where_holes_are(place: Path) -> bool:
    """By FIEMAP; or, tmpfs on a kernel that can count what it holds."""
    with (place / "probe").open("wb") as file:
        try:
            fcntl.ioctl(file, 0xC020660B, bytearray(8) + b"\xff" * 8 + bytes(16))
        except OSError:
            return ctypes.CDLL(None, use_errno=True).syscall(451, file.fileno(), None, None, 0) < 0 and ctypes.get_errno() != errno.ENOSYS
    return True


@pytest.mark.parametrize(
    ("calls", "results", "fired"),
    [
        ("truncate 900K pwrite 64K 1000K pwrite 36K 2000K pwrite 1 3000K", ["0", "64K", "36K", "ENOSPC"], 1),
        ("truncate 900K pwrite 64K 0 pwrite 64K 128K pwrite 64K 512K", ["0", "64K", "36K", "ENOSPC"], 2),
        ("truncate 900K pwrite 64K 0 truncate 0 truncate 900K pwrite 100K 0 pwrite 1 200K", ["0", "64K", "0", "0", "100K", "ENOSPC"], 1),
        ("truncate 900K truncate 0 pwrite 101K 0", ["0", "0", "100K"], 1),
        ("truncate 900K pwrite 64K 0 open trunc pwrite 101K 0", ["0", "64K", "0", "100K"], 1),
        ("mode_fallocate 0 1000K 64K pwrite 64K 1000K pwrite 64K 0", ["0", "64K", "36K"], 1),
        ("truncate 900K mode_fallocate 0 0 64K mode_fallocate 0 64K 64K mode_fallocate 0 64K 36K", ["0", "0", "ENOSPC", "0"], 1),
        ("mode_fallocate 1 0 101K mode_fallocate 1 0 100K pwrite 100K 0 write 1", ["ENOSPC", "0", "100K", "1"], 1),
        ("pwrite 100K 0 mode_fallocate 3 0 64K pwrite 64K 100K", ["100K", "0", "64K"], 0),
    ],
)
def test_a_hole_takes_nothing_until_it_is_filled(calls: str, results: list[str], fired: int, under: Under, compiled: Compile, tmp_path: Path) -> None:
    if "1000K pwrite" in calls and not says_where_holes_are(tmp_path):
        pytest.skip("this file system does not say where holes are")
    done = under("write,allocate:space=100K:path=f", compiled("io"), "f", "open", "create", *io(calls))
    said = [line.split()[-1] for line in done.out.splitlines()[1:]]
    assert said == [str(int(r[:-1]) * K) if r[-1] == "K" else r for r in results]
    assert done.counts[0][1] == fired


def test_overwriting_within_a_sparse_file_takes_nothing(under: Under, compiled: Compile, tmp_path: Path) -> None:
    """Where the file system says where the holes are; elsewhere what was not taken is given back."""
    calls = io("truncate 900K pwrite 64K 0 pwrite 30K 0 pwrite 36K 8K pwrite 36K 512K")
    more = ["pwrite", "20", "0"] if says_where_holes_are(tmp_path) else []
    done = under("write:space=100K:path=f", compiled("io"), "f", "open", "create", *calls, *more)
    assert [line.split()[-1] for line in done.out.splitlines()[2:]] == ["65536", "30720", "36864", "36864", *more[1:2]]
    assert done.counts[0][1] == 0


@pytest.mark.parametrize("call", ["fallocate 40", "pwrite 40 0", "writev 40 ."])
def test_what_another_call_takes_is_gone_too(call: str, under: Under, compiled: Compile) -> None:
    """A rule refuses the calls that it names; the disk is the same for all."""
    done = under("write:call=write:space=50:path=*/f,*/g", compiled("io"), "g", "open", "create", *call.split(), "seek", "40", "write", "20")
    assert done.out.splitlines()[-1] == "write 10"


# The disk below other rules.


@pytest.mark.parametrize("first", [0, 1])
def test_other_rules_act_above_the_disk(first: int, under: Under, compiled: Compile) -> None:
    """In either order: the disk neither hides them nor do they hide it, and what was not written takes no space."""
    rules = ["write:space=25:path=f", "write:error=EIO:path=f:when=2"]
    done = under(rules[::-1] if first else rules, compiled("io"), "f", "open", "create", *["write", "10"] * 5)
    assert done.out.splitlines()[1:] == ["write 10", "write -1 EIO", "write 10", "write 5", "write -1 ENOSPC"]
    assert sorted(done.counts) == [(5, 1), (5, 2)]


def test_effects_that_make_the_call_fill_the_disk(under: Under, compiled: Compile) -> None:
    rules = ["write:short=4:path=f:when=1", "write:corrupt=1:path=f:when=2", "write:delay=1ms:path=f", "write:space=16:path=f"]
    done = under(rules, compiled("io"), "f", "open", "create", *["write", "10"] * 4)
    assert done.out.splitlines()[1:] == ["write 4", "write 10", "write 2", "write -1 ENOSPC"]
    assert done.counts == [(4, 1), (4, 1), (4, 2), (4, 2)]


def test_a_torn_write_has_taken_its_part(under: Under, compiled: Compile, tmp_path: Path) -> None:
    script = f"{compiled('io')} f open create write 10; {compiled('io')} f open append write 10"
    done = under(["write:torn=6:path=f:times=1:scope=session", "write:space=8:path=f"], "bash", "-c", script)
    assert done.out.splitlines()[-1] == "write 2"
    assert (tmp_path / "f").stat().st_size == 8


def test_a_full_disk_as_often_as_it_may(under: Under, compiled: Compile) -> None:
    done = under("write:space=10:path=f:times=2", compiled("io"), "f", "open", "create", *["write", "6"] * 5)
    assert done.out.splitlines()[1:] == ["write 6", "write 4", "write -1 ENOSPC", "write 6", "write 6"]
    assert done.counts == [(5, 2)]


def test_a_delay_of_the_rule_is_for_what_it_refuses(under: Under, compiled: Compile) -> None:
    """Were each call delayed, this would take minutes."""
    done = under("write:space=500:delay=1ms:path=f", compiled("io"), "f", "open", "create", *["write", "1"] * 501)
    assert done.out.splitlines()[-1] == "write -1 ENOSPC"
    assert done.counts == [(501, 1)]


def test_a_disk_that_refused_is_marked_in_a_trace(faultlib: Run, tmp_path: Path) -> None:
    done = faultlib("trace", "--op", "write", "-o", "trace", "-e", "write:space=2:path=f", "--", "bash", "-c", "echo x > f; echo x >> f; exit 0")
    first, second, *_ = [line for line in (tmp_path / "trace").read_text().splitlines() if f"{tmp_path}/f" in line]
    assert "INJECTED" not in first
    assert "ENOSPC" in second and "(INJECTED: write:space=2" in second, done


# Copies.


@pytest.mark.parametrize("command", ["cp f g", "cp --reflink=never f g", "cat < f > g", "dd if=f of=g bs=1M status=none", f"'{sys.executable}' -c \"import shutil; shutil.copyfile('f', 'g')\""])
def test_a_copy_that_just_fits_is_not_refused(command: str, under: Under, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 50000)
    done = under("write:space=50000:path=g", "bash", "-c", command)
    assert (done.status, done.err) == (0, "")
    assert done.counts[0][1] == 0
    assert (tmp_path / "g").read_bytes() == b"x" * 50000


COPY = """
import os
source, target = os.open("f", 0), os.open("g", os.O_RDWR | os.O_CREAT)
print(os.copy_file_range(source, target, 1 << 30, 0, 10), os.copy_file_range(source, target, 5, 0, 12))
print(os.copy_file_range(source, target, 1 << 30, 0, 90), os.fstat(target).st_size)
"""


def test_a_copy_to_a_place_in_the_file(under: Under, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 50)
    done = under("write:space=80:path=g", sys.executable, "-c", COPY)
    assert done.out == "50 5\n30 120\n", done.err


def test_a_copy_whose_source_has_a_rule(under: Under, tmp_path: Path) -> None:
    """The call is one of the source, but what it writes is on the disk."""
    (tmp_path / "f").write_bytes(b"x" * 50)
    code = COPY.replace("1 << 30, 0, 10", "40, 0, 10")
    done = under(["write:space=20:path=g", "copy_file_range:delay=1ms:path=f:when=1"], sys.executable, "-c", code)
    assert done.out.splitlines()[0] == "20 5", done.err


# Names.


def test_renaming_onto_itself_gives_nothing_back(under: Under, compiled: Compile, tmp_path: Path) -> None:
    done = under("write:space=20:path=*/f", compiled("io"), "f", "open", "create", "write", "20", "rename", "f", "write", "1")
    assert done.out.splitlines()[-1] == "write -1 ENOSPC"


def test_exchanging_gives_nothing_back(under: Under, tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(b"x" * 20)
    code = (
        "import ctypes, os\nfd = os.open('f', 65)\nos.write(fd, b'x' * 20)\n"
        "assert not ctypes.CDLL(None).renameat2(-100, b'g', -100, b'f', 2)\n"
        "try: os.write(fd, b'x')\nexcept OSError as error: print(error.errno)"
    )
    assert under("write:space=20:path=*/f,*/g", sys.executable, "-c", code).out == "28\n"


def test_truncating_through_a_link_gives_back(under: Under, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("f")
    script = "echo 12345678901234567890 > f; > link; echo 12345678901234567890 > f"
    assert under("write:space=21:path=*/f,*/link", "bash", "-c", script).err == ""


def test_many_processes_fill_it_to_the_byte(under: Under, tmp_path: Path) -> None:
    """They race for the last bytes, and the sum is exact."""
    code = "import os, sys\nfd = os.open(sys.argv[1], 65 | os.O_APPEND)\nfor _ in range(300):\n try: os.write(fd, b'x' * 7)\n except OSError: pass"
    script = f"mkdir disk; for i in 1 2 3 4 5 6; do '{sys.executable}' -c \"$0\" disk/$(($i % 3)) & done; wait"
    under("write:space=10000:path=disk/*", "bash", "-c", script, code)
    assert sum(p.stat().st_size for p in (tmp_path / "disk").iterdir()) == 10000
