"""Other preloads, sanitizers and allocators in the same process: they go on working, and so do we."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.targets.conftest import Compile, Under

LIBRARIES = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu"
SHELL = ("bash", "-c", "date +%Y; echo x > f; exit 0")


def library(*names: str) -> str:
    for name in names:
        for place in (LIBRARIES, LIBRARIES / "faketime", Path("/usr/libexec/coreutils"), Path("/usr/lib"), Path("/usr/lib/fiu")):
            if (place / name).exists():
                return str(place / name)
    pytest.skip(f"{names[0]} is not installed")


@pytest.mark.parametrize(
    ("names", "variables"),
    [
        (("libjemalloc.so.2",), {}),
        (("fiu_posix_preload.so",), {}),
        (("libfaketime.so.1", "libfaketimeMT.so.1"), {"FAKETIME": "@2001-01-01 00:00:00"}),
        (("libstdbuf.so",), {"_STDBUF_O": "0"}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("program", ["bash", "python"])
def test_another_preload(names: tuple[str, ...], variables: dict[str, str], program: str, under: Under) -> None:
    env = os.environ | {"LD_PRELOAD": library(*names)} | variables
    code = "import sys, time; print(time.gmtime().tm_year, flush=True); s = open('f', 'w'); s.write('x'); s.close()"
    command = SHELL if program == "bash" else (sys.executable, "-c", code)
    done = under("write:error=EIO:path=f", *command, env=env)
    assert re.search("write error: Input/output error|Errno 5", done.err), done
    if "FAKETIME" in variables:
        assert done.out.split()[0] == "2001", done
    assert done.counts[0][1] >= 1


def test_stdbuf_as_a_command(under: Under) -> None:
    done = under("write:error=EIO:path=f", "bash", "-c", "stdbuf -o0 echo x > f; exit 0")
    assert "echo: write error" in done.err


def test_faketime_as_a_command(under: Under) -> None:
    if not shutil.which("faketime"):
        pytest.skip("faketime is not installed")
    done = under("write:error=EIO:path=f", "faketime", "2001-01-01", *SHELL)
    assert done.out == "2001\n"
    assert "Input/output error" in done.err


SANITIZERS = [
    ("gcc", "-fsanitize=address"),
    ("gcc", "-fsanitize=undefined"),
    ("gcc", "-fsanitize=thread"),
    ("clang", "-fsanitize=address"),
    ("clang", "-fsanitize=undefined"),
    ("clang", "-fsanitize=thread"),
]


@pytest.mark.parametrize(("compiler", "option"), SANITIZERS)
def test_a_sanitized_program(compiler: str, option: str, under: Under, compiled: Compile) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    try:
        program = compiled("io", option, compiler=compiler)
    except subprocess.CalledProcessError:
        pytest.skip(f"{compiler} {option} does not link here")
    calls = ["open", "create", "write", "10", "pwrite", "10", "0", "writev", "3", "4", ".", "fsync", "seek", "0", "read", "4", "close"]
    done = under(["write:error=EIO:path=f:call=pwrite", "write:short=5:path=f:call=writev"], program, "f", *calls)
    assert done.out.splitlines()[:6] == ["open 0", "write 10", "pwrite -1 EIO", "writev 5", "fsync 0", "seek 0"], done
    assert done.status == 0, done.err
    assert [fired for _, fired in done.counts] == [1, 1]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_address_sanitizer_still_finds_its_errors(compiler: str, under: Under, compiled: Compile) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    done = under("write:error=EIO:path=f", compiled("overflow", "-fsanitize=address", compiler=compiler))
    assert "heap-buffer-overflow" in done.err
    assert done.out == "write failed\n"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_a_sanitized_child_of_a_plain_program(compiler: str, under: Under, compiled: Compile) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    program = compiled("io", "-fsanitize=address", compiler=compiler)
    done = under("write:error=EIO:path=f", "bash", "-c", f"{program} f open create write 10; exit 0")
    assert done.out == "open 0\nwrite -1 EIO\n", done


def test_a_plain_child_of_a_sanitized_program_has_no_sanitizer(under: Under, compiled: Compile) -> None:
    done = under("write:error=EIO:path=f", compiled("starter", "-fsanitize=address"), "echo x > f; echo $LD_PRELOAD; exit 0")
    assert "write error: Input/output error" in done.err, done
    assert "libasan" not in done.out and "faultlib." in done.out


def needed_runtime(program: str) -> str:
    """The name of the address sanitizer's runtime that the program asks for."""
    listed = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"\[(libasan\.so[^]]*)\]", listed)[0]


NO_LEAKS = {"ASAN_OPTIONS": "detect_leaks=0"}
SHOW = "echo x > f; bash -c 'echo $LD_PRELOAD; exit 0'; exec bash -c 'echo $LD_PRELOAD'"


@pytest.mark.parametrize("place", ["{}", "{}:libm.so.6", "{}:libm.so.6:{}"])
@pytest.mark.parametrize("program", ["plain", "sanitized"])
def test_a_runtime_that_the_user_preloads_goes_to_every_child(place: str, program: str, under: Under, compiled: Compile) -> None:
    """Plain programs may load what is instrumented: a Python with such an extension, say."""
    starter = compiled("starter", "-fsanitize=address")
    preload = place.format(*[needed_runtime(starter)] * 2)
    command = [starter, SHOW] if program == "sanitized" else ["bash", "-c", SHOW]
    done = under("write:error=EIO:path=f", *command, env=os.environ | NO_LEAKS | {"LD_PRELOAD": preload})
    assert "write error: Input/output error" in done.err, done
    assert [re.sub(":[^:]*/faultlib\\.[^:]*$", "", line) for line in done.out.splitlines()] == [preload] * 2


def test_a_sanitized_program_between_plain_ones_leaves_nothing_behind(under: Under, compiled: Compile) -> None:
    starter = compiled("starter", "-fsanitize=address")
    script = f"""{starter} 'exec {starter} "bash -c \\"echo x > f; echo \\\\$LD_PRELOAD\\""'; exit 0"""
    done = under("write:error=EIO:path=f", "bash", "-c", script, env=os.environ | NO_LEAKS)
    assert "write error: Input/output error" in done.err, done
    assert re.fullmatch(r"[^:]*/faultlib\.[^:]*\n", done.out), done
