"""doctor: what it says of this machine, of programs that can and cannot be instrumented, and of machines that are not this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from faultlib.inject import doctor, folder, target
from faultlib.inject.doctor import Check, Verdict
from tests.conftest import Run


def named(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def compiled(folder: Path, *flags: str, compiler: str = "cc") -> Path:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    (folder / "tiny.c").write_text("int main(void) { return 0; }\n")
    subprocess.run([compiler, "-o", folder / "tiny", folder / "tiny.c", *flags], check=True)
    return folder / "tiny"


def test_this_machine_can_be_worked_on(faultlib: Run) -> None:
    done = faultlib("doctor")
    assert done.returncode == 0, done.stdout
    assert "fatal" not in done.stdout
    assert "the shim wakes up and finds its session" in done.stdout


def test_every_entry_that_this_libc_has_is_recognised() -> None:
    check = named(doctor.examine())["entry patch"]
    assert check.verdict == "ok", check
    assert {"write", "open64", "__open64_nocancel", "readdir64", "execve"} <= set(check.finding.split())


def test_directories_that_libc_opens_for_itself_are_seen(faultlib: Run, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    done = faultlib("run", "-e", "open:error=EIO:path=d", "--", "ls", "d")
    assert done.returncode == 2
    assert "Input/output error" in done.stderr


def test_a_python_program(faultlib: Run, tmp_path: Path) -> None:
    script, python = tmp_path / "script", tmp_path / "python3"
    python.symlink_to(sys.executable)  # under a name without spaces, wherever the checkout lies
    script.write_text(f"#!{python}\n")
    script.chmod(0o755)
    found = named(doctor.examine(str(script)))
    assert Path(found["program"].finding).name.startswith("python")
    assert named(doctor.examine(sys.executable))["Python lines"].finding == "CPython {}.{}".format(*sys.version_info)


def test_json(faultlib: Run) -> None:
    report = json.loads(faultlib("doctor", "--json", "--", "true").stdout)
    assert report["instrumentable"] is True
    assert {"name": "ptrace", "verdict": "ok"}.items() <= next(c for c in report["checks"] if c["name"] == "ptrace").items()


def test_a_static_program_is_126(faultlib: Run, tmp_path: Path) -> None:
    done = faultlib("doctor", "--", str(compiled(tmp_path, "-static")))
    assert done.returncode == 126
    assert "statically linked" in done.stdout
    assert "-> build it dynamically" in done.stdout


def test_a_program_on_musl_is_126(faultlib: Run, tmp_path: Path) -> None:
    done = faultlib("doctor", "--json", "--", str(compiled(tmp_path, compiler="musl-gcc")))
    assert done.returncode == 126
    assert "is not glibc's loader" in done.stdout


def test_another_users_setuid_program_is_126(faultlib: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = compiled(tmp_path)
    program.chmod(0o4755)
    assert named(doctor.examine(str(program)))["program"].verdict == "ok"
    monkeypatch.setattr(target.os, "geteuid", lambda: 12345)
    assert "setuid" in named(doctor.examine(str(program)))["program"].finding


def test_file_capabilities_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = compiled(tmp_path)
    monkeypatch.setattr(target.os, "listxattr", lambda file: ["security.capability"])
    monkeypatch.setattr(target.os, "geteuid", lambda: 12345)
    assert "capabilities" in (target.inspect(str(program)).why_not or "")
    monkeypatch.setattr(target.os, "geteuid", lambda: 0)
    assert target.inspect(str(program)).why_not is None


def test_a_program_with_a_libc_of_its_own_is_probed_on_that(tmp_path: Path) -> None:
    """A copy of the loader and libc in another place, as programs bring them along."""
    image = target.inspect(shutil.which("true") or "")
    assert image.interpreter
    for file in (Path(image.interpreter), doctor.loaded_libraries(image)[0]["libc.so.6"]):
        shutil.copy(file, tmp_path / file.name)
    loader = tmp_path / Path(image.interpreter).name
    program = compiled(tmp_path, f"-Wl,--dynamic-linker={loader}", f"-Wl,-rpath,{tmp_path}")
    found = named(doctor.examine(str(program)))
    assert str(tmp_path / "libc.so.6") in found["libc"].finding
    assert found["session"].verdict == found["entry patch"].verdict == "ok"


def test_a_program_whose_libraries_lie_beside_it(faultlib: Run, tmp_path: Path) -> None:
    """As Java's: the rpath is relative to where the file is, and the name on the command line is a link from elsewhere."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "f.c").write_text("int f(void) { return 0; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "lib" / "libf.so", tmp_path / "f.c"], check=True)
    (tmp_path / "main.c").write_text("int f(void);\nint main(void) { return f(); }\n")
    program = tmp_path / "lib" / "main"
    paths = ["-L", str(tmp_path / "lib"), "-Wl,-rpath,$ORIGIN"]
    subprocess.run(["cc", "-o", program, tmp_path / "main.c", *paths, "-lf"], check=True)
    (tmp_path / "link").symlink_to(program)
    found = named(doctor.examine(str(tmp_path / "link")))
    assert {check.verdict for check in found.values() if check.name in ("libc", "entry patch", "session", "program")} == {"ok"}
    assert "libraries" not in found
    (tmp_path / "lib" / "libf.so").unlink()
    found = named(doctor.examine(str(tmp_path / "link")))
    assert (found["libraries"].verdict, found["libraries"].finding) == ("problem", "not found: libf.so")
    assert found["libc"].verdict == found["entry patch"].verdict == "ok"


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"garbage", "run it by its interpreter"), (b"\x7fELF\x02\x01", "build or install it again"),
        (b"\x7fELF\x01\x01" + bytes(60), "build it for"), (b"#!\n", "give it a first line"),
    ],
)  # fmt: skip
def test_what_is_no_program_gets_advice_that_helps(tmp_path: Path, content: bytes, advice: str) -> None:
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "file").chmod(0o755)
    check = named(doctor.examine(str(tmp_path / "file")))["program"]
    assert check.verdict == "fatal"
    assert advice in check.advice
    assert "aarch64" not in check.advice or os.uname().machine == "aarch64"


