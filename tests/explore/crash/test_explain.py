"""Which cause a failing state is put down to, and that none hides another."""

from __future__ import annotations

import sys

import pytest

from faultlib.errors import UsageError
from faultlib.explore.finding import Finding
from tests.explore.crash.conftest import Explore

BOTH = """
import os
for name in ("a", "b"):
    with open(name + ".tmp", "w") as file:
        file.write("new " + name)
    {rename}
"""
FILES = {"a": "old a", "b": "old b"}
VERSIONS = "def versions():\n    for name in 'ab':\n        assert open(name).read() in ('old ' + name, 'new ' + name), name\n"


def told(findings: tuple[Finding, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.kind, one.severity, one.profiles) for one in findings]


def test_what_is_suspected_does_not_hide_what_is_sure(campaign: Explore) -> None:
    """A new file that is cut short is a suspicion, unless what it was made from is gone."""
    code = "import os\ndata = open('old').read()\nwith open('new', 'w') as file:\n    file.write(data)\n{0}\nos.unlink('old')\n"
    found = campaign(code.format(""), {"old": "precious"}).findings
    assert told(found)[0][:2] == ("order of two files", "violation")
    assert found[0].lost and found[0].lost.place == "program.py:3" and found[0].kept and found[0].kept.place == "program.py:6"
    assert [one.severity for one in found[1:]] == ["suspicion"]
    synced = "    file.flush()\n    os.fsync(file.fileno())\nos.fsync(os.open('.', os.O_RDONLY))"
    found = campaign(code.format(synced), {"old": "precious"}, folder="synced").findings
    assert [one.severity for one in found] == ["suspicion"]


def test_the_strongest_profile_does_not_depend_on_which_are_asked_for(campaign: Explore) -> None:
    program = BOTH.format(rename="os.rename(name + '.tmp', name)")
    files = {**FILES, "checks.py": VERSIONS}
    every = campaign(program, files, check="checks:versions").findings
    assert told(every) == [("rename before data", "violation", ("ext4", "xfs", "btrfs", "posix"))]
    for profile in ("ext4", "xfs", "btrfs"):
        some = campaign(program, files, check="checks:versions", profiles=(profile,), folder=profile).findings
        assert told(some) == [("rename before data", "violation", (profile,))]


def test_a_cause_does_not_hide_another_on_other_lines(campaign: Explore) -> None:
    program = "import os\n" + "".join(
        f"with open('{name}.tmp', 'w') as file:\n    file.write('new {name}')\nos.rename('{name}.tmp', '{name}')\n" for name in "ab"
    )
    found = campaign(program, {**FILES, "checks.py": VERSIONS}, check="checks:versions", profiles=("ext4",)).findings
    assert [one.kept and one.kept.place for one in found] == ["program.py:4", "program.py:7"]


def test_data_and_name_of_one_file_are_two_causes(campaign: Explore) -> None:
    code = """
import os
fd = os.open(".", os.O_TMPFILE | os.O_WRONLY)
os.write(fd, b'{"a": 1}')
os.link(f"/proc/self/fd/{fd}", "out.json", src_dir_fd=os.open("/", os.O_PATH))
print("saved")
"""
    found = campaign(code, acks=("saved",)).findings
    assert [(one.kind, one.lost and one.lost.place) for one in found] == [
        ("rename before data", "program.py:4"), ("name not durable", "program.py:5")
    ]  # fmt: skip


def test_two_places_of_a_file_want_a_sync_in_between(campaign: Explore) -> None:
    code = "import os\nfd = os.open('db', os.O_RDWR)\nos.pwrite(fd, b'data', 8192)\n{0}\nos.pwrite(fd, b'head', 0)\n"
    check = "def ordered():\n    text = open('db').read()\n    assert text[:4] != 'head' or text[8192:8196] == 'data'\n"
    files = {"db": "." * 9000, "checks.py": check}
    (finding,) = campaign(code.format(""), files, check="checks:ordered").findings
    assert finding.missing == "fdatasync of db after program.py:3 and before program.py:5"
    assert not campaign(code.format("os.fdatasync(fd)"), files, check="checks:ordered", folder="synced").findings


