"""A directory with a program in it, and `faultlib crash` on it: what it finds, in few words."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

TRUNCATED, TORN, RENAMED, UNNAMED = "truncate-then-write", "torn write", "rename before data", "name not durable"
ORDER, UNSYNCED, UNFINISHED, RECOVERY = "order of two files", "lost acknowledged data", "unfinished sequence", "failed recovery"
POWER_CUT = ["ext4", "xfs", "btrfs", "posix"]
ALWAYS = ["kill", *POWER_CUT]
OLD, NEW = "old\n" * 3000, "new\n" * 3000

WHOLE = """
def check(directory, output):
    text = (directory / "f").read_text()
    assert text in ("old\\n" * 3000, "new\\n" * 3000), (len(text), text[:10])
    assert b"done" not in output or text.startswith("new")
"""
"""What somebody expects who changes all of a file: it is the old or the new one, and the new one once that was said."""


class Found(NamedTuple):
    """A finding in few words: where, without directories, and of a program without debug information only its name."""

    kind: str
    lost: str
    kept: str


class Outcome:
    """What the command has said."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.err = status, err
        self.campaign: dict[str, Any] = json.loads(out) if out.startswith("{") else {}
        self.findings: list[dict[str, Any]] = self.campaign.get("findings", [])
        self.violations = [finding for finding in self.findings if finding["severity"] == "violation"]
        self.found = [Found(one["kind"], _place(one["lost"]), _place(one["kept"])) for one in self.violations]

    def assert_clean(self) -> None:
        """No crash does harm; what only the weakest imaginable file system does is a note."""
        assert self.status == 0, (self.status, self.err, self.found)
        assert not self.violations
        assert self.campaign["complete"]
        assert self.campaign["judged"] >= 2

    def assert_found(self, *found: tuple[str, str, str]) -> None:
        """Exactly these violations, in any order."""
        assert sorted(self.found) == sorted(found), self.err
        assert self.status == 1
        assert all(finding["profiles"] for finding in self.findings)


def _place(culprit: dict[str, Any] | None) -> str:
    if not culprit:
        return ""
    name = Path(culprit["file"]).name if culprit["file"] else culprit["place"].partition(" (")[0]
    return f"{name}:{culprit['line']}" if culprit["line"] else name


class Lab:
    """A directory to work in, `here`; checks lie beside it, where no crash changes them."""

    def __init__(self, path: Path) -> None:
        self.here = path / "work"
        self.here.mkdir()
        self.beside = path
        self._campaigns = 0

    def write(self, name: str, text: str) -> Lab:
        """Writes a file."""
        (self.here / name).parent.mkdir(parents=True, exist_ok=True)
        (self.here / name).write_text(text)
        return self

    def prepare(self, script: str) -> Lab:
        """Runs a script before: what it leaves is durable."""
        subprocess.run(["bash", "-ec", script], cwd=self.here, check=True, stdout=subprocess.DEVNULL, timeout=60)
        return self

    def begin(self, check: str) -> tuple[Path, str]:
        """Returns the folder of a new campaign, and its check as the command line has it."""
        self._campaigns += 1
        if "\n" in check:
            module = self.beside / f"checks_{self._campaigns}.py"
            module.write_text(check)
            check = f"{module}:check"
        return self.beside / f"campaign-{self._campaigns}", check

    def crash(self, *command: str, check: str, roots: Sequence[Path] = (), patience_s: float = 150, **options: str) -> Outcome:
        """Explores a command; a check of several lines is the text of a module with a function `check`."""
        folder, check = self.begin(check)
        words = [word for name, value in {"budget": "60s", **options}.items() for word in (f"--{name}", value)]
        words += [word for root in roots for word in ("--root", str(root))]
        done = subprocess.run(
            [sys.executable, "-m", "faultlib", "crash", "--json", "--campaign", folder, "--check", check, *words, "--", *command],
            cwd=self.here, capture_output=True, text=True, timeout=patience_s,
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr)

    def crash_python(self, program: str, *, check: str, patience_s: float = 150, **options: str) -> Outcome:
        """Explores a Python program, which becomes app.py."""
        self.write("app.py", program)
        return self.crash(sys.executable, "-B", "app.py", check=check, patience_s=patience_s, **options)

    def crash_shell(self, script: str, *, check: str = WHOLE, **options: str) -> Outcome:
        """Explores what a shell does."""
        return self.crash("sh", "-c", script, check=check, **options)


def json_tool(name: str) -> str:
    """A check that a file is JSON, as anybody would write it."""
    return f"{shlex.quote(sys.executable)} -m json.tool {name}"
