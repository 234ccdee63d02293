"""Files that are no program, or only part of one, are refused in words before anything runs."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.conftest import Run

TRUE = Path("/bin/true").read_bytes()
ARM = TRUE[:18] + struct.pack("<H", 183 if struct.unpack_from("<H", TRUE, 18)[0] == 62 else 62) + TRUE[20:]

FILES = {
    "text": (b"echo hi\n", 126, "it is no program and has no #! line"),
    "empty": (b"", 126, "it is no program and has no #! line"),
    "bare #!": (b"#!\n", 126, "its #! line names no interpreter"),
    "missing interpreter": (b"#!/nonexistent/interpreter -x\n", 127, "its interpreter /nonexistent/interpreter was not found"),
    "six bytes of ELF": (TRUE[:6], 126, "it is only the beginning of a program"),
    "an ELF header": (TRUE[:64], 126, "it is only the beginning of a program"),
    "2000 bytes of ELF": (TRUE[:2000], 126, "it is only the beginning of a program"),
    "another processor": (ARM, 126, "it is a program for another processor"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_run(name: str, tmp_path: Path, faultlib: Run) -> None:
    content, status, reason = FILES[name]
    file = tmp_path / "program"
    file.write_bytes(content)
    file.chmod(0o755)
    done = faultlib("run", "--", "./program")
    assert done.returncode == status, done
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_script_whose_interpreter_is_relative(tmp_path: Path, faultlib: Run) -> None:
    (tmp_path / "shell").symlink_to("/bin/bash")
    (tmp_path / "script").write_text("#!./shell\necho x > f\n")
    (tmp_path / "script").chmod(0o755)
    done = faultlib("run", "-e", "write:error=EIO:path=f", "--", "./script")
    assert "Input/output error" in done.stderr


def test_a_large_program_is_not_read_whole(tmp_path: Path, faultlib: Run) -> None:
    """A program of 8 GiB, most of it a hole, starts like any other."""
    big = tmp_path / "big"
    big.write_bytes(TRUE)
    big.chmod(0o755)
    with big.open("r+b") as stream:
        stream.truncate(8 << 30)
    assert faultlib("run", "--", "./big").returncode == 0
