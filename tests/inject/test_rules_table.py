"""The tables behind the rules: operations, families, errnos, flags, effects; and the commands that print them."""

from __future__ import annotations

import errno
import json

import pytest
from click.testing import CliRunner, Result

from faultlib.commands.explain import command as explain_command
from faultlib.commands.ops import command as ops_command
from faultlib.errors import RuleError, UsageError
from faultlib.inject import errnos, flags, ops
from faultlib.inject.check import left_out, operations
from faultlib.inject.explain import explain
from faultlib.inject.grammar import parse_rule
from faultlib.inject.ops import OPERATIONS
from faultlib.inject.possible import possible_effects

BY_TITLE = {op.title: op for op in OPERATIONS}


def names(text: str) -> set[str]:
    return {op.title for op in operations(parse_rule(text))}


def test_every_operation_has_a_row_of_errnos_and_a_symbol() -> None:
    for op in OPERATIONS:
        assert errnos.possible(op).source, op.name
        assert op.symbols, op.name
    assert len(BY_TITLE) == len(OPERATIONS)


def test_what_cannot_fail_has_no_errnos() -> None:
    without = {op.name for op in OPERATIONS if not errnos.possible(op).errnos}
    assert without == {"sync", "sleep", "exit", "_exit", "timespec_get"}


@pytest.mark.parametrize(
    ("name", "can", "cannot"),
    [
        ("write", ["EINTR", "EIO", "ENOSPC", "EDQUOT", "EAGAIN", "EFBIG"], ["ENOENT", "EEXIST", "EXDEV"]),
        ("open", ["ENOENT", "EMFILE", "ENFILE", "EACCES", "ENOSPC", "EINTR"], ["EBADF", "ENOLCK"]),
        ("fsync", ["EIO", "ENOSPC", "EDQUOT"], ["EAGAIN", "ENOENT"]),
        ("rename", ["EXDEV", "ENOENT", "ENOSPC"], ["EINTR", "EMFILE"]),
        ("flock", ["EINTR", "EAGAIN", "ENOLCK"], ["ENOSPC", "EDEADLK"]),
        ("fcntl", ["EDEADLK", "EAGAIN", "EACCES"], ["ENOSPC"]),
        ("close", ["EIO", "EINTR", "ENOSPC", "EDQUOT"], ["EAGAIN"]),
        ("fork", ["EAGAIN", "ENOMEM"], ["EINTR"]),
    ],
)
def test_errnos_by_operation(name: str, can: list[str], cannot: list[str]) -> None:
    op = ops.exactly(name)[0]
    assert all(errnos.can_return(op, getattr(errno, e)) for e in can)
    assert not any(errnos.can_return(op, getattr(errno, e)) for e in cannot)


def test_errnos_by_name_and_number() -> None:
    assert errnos.number_of("EWOULDBLOCK") == errnos.number_of("11") == errno.EAGAIN
    assert errnos.name_of(errno.EAGAIN) == "EAGAIN"
    assert errnos.name_of(errno.EOPNOTSUPP) == "EOPNOTSUPP"
    assert errnos.name_of(999) == "999"
    assert errnos.number_of("999") is None
    assert parse_rule("write:error=11").text == "write:error=EAGAIN"


def test_a_family_means_its_members_and_an_exact_name_all_of_that_name() -> None:
    assert {"write", "pwrite", "writev", "copy_file_range (target)"} <= names("write:error=EIO")
    assert names("pwrite:error=EIO") == {"pwrite"}
    assert names("flock:hang") == {"flock"}
    assert names("lock:hang") == {"flock", "fcntl", "lockf"}
    assert names("unlinkat:hang") == {"unlinkat (unlink)", "unlinkat (rmdir)"}
    assert names("copy_file_range:error=EIO") == {"copy_file_range (source)", "copy_file_range (target)"}
    assert names("write:call=write:error=EIO") == {"write"}
    assert names("read,write:call=pread,pwrite:error=EIO") == {"pread", "pwrite"}


def test_a_family_leaves_out_whom_the_rule_cannot_be_about_and_says_so() -> None:
    rule = parse_rule("write:short=50%")
    assert "ficlone (target)" not in names(rule.text)
    assert [op.title for op, _ in left_out(rule)] == ["ficlone (target)"]
    assert names("lock:error=EDEADLK") == {"fcntl", "lockf"}
    assert names("copy_file_range:torn=5") == {"copy_file_range (target)"}
    assert names("unlinkat:error=EIO:flags=0") == {"unlinkat (unlink)"}


def test_effects_by_operation() -> None:
    assert {"short", "torn", "space", "corrupt", "skip"} <= set(possible_effects(BY_TITLE["write"]))
    assert not {"torn", "space", "skip"} & set(possible_effects(BY_TITLE["read"]))
    assert not {"return", "skip", "short"} & set(possible_effects(BY_TITLE["open"]))
    assert possible_effects(BY_TITLE["exit"]) == ["delay", "kill=before", "signal", "stop", "hang"]
    assert {"freeze", "jump"} <= set(possible_effects(BY_TITLE["time"]))