def test_a_program_that_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = compiled(tmp_path)

    def refuse(file: Path, depth: int = 0, cwd: object = None) -> target.Image:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(target, "inspect", refuse)
    monkeypatch.setattr(doctor.os, "access", lambda file, mode: mode != os.R_OK)
    check = next(doctor.program(program))
    assert (check.verdict, "may not be read" in check.finding) == ("problem", True)


def test_missing_program(faultlib: Run) -> None:
    assert faultlib("doctor", "--", "no-such-command-here").returncode == 127


def test_a_shim_that_does_not_wake_up_is_fatal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiled(tmp_path, "-shared", "-fPIC")
    monkeypatch.setattr(folder, "SHIM", str(tmp_path / "tiny"))
    assert named(doctor.examine())["session"].verdict == "fatal"


@pytest.mark.parametrize(
    ("check", "verdict", "word"),
    [
        (doctor.kernel("6.1.0-18-amd64"), "ok", "6.1.0"),
        (doctor.kernel("5.9"), "ok", "5.9"),
        (doctor.kernel("5.8.18"), "fatal", "5.8.18"),
        (doctor.kernel("strange"), "fatal", "strange"),
        (doctor.architecture("x86_64"), "ok", "x86_64"),
        (doctor.architecture("aarch64"), "problem", "stdio"),
        (doctor.architecture("riscv64"), "fatal", "riscv64"),
        (doctor.shim(Path("/missing.so")), "fatal", "missing"),
        (doctor.libc_version((2, 36), Path("/lib/libc.so.6")), "ok", "glibc 2.36, /lib/libc.so.6"),
        (doctor.libc_version((2, 34), Path("/lib/libc.so.6")), "ok", "2.34"),
        (doctor.libc_version((2, 31), Path("/lib/libc.so.6")), "problem", "older than 2.34"),
        (doctor.libc_version(None, Path("/lib/libc.so.6")), "problem", "unknown"),
        (doctor.preload(""), "ok", "not set"),
        (doctor.preload("libeatmydata.so"), "note", "libeatmydata.so is kept and comes first"),
        (doctor.selinux(None), "ok", "not there"),
        (doctor.selinux("0"), "ok", "permissive"),
        (doctor.selinux("1"), "note", "enforcing"),
        (doctor.yama(None), "ok", "not used"),
        (doctor.yama("3"), "ok", "ptrace_scope = 3"),
        (doctor.entry_patch(["write"], []), "ok", "write"),
        (doctor.entry_patch([], ["write"]), "problem", "none"),
        (doctor.entry_patch(["read"], ["write"]), "problem", "not write"),
        (doctor.io_uring({"liburing.so.2": Path("/usr/lib/liburing.so.2")}, "0"), "problem", "liburing"),
        (doctor.io_uring({"liburing.so.2": Path("/usr/lib/liburing.so.2")}, "2"), "ok", "switched off"),
        (doctor.io_uring({"libc.so.6": Path("/lib/libc.so.6")}, None), "ok", "not linked"),
        (doctor.native_aio({"libaio.so.1": Path("/usr/lib/libaio.so.1")}), "problem", "libaio"),
        (doctor.native_aio({"libc.so.6": Path("/lib/libc.so.6")}), "ok", "not linked"),
    ],
)
def test_other_machines(check: Check, verdict: Verdict, word: str) -> None:
    assert check.verdict == verdict
    assert word in check.finding
    assert check.advice or check.verdict == "ok", "whatever is not fine comes with what to do"


def test_a_shim_that_may_not_be_executed_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "statvfs", lambda file: SimpleNamespace(f_flag=os.ST_NOEXEC))
    assert "noexec" in doctor.shim(Path(folder.SHIM)).finding
    assert doctor.shim(Path(folder.SHIM)).verdict == "fatal"


def test_where_sessions_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spaced = tmp_path / "a b"
    spaced.mkdir()
    monkeypatch.setattr(folder, "base", lambda: spaced)
    assert doctor.session_folder().verdict == "fatal"
    monkeypatch.setattr(folder, "base", lambda: tmp_path)
    assert doctor.session_folder().verdict == "ok"
    monkeypatch.delenv("FAULTLIB_DIR")
    assert doctor.session_folder().verdict == "note"
    monkeypatch.setattr(folder, "base", lambda: tmp_path / "missing")
    assert doctor.session_folder().verdict == "fatal"


def test_forbidden_namespaces_are_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_can_unshare", lambda flags: False)
    assert {doctor.namespace(name).verdict for name in ("user", "mount", "pid")} == {"note"}
    assert doctor.instrumentable(list(doctor.machine()))