def test_two_stores_to_a_mapping_want_an_msync_in_between(campaign: Explore) -> None:
    code = """
import mmap
file = open('db', 'r+b')
view = mmap.mmap(file.fileno(), 0)
view[8192:8196] = b'data'
{0}
view[0:4] = b'head'
view.flush(0, 4096)
"""
    check = "def ordered():\n    text = open('db').read()\n    assert text[:4] != 'head' or text[8192:8196] == 'data'\n"
    files = {"db": "." * 9000, "checks.py": check}
    (finding,) = campaign(code.format(""), files, check="checks:ordered").findings
    assert finding.missing == "msync of the part of db that the one store is to, before the other is made"
    assert not campaign(code.format("view.flush(8192, 808)"), files, check="checks:ordered", folder="synced").findings


def test_a_record_that_is_appended_wants_to_be_told_from_a_part_of_it(campaign: Explore) -> None:
    code = "with open('log', 'a') as file:\n    file.write('b' * 9000 + ';')\n"
    check = "def whole():\n    assert open('log').read().endswith(';')\n"
    (finding,) = campaign(code, {"log": "a;", "checks.py": check}, check="checks:whole", profiles=("kill", "ext4")).findings
    assert finding.title == "log can end in the middle of what is appended to it"
    assert finding.missing.startswith("a length or a checksum in what is appended at program.py:2, and a reader")


IN_PLACE = "with open('conf', 'w') as file:\n    file.write('new')\n"


@pytest.mark.parametrize("check", ["grep -q new conf", f"'{sys.executable}' -c \"exit(open('conf').read() != 'new')\"", "checks:new"])
def test_a_check_that_fails_before_the_run_finds_what_is_worse(check: str, campaign: Explore) -> None:
    files = {"conf": "old", "checks.py": "def new():\n    return open('conf').read() == 'new'\n"}
    found = campaign(IN_PLACE, files, check=check)
    assert [one.kind for one in found.findings] == ["truncate-then-write"]
    assert any("as good counts what looks the same to it: " in note for note in found.not_covered)


def test_a_check_that_says_what_it_fails_for_goes_by_that_too(campaign: Explore) -> None:
    check = f"'{sys.executable}' -c \"import json; json.load(open('conf'))\""
    found = campaign(IN_PLACE.replace("'new'", "'{{}}'").replace("{{}}", "{}"), check=check)
    assert [one.kind for one in found.findings] == ["truncate-then-write"]


def test_a_check_that_fails_before_and_tells_nothing_is_refused(campaign: Explore) -> None:
    code = "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()\nexit(open('conf').read() != 'new')\n"
    with pytest.raises(UsageError, match="fails before the run already, and says nothing but 'status 1'"):
        campaign(IN_PLACE, {"conf": "old", "check.py": code}, check=f"'{sys.executable}' check.py")


@pytest.mark.parametrize("option", ["check", "recover"])
def test_an_empty_command_is_refused(option: str, campaign: Explore) -> None:
    with pytest.raises(UsageError, match=f"--{option} '': this is empty"):
        campaign(IN_PLACE, **{option: ""})


def test_who_is_left_behind_is_waited_for_or_named(campaign: Explore) -> None:
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep({0})\n    open('conf', 'w').write('new')\n    os._exit(0)\n"
    waited = campaign(code.format(0.3), {"conf": "old"}, check="test -s conf")
    assert [one.kind for one in waited.findings] == ["truncate-then-write"] and not waited.outlived
    left = campaign("open('other', 'w').write('1')\n" + code.format(60), {"conf": "old"}, check="true", folder="left")
    assert len(left.outlived) == 1 and left.is_inconclusive
    assert "went on when the command had ended: what it did later was not recorded" in "".join(left.not_covered)


def test_what_is_left_undone_between_two_files_is_a_cause_of_its_own(campaign: Explore) -> None:
    """The first file is in the middle of its change, then it is done, and the second is not."""
    code = "def put(name):\n    with open(name, 'w') as file:\n        file.write('new')\nput('a')\nput('b')\n"
    check = "def same():\n    assert open('a').read() == open('b').read()\n"
    found = campaign(code, {"a": "old", "b": "old", "checks.py": check}, check="checks:same", profiles=("kill",)).findings
    assert {(one.kind, one.files) for one in found} >= {("truncate-then-write", ("a",)), ("unfinished sequence", ("a", "b"))}


