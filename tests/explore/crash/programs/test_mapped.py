"""Stores to a mapped file: msync makes those before it durable, nothing puts an order to those between two of them."""

from __future__ import annotations

from tests.explore.crash.programs.lab import ALWAYS, ORDER, POWER_CUT, TORN, UNFINISHED, UNSYNCED, Lab

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


PART = """
import mmap
file = open("m", "r+b")
view = mmap.mmap(file.fileno(), 8192)
view[4096:4100] = b"newB"
view.flush({0}, 4096)
print("stored", flush=True)
"""
PROMISED = """
def check(directory, output):
    assert b"stored" not in output or b"newB" in (directory / "m").read_bytes()
"""


def test_msync_of_another_part(lab: Lab) -> None:
    outcome = lab.write("m", "\0" * 8192).crash_python(PART.format(0), check=PROMISED)
    outcome.assert_found((UNSYNCED, "app.py:6", "app.py:7"))
    assert outcome.violations[0]["profiles"] == ["ext4", "xfs", "posix"]
    lab.write("m", "\0" * 8192).crash_python(PART.format(4096), check=PROMISED).assert_clean()


DATABASE = """
import mmap, os
file = open("m", "r+b")
view = mmap.mmap(file.fileno(), 8192)
journal = os.open("j", os.O_WRONLY | os.O_CREAT)
def store(): view[0:4] = b"newA"
def write(): os.write(journal, b"record")
def sync(): os.fsync(journal)
def flush(): view.flush()
for step in "{0}".split(): globals()[step]()
"""
LOGGED = "! grep -q newA m || grep -q record j"


def test_a_store_before_its_journal_is_durable(lab: Lab) -> None:
    """It can be on disk, and what is to undo it is not; until it is written, no power cut is needed."""
    lab.write("m", "\0" * 8192).write("j", "-" * 6)
    outcome = lab.crash_python(DATABASE.format("write store sync flush"), check=LOGGED)
    outcome.assert_found((ORDER, "app.py:7", "app.py:8"))
    assert outcome.violations[0]["profiles"] == POWER_CUT
    lab.write("m", "\0" * 8192).write("j", "-" * 6)
    outcome = lab.crash_python(DATABASE.format("store write sync flush"), check=LOGGED)
    outcome.assert_found((UNFINISHED, "app.py:7", "app.py:7"))
    assert outcome.violations[0]["profiles"] == ALWAYS


def test_a_store_after_its_journal_is_durable(lab: Lab) -> None:
    lab.write("m", "\0" * 8192).write("j", "-" * 6).crash_python(DATABASE.format("write sync store flush"), check=LOGGED).assert_clean()

TWO = """
import mmap, os
journal, file = os.open("j", os.O_WRONLY), os.open("m", os.O_RDWR)
(wait, go), (done, mapped) = os.pipe(), os.pipe()
if os.fork() == 0:
    view = mmap.mmap(file, 8192); os.write(mapped, b"!")
    {0}
    os.read(wait, 1)
    {1}
    view.flush(); os._exit(0)
os.read(done, 1); {2}
os.write(journal, b"record")
os.fsync(journal)
os.write(go, b"!")
os.wait()
"""
STORE, SEEN = 'view[0:4] = b"newA"', "[*iter(lambda: os.pread(file, 4, 0), b'newA')]"


def test_a_store_that_is_found_after_another_process_has_synced_the_journal(lab: Lab) -> None:
    """It is there before the journal is, and nobody looks at the memory until later."""
    lab.write("m", "\0" * 8192).write("j", "-" * 6)
    outcome = lab.crash_python(TWO.format(STORE, "", SEEN), check=LOGGED)
    outcome.assert_found((ORDER, "app.py:12", "app.py:10"))
    assert outcome.violations[0]["profiles"] == POWER_CUT
    fates = {step["text"]: step["fate"] for step in outcome.violations[0]["timeline"]}
    assert (fates["fsync(j)"], fates["store to the mapped m, 4 bytes at 0"]) == ("never", "kept")


def test_a_store_after_another_process_that_maps_the_file_has_synced_the_journal(lab: Lab) -> None:
    """What that one has seen of the memory counts: nothing was stored yet."""
    lab.write("m", "\0" * 8192).write("j", "-" * 6)
    lab.crash_python(TWO.format("", STORE, "view = mmap.mmap(file, 8192)"), check=LOGGED).assert_clean()
