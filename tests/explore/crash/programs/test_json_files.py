"""Programs that keep their state in one file: how they replace it decides what a crash leaves."""

from __future__ import annotations

import pytest

from tests.explore.crash.programs.lab import ALWAYS, POWER_CUT, RENAMED, TORN, TRUNCATED, UNNAMED, Lab, Outcome, json_tool

PICKLEDB = """
import pickledb
db = pickledb.load("db.json", False)
for n in range(30):
    db.set("key%d" % n, "v" * 20)
db.dump()
"""
TINYDB = """
from tinydb import TinyDB, where
TinyDB("db.json").update({"v": "y" * 200}, where("n") == 3)
"""
ATOMICWRITES = """
from atomicwrites import atomic_write
with atomic_write("db.json", overwrite=True) as file:
    file.write('{"new": "' + "x" * 5000 + '"}')
print("saved")
"""
SAVED = """
import json

def check(directory, output):
    data = json.loads((directory / "db.json").read_text())
    assert "new" in data or b"saved" not in output
"""
OLD_JSON = '{"old": 1}\n'


def pickledb_dump(lab: Lab) -> Outcome:
    return lab.write("db.json", OLD_JSON).crash_python(PICKLEDB, check=json_tool("db.json"))


def tinydb_update(lab: Lab) -> Outcome:
    from tinydb import TinyDB

    with TinyDB(lab.here / "db.json") as db:
        db.insert_multiple({"n": n, "v": "x" * 100} for n in range(20))
    return lab.crash_python(TINYDB, check=json_tool("db.json"))


def atomicwrites(lab: Lab) -> Outcome:
    return lab.write("db.json", OLD_JSON).crash_python(ATOMICWRITES, check=SAVED)


def test_pickledb_dump_empties_its_file_first(lab: Lab) -> None:
    """It does so twice: once by itself, and once more in a thread."""
    pytest.importorskip("pickledb")
    outcome = pickledb_dump(lab)
    assert [(found.kind, found.kept) for found in outcome.found] == [(TRUNCATED, "pickledb.py:92"), (TRUNCATED, "pickledb.py:95")]
    assert outcome.violations[0]["profiles"] == ALWAYS


def test_tinydb_update_writes_in_place(lab: Lab) -> None:
    pytest.importorskip("tinydb")
    outcome = tinydb_update(lab)
    outcome.assert_found((TORN, "storages.py:152", "storages.py:152"))
    assert "kill" not in outcome.violations[0]["profiles"]


def test_atomicwrites_is_clean(lab: Lab) -> None:
    pytest.importorskip("atomicwrites")
    atomicwrites(lab).assert_clean()


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ('import json\njson.dump(list(range(3000)), open("db.json", "w"))', (TRUNCATED, "app.py:2", "app.py:2")),
        ('from pathlib import Path\nPath("db.json").write_text("[1]")', (TRUNCATED, "app.py:2", "app.py:2")),
        ('import shutil\nshutil.copyfile("new.json", "db.json")', (TRUNCATED, "app.py:2", "app.py:2")),
        ('import os\nos.truncate("db.json", 0)\nopen("db.json", "r+").write("[1]")', (TRUNCATED, "app.py:3", "app.py:2")),
        ('import os\nopen("tmp", "w").write("[1]")\nos.rename("tmp", "db.json")', (RENAMED, "app.py:2", "app.py:3")),
    ],
    ids=["json.dump", "write_text", "copyfile", "truncate", "rename"],
)
def test_other_ways_to_lose_it(lab: Lab, program: str, found: tuple[str, str, str]) -> None:
    lab.write("db.json", OLD_JSON).write("new.json", "[" + "1," * 50_000 + "1]")
    outcome = lab.crash_python(program, check=json_tool("db.json"))
    outcome.assert_found(found)
    assert outcome.violations[0]["profiles"] == (ALWAYS if found[0] == TRUNCATED else POWER_CUT)


def test_configparser(lab: Lab) -> None:
    program = """
import configparser
c = configparser.ConfigParser()
c.read("a.ini")
c["x"]["b"] = "2"
with open("a.ini", "w") as file:
    c.write(file)
"""
    outcome = lab.write("a.ini", "[x]\na = 1\n").crash_python(program, check='grep -q "^a = 1" a.ini')
    outcome.assert_found((TRUNCATED, "app.py:6", "app.py:6"))


FSYNC = """
import os, json
with open("db.json.tmp", "w") as file:
    json.dump({"new": list(range(3000))}, file)
    file.flush()
    os.fsync(file.fileno())
os.replace("db.json.tmp", "db.json")
"""
DIRECTORY = 'os.fsync(os.open(".", os.O_RDONLY))\n'


def test_fsync_before_rename_is_clean(lab: Lab) -> None:
    lab.write("db.json", OLD_JSON).crash_python(FSYNC, check=json_tool("db.json")).assert_clean()


def test_what_is_said_to_be_saved_needs_the_directory(lab: Lab) -> None:
    outcome = lab.write("db.json", OLD_JSON).crash_python(FSYNC + 'print("saved")\n', check=SAVED)
    outcome.assert_found((UNNAMED, "app.py:7", "app.py:8"))
    assert outcome.violations[0]["profiles"] == POWER_CUT
    assert outcome.violations[0]["missing"] == "fsync of the directory . after app.py:7 and before app.py:8"


def test_with_the_directory_it_is_clean(lab: Lab) -> None:
    lab.write("db.json", OLD_JSON).crash_python(FSYNC + DIRECTORY + 'print("saved")\n', check=SAVED).assert_clean()
