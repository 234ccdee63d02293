"""A state that equals a judged one in all that was read is not judged again, and only such a state."""

from __future__ import annotations

import sys
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultlib.explore.crash.losses import State
from faultlib.explore.crash.profiles import PROFILES, Rules
from faultlib.explore.crash.readset import Places, ReadSets, linked, places
from faultlib.explore.crash.strategies import STRATEGIES
from faultlib.explore.crash.tree import Node
from faultlib.explore.finding import Campaign
from tests.explore.crash.conftest import Explore
from tests.explore.crash.histories import programs
from tests.explore.crash.small import Program

# what was read, by the model


def states(program: Program, most: int = 12) -> list[State]:
    """Some states, of all kinds."""
    rules = Rules(PROFILES["posix"], program.model, 512)
    found = [State(0), State(len(program.changes))]
    for strategy in (one for some in STRATEGIES.values() for one in some):
        found += [candidate.state for candidate in islice(strategy(rules), most)]
    return found


def looked_at(program: Program, plan: State, some: Places) -> list[object]:
    """What somebody sees who looks at all of these paths: slow and obvious."""
    paths = program.disk.names(plan).paths
    kinds = {path: program.tree.nodes[number].kind for path, number in paths.items()}
    found = list[object]()
    for path in some.paths:
        inside = {one: kinds[one] for one in paths if one.startswith(path + b"/")}
        if some.is_listing:
            found.append((path in paths, {one: kind for one, kind in inside.items() if b"/" not in one[len(path) + 1 :]}))
        else:
            files = [one for one in (path, *inside) if kinds.get(one) == "file"]
            found.append((kinds.get(path), inside, [(one, program.disk.content(plan, paths[one]).read()) for one in files]))
    return found


@given(programs(), st.data())
def test_states_are_alike_if_what_was_read_is(program: Program, data: st.DataObject) -> None:
    groups, known = places(program.model), ReadSets(program.disk)
    assert groups is not None
    read = data.draw(st.integers(0, (1 << len(groups)) - 1))
    some = [group for bit, group in enumerate(groups) if read >> bit & 1]
    for one, two in pairwise(states(program)):
        same = all(looked_at(program, one, group) == looked_at(program, two, group) for group in some)
        keys = known.key(read, one, None), known.key(read, two, None)
        assert same or keys[0] != keys[1]
        assert linked(program.model) or (keys[0] == keys[1]) == same


@given(programs())
def test_all_that_differs_can_be_read(program: Program) -> None:
    groups, known = places(program.model) or [], ReadSets(program.disk)
    for one, two in pairwise(states(program)):
        keys = [known.key((1 << len(groups)) - 1, plan, None) for plan in (one, two)]
        assert keys[0] != keys[1] or program.disk.digest(one) == program.disk.digest(two)


def test_names_of_one_file_are_no_two_files() -> None:
    program = Program([("link", "a", "b"), ("pwrite", "b", 0, "x")], {"a": "o"})
    known, groups = ReadSets(program.disk), places(program.model)
    assert linked(program.model) and groups is not None
    bits = sum(1 << bit for bit, group in enumerate(groups) if group.paths == (b"/r/a",))
    assert known.key(bits, State(0), None) != known.key(bits, State(1), None)  # who writes to it then changes another, too


def test_a_link_that_leads_there_is_a_way_round() -> None:
    program = Program([("pwrite", "a", 0, "x")], {"a": "o", "d/": ""})
    assert places(program.model) == [Places((b"/r/a",))]
    for target, is_one in ((b"a", True), (b"../r/a", True), (b"/r", True), (b"/etc", False), (b"d", False)):
        program.tree.nodes[99] = Node("symlink", target=target)
        program.initial.entries[1][b"link"] = 99
        assert (places(program.model) is None) == is_one, target


# by what commands do

