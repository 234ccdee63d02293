"""Everything that is wrong on a command line: exit 2 and a reason, and nothing has run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import faultlib as api
from faultlib.commands import launch
from tests.conftest import Run

TOUCH = ["--", "touch", "ran"]
LIVE = "-e", "write:error=EIO:path=x"
REFUSED: list[tuple[list[str], str]] = [
    (["run"], "Missing argument"),
    (["run", "--"], "Missing argument"),
    (["run", "--no-such-option", *TOUCH], "No such option"),
    (["run", "--quite", *TOUCH], "--quiet"),
    (["run", "-e"], "requires an argument"),
    (["run", "-e", "", *TOUCH], "empty"),
    (["run", "-e", "wriet:error=EIO", *TOUCH], "did you mean write?"),
    (["run", "-e", "write", *TOUCH], "write"),
    (["run", "-e", "write:error=ENOSPCC", *TOUCH], "did you mean ENOSPC?"),
    (["run", "-e", "write:error=ENOSPC:wehn=3", *TOUCH], "did you mean when?"),
    (["run", "-e", "flock:error=ENOSPC", *TOUCH], "ENOSPC"),
    (["run", "-e", "rename:short=3", *TOUCH], "short"),
    (["run", "-e", "open:return=3", *TOUCH], "return"),
    (["run", "-e", "connect:error=EIO", *TOUCH], "not intercepted yet"),
    (["run", *LIVE, "-e", "open:error=EIO:after=nobody", *TOUCH], "no rule is named nobody"),
    (["run", "-e", "open:error=EIO:name=a", "-e", "read:error=EIO:name=a", *TOUCH], "another rule is named a"),
    (["run", *[word for i in range(65) for word in ("-e", f"write:error=EIO:path=x{i}")], *TOUCH], "64 live rules"),
    (["run", *LIVE, "--seed", "-1", *TOUCH], "--seed"),
    (["run", *LIVE, "--seed", "x", *TOUCH], "--seed"),
    (["run", *LIVE, "--seed", str(1 << 64), *TOUCH], "--seed"),
    (["run", *LIVE, "--label", "x" * 32, *TOUCH], "a label has at most 31 bytes"),
    (["run", *LIVE, "--label", "", *TOUCH], "a label is not empty"),
    (["trace", "--label", "", *TOUCH], "a label is not empty"),
    (["run", "--require-fired", *TOUCH], "--require-fired: there is no rule that could fire"),
    (["run", "--session", "a", "--require-fired", *TOUCH], "--require-fired: there is no rule that could fire"),
    (["run", *LIVE, "--rules", "missing.yaml", *TOUCH], "does not exist"),
    (["run", *LIVE, "--rules", ".", *TOUCH], "is a directory"),
    (["run", *LIVE, "--rules", "bad.yaml", *TOUCH], "bad.yaml:2"),
    (["run", *LIVE, "--rules", "binary.yaml", *TOUCH], "binary.yaml"),
    (["run", *LIVE, "--rules", "deep.yaml", *TOUCH], "deep.yaml: is nested too deeply"),
    (["run", *LIVE, "--rules", "empty.yaml", *TOUCH], "empty.yaml: there is no rule in it"),
    (["explain", "--rules", "empty.yaml"], "no rule to explain"),
    (["run", *LIVE, "--json", ".", *TOUCH], "is a directory"),
    (["run", *LIVE, "--json", "missing/r.json", *TOUCH], "there is no directory missing"),
    (["run", *LIVE, "--json", "/proc/r.json", *TOUCH], "cannot be written"),
    (["run", *LIVE, "--session", "a b", *TOUCH], "a session's name is"),
    (["run", *LIVE, "--session", "list", *TOUCH], "a command of faultlib ctl"),
    (["run", *LIVE, "--session", "12", *TOUCH], "a session's name is"),
    (["trace", "--path", "a//b", *TOUCH], "names are compared without empty parts; did you mean a/b?"),
    (["trace", "--path", "", *TOUCH], "a glob is missing"),
    (["trace", "--path", "[z-a]", *TOUCH], "[z-a] is an empty set"),
    (["trace", "--path", "a,!b", *TOUCH], "! negates the whole list"),
    (["trace", "--path", "!*", *TOUCH], "leaves nothing"),
    (["trace", "--path", "'a", *TOUCH], "this quote is not closed"),
    (["rnu", *TOUCH], "Did you mean run?"),
    (["xyzzy"], "No such command"),
    (["ctl", "lst"], "Did you mean list?"),
    (["ctl", "name", "lst"], "Did you mean list?"),
    (["ctl", "name"], "say what to do with the session"),
    (["ctl", "list", "more"], "unexpected extra argument"),
    (["ctl", "list"], "no session is running"),
    (["ctl", "name", "list"], "no session is called name"),
    (["ctl", "add"], "Say which RULE to add"),
    (["ctl", "add", "write:eror=EIO"], "did you mean error?"),
    (["ctl", "add", "--rules", "missing.yaml"], "does not exist"),
    (["ctl", "remove"], "Missing argument"),
    (["ctl", "clock", "offset=soon"], "offset=soon"),
    (["ctl", "clock", "wobble=1h"], "wobble"),
    (["ctl", "reset", "all"], "unexpected extra argument"),
    (["explain"], "no rule to explain"),
    (["explain", "write:eror=EIO"], "did you mean error?"),
]


@pytest.mark.parametrize(("arguments", "reason"), REFUSED, ids=[" ".join(words)[:60] for words, _ in REFUSED])
def test_refused_before_anything_runs(faultlib: Run, tmp_path: Path, arguments: list[str], reason: str) -> None:
    (tmp_path / "bad.yaml").write_text("- write:error=EIO\n- write:eror=EIO\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\x00\xfe")
    (tmp_path / "deep.yaml").write_text("[" * 3000)
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    done = faultlib(*arguments)
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("command", "status", "reason"),
    [
        (["no-such-command"], 127, "no-such-command: the command was not found"), (["./missing"], 127, "was not found"),
        ([""], 127, "'': the command was not found"), (["."], 126, ".: is a directory"),
        (["folder"], 127, "folder: the command was not found"), (["./plain/x"], 127, "was not found"),
        (["./folder"], 126, "./folder: is a directory"), (["./plain"], 126, "./plain: permission denied: ./plain is not executable"),
        (["inner"], 126, "inner: permission denied: folder/inner is not executable"), (["/dev/null"], 126, "is not executable"),
        (["./wrong"], 127, "./wrong: its interpreter /no/where was not found"), (["./to-folder"], 126, "its interpreter /tmp is a directory"),
        (["./to-plain"], 126, "its interpreter plain is not executable"), (["./garbage"], 126, "it is no program and has no #! line"),
        (["./nothing"], 126, "its #! line names no interpreter"), (["./loop"], 126, "its #! lines lead to too many scripts"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["run", "doctor"])
def test_a_command_that_cannot_be_run(
    faultlib: Run, tmp_path: Path, verb: str, command: list[str], status: int, reason: str
) -> None:
    """As shells have it: 127 for what is not there, 126 for what is."""
    (tmp_path / "folder").mkdir()
    for name in ("plain", "folder/inner"):
        (tmp_path / name).write_text("echo")
    lines = {"wrong": "#!/no/where", "to-folder": "#!/tmp", "to-plain": "#!plain", "nothing": "#!", "loop": "#!./loop", "garbage": "x"}
    for name, line in lines.items():
        (tmp_path / name).write_text(line + "\n")
        (tmp_path / name).chmod(0o755)
    env = os.environ | {"PATH": f"folder:{os.environ['PATH']}"}
    done = faultlib(verb, *(LIVE if verb == "run" else ()), "--", *command, env=env)
    assert done.returncode == status, done.stderr
    said = " ".join((done.stdout + done.stderr).split())
    assert reason in said
    assert "Traceback" not in said


def test_what_the_kernel_does_not_execute_is_126() -> None:
    with api.Session() as session, pytest.raises(api.NotExecutable, match="true: argument list too long"):
        launch.launch(session, ["true", "x" * (1 << 17)])  # MAX_ARG_STRLEN of execve(2)