def test_of_the_names_that_one_fsync_would_save_the_new_one_is_named(campaign: Explore) -> None:
    code = """
import os
fd = os.open("new.tmp", os.O_WRONLY | os.O_CREAT)
os.write(fd, b"1")
os.fsync(fd)
os.rename("new.tmp", "new")
os.unlink("old")
print("saved")
"""
    (finding,) = campaign(code, {"old": "0"}, acks=("saved",), profiles=("ext4",)).findings
    assert (finding.kind, finding.lost and finding.lost.place) == ("name not durable", "program.py:6")
    assert finding.title == "new can be gone although it was acknowledged: its name is not durable"
    assert finding.missing == "fsync of the directory . after program.py:6 and before program.py:8"


def test_each_file_has_causes_of_its_own_where_there_is_no_check(campaign: Explore) -> None:
    """One file is in the middle of its change while two others are changed, one of them moved out of the way."""
    code = """
import os
first = open('first', 'w')
with open('second', 'w') as file:
    file.write('new')
os.unlink('third')
os.rename('fourth', 'third')
first.write('new')
first.close()
"""
    found = campaign(code, dict.fromkeys(("first", "second", "third", "fourth"), "old"), profiles=("kill",)).findings
    assert {(one.kind, one.kept and one.kept.place) for one in found} == {
        ("truncate-then-write", "program.py:3"), ("truncate-then-write", "program.py:4"), ("unfinished sequence", "program.py:6")
    }  # fmt: skip


def test_many_files_have_one_cause_if_the_lines_are_the_same(campaign: Explore) -> None:
    names = [f"{one}{other}" for one in "abcdef" for other in "abcdef"]
    code = f"for name in {names}:\n    with open(name, 'w') as file:\n        file.write('new')\n"
    (finding,) = campaign(code, dict.fromkeys(names, "old"), profiles=("kill", "ext4")).findings
    assert (finding.kind, finding.kept and finding.kept.place) == ("truncate-then-write", "program.py:2")


JOURNAL = """
import os
old = os.open('db', os.O_RDWR)
undo = os.open('undo', os.O_RDWR | os.O_CREAT)
os.write(undo, os.pread(old, 9000, 0))
{first}
os.fsync(os.open('.', os.O_RDONLY))
os.pwrite(old, b'n' * 9000, 0)
{second}
os.unlink('undo')
os.fsync(os.open('.', os.O_RDONLY))
print('done', flush=True)
"""
UNDO = """
import os
if os.path.exists('undo'):
    data = open('undo', 'rb').read()
    if len(data) == 9000 and b'\\0' not in data:
        with open('db', 'r+b') as file:
            file.write(data)
"""
WHOLE = """
def whole(place, output):
    data = (place / 'db').read_bytes()
    assert data == b'n' * 9000 or (data == b'o' * 9000 and b'done' not in output), 'a mixture'
"""


@pytest.mark.parametrize(
    ("first", "second", "missing"),
    [
        ("os.fsync(undo)", "os.fsync(old)", []),
        ("", "os.fsync(old)", ["fsync of undo after program.py:5 and before program.py:8"]),
        ("os.fsync(undo)", "", ["fsync of db after program.py:8 and before program.py:10"]),
    ],
)
def test_a_journal_and_one_large_write(first: str, second: str, missing: list[str], campaign: Explore) -> None:
    """A part of the write is there, and nothing of the journal; or the journal is gone, and nothing of the write: one sync for each."""
    files = {"db": "o" * 9000, "checks.py": WHOLE, "undo.py": UNDO}
    found = campaign(JOURNAL.format(first=first, second=second), files, check="checks:whole", recover=f"'{sys.executable}' undo.py")
    assert [one.missing for one in found.findings if one.severity == "violation"] == missing


def test_a_program_that_does_not_start_again_hides_no_damage(campaign: Explore) -> None:
    code = "import os\nwith open('conf.tmp', 'x') as file:\n    file.write('new')\nos.rename('conf.tmp', 'conf')\n"
    found = campaign(code, {"conf": "old"}).findings
    assert [(one.kind, one.profiles[0]) for one in found] == [("failed recovery", "kill"), ("rename before data", "ext4")]


