"""What the standard alone allows: a file that has grown holds what was on its blocks before."""

from __future__ import annotations

from tests.explore.crash.programs.lab import Lab

PROGRAM = """
with open("log", "ab") as log:
    log.write(b"x" * 3000)
"""
CHECK = """
def check(directory, output):
    data = (directory / "log").read_bytes()
    assert data == b"x" * len(data.rstrip(b"\\0")) + bytes(len(data) - len(data.rstrip(b"\\0"))), "neither records nor their end"
"""


def test_a_log_whose_reader_knows_only_zeros(lab: Lab) -> None:
    """It is a note, as there is no such file system; and said in words."""
    outcome = lab.write("log", "x" * 100).crash_python(PROGRAM, check=CHECK)
    outcome.assert_clean()
    (note,) = outcome.findings
    assert (note["severity"], note["profiles"]) == ("note", ["posix"])
    assert note["title"] == "log can hold garbage: it has its new size before its data are there"
    assert " of them garbage, then (100 bytes before the run, 3100 at its end)" in note["impact"]


def test_what_fails_by_less_is_not_blamed_on_garbage(lab: Lab) -> None:
    strict = CHECK.replace(" + bytes(len(data) - len(data.rstrip(b\"\\0\")))", "")
    outcome = lab.write("log", "x" * 100).crash_python(PROGRAM, check=strict)
    assert [(found["severity"], found["profiles"]) for found in outcome.findings] == [("violation", ["ext4", "posix"])]
