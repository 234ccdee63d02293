"""Stores to a mapped file: msync makes those before it durable, nothing puts an order to those between two of them."""

from __future__ import annotations

from tests.explore.crash.programs.lab import TORN, Lab

PROGRAM = """
import mmap
file = open("m", "r+b")
view = mmap.mmap(file.fileno(), 8192)
view[0:4] = b"newA"
{0}
view[4096:4100] = b"newB"
view.flush()
"""
CHECK = "! grep -q newB m || grep -q newA m"


def test_two_stores_have_no_order(lab: Lab) -> None:
    outcome = lab.write("m", "\0" * 8192).crash_python(PROGRAM.format(""), check=CHECK)
    outcome.assert_found((TORN, "app.py:8", "app.py:8"))


def test_msync_puts_them_in_order(lab: Lab) -> None:
    lab.write("m", "\0" * 8192).crash_python(PROGRAM.format("view.flush()"), check=CHECK).assert_clean()
