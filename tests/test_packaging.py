"""The package as others get it: an sdist, a wheel made from that, installed in places that are not this one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from faultlib.inject import target
from tests.examples import HOUSE, ROOT, environment
from tests.test_readme import checkout

TEAR = ["run", "-e", "write:torn=3:path=*/out", "--", "bash", "-c", "echo hello > out"]
DEADLINE_S = 600


def command(*words: str | Path, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment() | env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}\n{done.stdout}"
    return done.stdout


@dataclass(frozen=True)
class Built:
    """What `python -m build` made in `source`, unpacked."""

    source: Path
    sdist: Path
    wheel: Path
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """`build` makes the wheel from the sdist alone, so whatever the sdist lacks is missed here."""
    folder = tmp_path_factory.mktemp("build")
    source = checkout(folder)
    command(sys.executable, "-m", "build", "--outdir", folder, source, cwd=folder, FAULTLIB_WERROR="1")
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return Built(source, sdist, wheel, files)


def install(python: str | Path, folder: Path, *what: str | Path) -> Path:
    """Makes a virtual environment with the package in it and returns its `faultlib`."""
    command(python, "-m", "venv", folder, cwd=folder.parent)
    command(folder / "bin" / "python", "-m", "pip", "install", "-q", *what, cwd=folder.parent)
    return folder / "bin" / "faultlib"


def tears_a_write(program: Path, folder: Path) -> None:
    done = subprocess.run([program, *TEAR], cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 137, done.stderr
    assert (folder / "out").read_text() == "hel"
    assert "write #1" in done.stderr


def test_wheel_is_for_every_python_from_3_11(built: Built) -> None:
    assert re.fullmatch(r"faultlib-[\d.]+-cp311-abi3-linux_(x86_64|aarch64)\.whl", built.wheel.name)


def test_wheel_has_what_it_needs_and_no_more(built: Built) -> None:
    names = set(built.files)
    assert {"faultlib/libfaultlib_preload.so", "faultlib/_core.abi3.so", "faultlib/py.typed", "faultlib/report/templates/crash.html"} <= names
    assert any(re.fullmatch(r"faultlib-.*\.dist-info/(licenses/)?LICENSE", name) for name in names)
    assert all(name.split("/")[0].startswith("faultlib") for name in names)
    sources = {name for name in names if name.endswith((".c", ".h", ".def", ".map", ".pyc"))}
    assert {Path(name).parent.name for name in sources} <= {"bench"}, "what bench compiles, and nothing else"


def test_wheel_knows_nothing_of_where_it_was_built(built: Built) -> None:
    assert not [name for name, data in built.files.items() if str(built.source.parent).encode() in data]


def test_sdist_has_sources_tests_and_examples(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"csrc/abi.h", "csrc/ops.def", "csrc/build_core.py", "csrc/wrap/file.c", "setup.py", "LICENSE", ".ci/packages"} <= names
    assert {"tests/conftest.py", "docs/rules.md", f"experiments/coordination/{HOUSE.name}.py"} <= names
    assert {"faultlib/report/templates/report.css", "tests/report/gold/campaign.html"} <= names
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc")) or "_cache" in name]


def test_shim_depends_on_libc_alone_and_exports_only_what_it_intercepts(built: Built, tmp_path: Path) -> None:
    shim = tmp_path / "shim.so"
    shim.write_bytes(built.files["faultlib/libfaultlib_preload.so"])
    assert set(target.inspect(str(shim)).needed) <= {"libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    defined = {line.split()[-1].split("@")[0] for line in command("nm", "-D", "--defined-only", shim, cwd=tmp_path).splitlines()}
    assert defined <= set(re.findall(r"^FL_(?:SYM|OWN)\((\w+),", (ROOT / "csrc" / "ops.def").read_text(), re.MULTILINE))
    assert {"write", "openat64", "vfork", "__open_2", "syscall"} <= defined


def test_installed_where_the_path_has_spaces(built: Built, tmp_path: Path) -> None:
    tears_a_write(install(sys.executable, tmp_path / "a place with spaces", built.wheel), tmp_path)


def test_editable(built: Built, tmp_path: Path) -> None:
    program = install(sys.executable, tmp_path / "venv", "-e", checkout(tmp_path))
    tears_a_write(program, tmp_path)


def test_without_a_compiler_the_build_says_what_it_needs(tmp_path: Path) -> None:
    build = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", tmp_path / "lib"]
    env = environment() | {"CC": "no-such-compiler"}
    done = subprocess.run(build, cwd=checkout(tmp_path), env=env, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 1
    assert "command 'no-such-compiler' failed" in done.stderr
    assert "gcc libc6-dev python3-dev" in done.stderr


def other_pythons() -> list[str]:
    """Interpreters on this machine that the package is for, but for the one that runs the tests."""
    places = [Path(folder) for folder in os.get_exec_path()] + sorted(Path.home().glob(".pyenv/versions/*/bin"))
    found: dict[str, str] = {}
    for version in ("3.11", "3.12", "3.13", "3.14"):
        for program in (place / f"python{version}" for place in places):
            if program.exists() and program.parent.name != "shims" and version != "{}.{}".format(*sys.version_info):
                found.setdefault(version, str(program))
    return list(found.values())


@pytest.mark.parametrize("python", other_pythons(), ids=lambda path: Path(path).name)
def test_the_same_wheel_in_another_python(built: Built, tmp_path: Path, python: str) -> None:
    tears_a_write(install(python, tmp_path / "venv", built.wheel), tmp_path)