REPLACE = """
import os
for number in range(2):
    for name in "ab":
        with open(name + ".tmp", "w") as file:
            file.write(f"{name}{number}" * 9)
        os.rename(name + ".tmp", name)
    with open("log", "a") as file:
        file.write(f"{number}\\n")
"""
FILES = {name: f"{name} first" for name in "ab"}
READS = {
    "one file": "open('a').read()",
    "a name": "assert os.path.exists('b')",
    "one, then another": "assert open('a').read() or open('b').read()",
    "a listing": "assert not os.path.exists('a.tmp') or 'b.tmp' not in os.listdir('.')",
    "by another program": "assert subprocess.run(['cat', 'a'], capture_output=True).stdout",
    "without an environment": "assert subprocess.run(['cat', 'a'], env={}, capture_output=True).stdout",
    "by the way of a link": "assert open('../link').read()",
    "a descriptor": "fd = os.open('.', os.O_RDONLY)\nassert os.stat('a', dir_fd=fd).st_size",
    "the log": "text = open('log').read() if os.path.exists('log') else ''\nassert text == '' or text.endswith('\\n')",
    "nothing in the end": "os.path.exists('no such file')",
}


def found(one: Campaign) -> list[tuple[str, tuple[str, ...], int]]:
    return sorted((finding.title, finding.profiles, finding.states) for finding in one.findings)


@pytest.mark.parametrize("check", READS)
def test_what_is_found_is_the_same_as_without(
    check: str, campaign: Explore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    (tmp_path / "link").symlink_to("here/a")
    files = {**FILES, "check.py": f"import os, subprocess\nopen('check.py')\nopen('a')\n{READS[check]}\n"}
    command = f"'{sys.executable}' check.py"
    likened = campaign(REPLACE, files, check=command, profiles=("kill", "ext4"))
    monkeypatch.setattr("faultlib.explore.crash.readset.places", lambda model: None)
    plain = campaign(REPLACE, files, check=command, profiles=("kill", "ext4"), folder="plain")
    assert "judged twice" not in "".join(likened.not_covered)
    assert found(likened) == found(plain)
    assert (likened.unique, likened.failing) == (plain.unique, plain.failing)
    assert plain.judged >= plain.unique
    is_seen = check != "by the way of a link"
    assert (likened.judged < likened.unique) == is_seen


def test_what_is_read_unseen_is_found_out(campaign: Explore, monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc leads to every file by names that nobody watches."""
    files = {**FILES, "check.py": "import os\nopen('b')\nassert os.stat('/proc/self/cwd/a').st_size\n"}
    told = campaign(REPLACE, files, check=f"'{sys.executable}' check.py", profiles=("ext4",))
    assert "every state was judged twice: states that are the same in all that was read of them are judged" in "".join(told.not_covered)
    monkeypatch.setattr("faultlib.explore.crash.readset.places", lambda model: None)
    plain = campaign(REPLACE, files, check=f"'{sys.executable}' check.py", profiles=("ext4",), folder="plain")
    assert found(told) == found(plain) and told.findings


def test_a_function_is_not_judged_again_for_each_promise_that_it_does_not_want(campaign: Explore) -> None:
    checks = "def reads(directory):\n    (directory / 'a').read_text()\n\ndef promised(directory, output):\n    (directory / 'a').read_text()\n"
    files = {**FILES, "checks.py": checks}
    few = campaign(REPLACE, files, check="checks:reads", profiles=("ext4",))
    more = campaign(REPLACE, files, check="checks:promised", profiles=("ext4",), folder="promised")
    assert few.judged < few.unique and few.judged <= more.judged
    assert not few.findings and not more.findings


def test_where_the_campaign_lies_does_not_matter(campaign: Explore) -> None:
    """Below a root, as usual: what a check is told lies there, too."""
    files = {**FILES, "checks.py": "def reads(directory):\n    (directory / 'a').read_text()\n"}
    found = campaign(REPLACE, files, check="checks:reads", profiles=("ext4",), folder="here/.faultlib/c")
    assert found.judged < found.unique


def test_what_was_read_is_known_to_the_campaign_that_goes_on(campaign: Explore) -> None:
    files = {**FILES, "check.py": "open('a')\n"}
    first = campaign(REPLACE, files, check=f"'{sys.executable}' check.py", profiles=("ext4",))
    again = campaign(REPLACE, files, check=f"'{sys.executable}' check.py", profiles=("ext4",))
    assert again.unique == first.unique and again.judged < first.judged
