"""How the command line ends: alike, whoever has read it."""

from __future__ import annotations

import sys

import pytest

from faultlib import __main__, errors
from faultlib.commands import quick, running
from tests.conftest import Run

QUICK, BY_CLICK = ["run", "--", "true"], ["run", "--label=w1", "--", "true"]


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), EOFError(), BrokenPipeError(32, "Broken pipe"), errors.UsageError("no"), errors.CommandNotFound("gone"),
     SystemExit(7)],
)  # fmt: skip
def test_what_ends_a_run_ends_it_alike(error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(**given: object) -> None:
        raise error

    def end(arguments: list[str]) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["faultlib", *arguments])
        with pytest.raises(SystemExit) as ended:
            __main__.main()
        return ended.value.code, capsys.readouterr().err

    monkeypatch.setattr(running, "run", run)
    assert quick.read(running.OPTIONS, QUICK[1:]) is not None
    assert quick.read(running.OPTIONS, BY_CLICK[1:]) is None
    stdout, stderr = sys.stdout, sys.stderr
    code, said = end(QUICK)
    assert (code, said) == end(BY_CLICK)
    assert code
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)


@pytest.mark.parametrize("arguments", [QUICK, BY_CLICK, ["run", "-e", "write:error=EIO", "--", "true"]])
def test_without_a_standard_error_the_status_is_still_the_commands(faultlib: Run, arguments: list[str]) -> None:
    shell = f"exec '{sys.executable}' -m faultlib \"$@\" 2>&-"
    done = faultlib("run", "-q", "--", "sh", "-c", shell, "sh", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