def test_of_two_names_the_one_that_stays_is_named(campaign: Explore) -> None:
    code = "import os\nos.link('conf', 'conf~')\nwith open('conf', 'w') as file:\n    file.write('new')\nos.unlink('conf~')\n"
    (finding,) = [one for one in campaign(code, {"conf": "old"}, profiles=("kill",)).findings if one.kind != "failed recovery"]
    assert finding.title.startswith("conf can be left empty") and finding.files == ("conf",)


def test_where_a_function_does_it_for_others_these_are_named(campaign: Explore) -> None:
    code = """
import os
def put(name, text, place):
    with open(name, 'r+') as file:
        file.seek(place)
        file.write(text)
put('data', 'new', 0)
put('done', '1', 0)
"""
    check = "def ordered():\n    assert open('done').read() == '0' or open('data').read() == 'new'\n"
    (finding,) = campaign(code, {"data": "old", "done": "0", "checks.py": check}, check="checks:ordered").findings
    assert finding.missing == "fsync of data after program.py:4 (called from program.py:7) and before program.py:4 (called from program.py:8)"


def test_a_lock_that_is_left_behind_is_one_cause(campaign: Explore) -> None:
    code = """
import os
open('mine', 'w').close()
os.link('mine', 'box.lock')
os.unlink('mine')
with open('box', 'a') as file:
    file.write('new')
os.unlink('box.lock')
"""
    (finding,) = campaign(code, {"box": "old"}).findings
    assert (finding.kind, finding.lost and finding.lost.place, finding.kept and finding.kept.place) == (
        "failed recovery", "program.py:8", "program.py:4"
    )  # fmt: skip


def test_a_file_that_is_written_in_place_step_by_step_is_torn_once(campaign: Explore) -> None:
    code = "with open('db', 'r+b') as file:\n    for i in range(6):\n        file.seek(i * 4096)\n        file.write(b'n' * 4096)\n"
    check = "def whole():\n    assert set(open('db').read()) in ({'o'}, {'n'})\n"
    (finding,) = campaign(code, {"db": "o" * 24576, "checks.py": check}, check="checks:whole").findings
    assert (finding.kind, finding.profiles[0]) == ("torn write", "kill")


def test_of_two_files_that_are_replaced_one_after_the_other_the_renames_are_named(campaign: Explore) -> None:
    code = """
import os
for name in ('x', 'y'):
    with open(name + '.tmp', 'w') as file:
        file.write('new')
        os.fsync(file.fileno())
    os.rename(name + '.tmp', name)
    os.fsync(os.open('.', os.O_RDONLY))
"""
    check = "def same():\n    assert open('x').read() == open('y').read()\n"
    (finding,) = campaign(code.replace("        os.fsync", "        file.flush()\n        os.fsync", 1), {
        "x": "old", "y": "old", "checks.py": check
    }, check="checks:same").findings  # fmt: skip
    assert (finding.kind, finding.title) == ("unfinished sequence", "x and y: a crash in between leaves it half done")


def test_a_promise_that_comes_too_early(campaign: Explore) -> None:
    code = "import os\nprint('saved', flush=True)\nwith open('log', 'a') as file:\n    file.write('new')\n    file.flush()\n    os.fsync(file.fileno())\n"
    check = "def check(place, output):\n    assert b'saved' not in output or (place / 'log').read_text() == 'oldnew'\n"
    (finding,) = campaign(code, {"log": "old", "checks.py": check}, check="checks:check").findings
    assert finding.title == "log can be lost although it was acknowledged: that comes before it is done"
    assert finding.missing == "the output at program.py:2 has to come after program.py:5, and after a sync of that"


def test_files_that_are_emptied_together_have_one_cause(campaign: Explore) -> None:
    code = "files = [open(name, 'w') for name in 'abc']\nfor file in files:\n    file.write('new')\n    file.close()\n"
    check = "def whole():\n    assert all(open(name).read() for name in 'abc')\n"
    found = campaign(code, {**dict.fromkeys("abc", "old"), "checks.py": check}, check="checks:whole", profiles=("kill", "ext4")).findings
    assert [(one.kind, one.lost and one.lost.place, one.kept and one.kept.place) for one in found] == [
        ("truncate-then-write", "program.py:4", "program.py:1")
    ]  # fmt: skip