def test_flags_name_what_the_operation_takes() -> None:
    assert flags.mask_and_value(BY_TITLE["open"], ("O_CREAT", "!O_EXCL", "O_RDWR")) == (0o300 | 3, 0o100 | 2)
    assert flags.mask_and_value(BY_TITLE["fcntl"], ("LOCK_EX",)) == (2, 2)
    assert flags.mask_and_value(BY_TITLE["write"], ("O_CREAT",)) is None
    assert flags.mask_and_value(BY_TITLE["open"], ("0x41",)) == (0x41, 0x41)
    for op in OPERATIONS:
        assert not flags.vocabulary(op) or op.has_flags


def run(command: object, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)  # type: ignore[arg-type]


def test_explain_says_it_in_words() -> None:
    text = run(explain_command, "write:error=ENOSPC:path=*/tasks.json:when=3").output
    assert "The 3rd matching call of each process fails with ENOSPC" in text
    assert "the path matches */tasks.json" in text
    assert "pwritev2" in text and "__write" in text


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("clock:jump=-30s:when=100", "At the 100th matching call of the whole session the clock REALTIME jumps 30s back"),
        ("clock:freeze:at=5s:for=2s", "the clock REALTIME stands still"),
        ("clock:rate=1.5:clock=monotonic", "the clock MONOTONIC runs 1.5 times as fast"),
        ("write:torn=512", "writes only 512 bytes, then the process dies by SIGKILL"),
        (
            "write:short=50%:when=2..4+2",
            "From the 2nd to the 4th, every 2nd matching call of each process moves only 50 %",
        ),
        (
            "write:kill=after:delay=1s",
            "is held for 1s before it is made, then kills its process by SIGKILL right after",
        ),
        ("write:signal=40", "the signal 40"),
        ("read:return=0", "is not made and returns 0"),
        ("write:skip:p=0.5", "Every matching call, with a probability of 0.5, is not made"),
        ("read:corrupt=1", "has one bit flipped in 1 byte"),
        ("write:space=64K", "fails with ENOSPC once the files have grown by 64K bytes"),
        ("write:space=64K", "also where another rule acts"),
        ("write:space=64K:delay=1s", "by 64K bytes, after the part that still fits; each that does not fit is held for 1s"),
        ("write:hang", "does not come back"),
        ("write:stop:when=3+:scope=session", "From the 3rd on, every matching call of the whole session stops"),
        ("write:delay_after=1s+-1ms", "is held for 1s, give or take up to 1ms, after it was made"),
        ("flock:error!=ENOSPC", "whatever the manual says"),
    ],
)
def test_effects_in_words(rule: str, words: str) -> None:
    assert words in explain(parse_rule(rule)).as_text()


def test_conditions_in_words() -> None:
    text = explain(
        parse_rule(
            "open,rename:stop:path=!*.log:proc=!label:w*:thread=1.*:after=x:times=3:scope=thread:when=1:at=1s:for=2s"
        )
    ).as_text()
    for words in (
        "none of *.log", "whose label does not match w*", "threads whose path matches 1.*", "rule x has fired",
        "at most 3 times in the life of each thread", "from 1s after the session began", "for 2s",
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("mmap:error=ENOMEM", True), ("mmap:error=ENOMEM:path=f", False), ("mmap:error=ENOMEM:fdkind=file", False),
        ("write:error=EIO", False), ("munmap:error=EINVAL", False), ("mmap:error=ENOMEM:fdkind=any", True),
        ("mmap:error=ENOMEM:fd=3", False),
    ],
)  # fmt: skip
def test_explain_says_whether_anonymous_maps_are_meant(rule: str, said: bool) -> None:
    assert ("anonymous maps" in explain(parse_rule(rule)).as_text()) == said


def test_explain_as_json() -> None:
    found = json.loads(run(explain_command, "--json", "write:short=5").output)
    assert found[0]["rule"] == "write:short=5"
    assert found[0]["left_out"][0]["operation"] == "ficlone (target)"


def test_explain_refuses_what_cannot_be() -> None:
    assert isinstance(run(explain_command, "rename:short=5").exception, RuleError)
    assert isinstance(run(explain_command, "write:hang:after=x").exception, RuleError)
    assert isinstance(run(explain_command).exception, UsageError)


def test_ops_prints_families_effects_and_errnos() -> None:
    text = run(ops_command).output
    assert all(op.title in text for op in OPERATIONS)
    assert "connect accept send recv" in text
    verbose = run(ops_command, "lock", "-v").output
    assert "ENOLCK" in verbose and "flock(2)" in verbose and "fcntl64" in verbose
    assert "pwrite" not in verbose


def test_ops_as_json_by_name_and_symbol() -> None:
    found = json.loads(run(ops_command, "--json", "pwrite64").output)
    assert [row["name"] for row in found["operations"]] == ["pwrite"]
    assert "ENOSPC" in found["operations"][0]["errnos"]
    assert "did you mean write" in str(run(ops_command, "wriet").exception)
