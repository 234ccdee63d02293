"""Calls that do not simply return: cancelled threads, jumps out of signal handlers, EINTR, calls within calls."""

from __future__ import annotations

import pytest

from tests.targets.conftest import Compile, Under


@pytest.mark.parametrize("way", ["cancel-read", "cancel-write", "cancel-fcntl"])
@pytest.mark.parametrize("rules", [[], ["write:error=EIO:path=none"], ["read,write:error=EIO:path=none:fdkind=any", "fcntl:error=EIO!:path=none"]], ids=["idle", "a rule", "armed"])
def test_a_blocked_thread_is_cancelled(way: str, rules: list[str], under: Under, compiled: Compile) -> None:
    rules = [rule.replace("EIO!", "ENOLCK") for rule in rules]
    done = under(rules, compiled("interrupted"), way)
    assert done.out == "cleaned up\ncancelled\n", done


@pytest.mark.parametrize("rule", ["write:delay=200ms:path=f", "write:delay_after=200ms:path=f", "write:error=EIO:delay=200ms:path=f"])
def test_a_cancelled_thread_ends_also_when_a_rule_held_it(rule: str, under: Under, compiled: Compile) -> None:
    done = under(rule, compiled("interrupted"), "cancel-held")
    assert done.out.splitlines()[-1] == "cancelled", done
    assert done.counts[0][0] == 1


def test_jumps_out_of_calls_leave_the_thread_instrumented(under: Under, compiled: Compile) -> None:
    done = under(["write:error=ENOSPC:path=f", "read:error=EIO:size=2:fdkind=any"], compiled("interrupted"), "jump")
    assert done.out == "1000 jumps, then: No space left on device\n", done


def test_eintr_reaches_the_program(under: Under, compiled: Compile) -> None:
    assert under(["read:error=EIO:size=2:fdkind=any"], compiled("interrupted"), "eintr").out == "Interrupted system call\n"


@pytest.mark.parametrize(("rule", "failed"), [("write:error=ENOSPC:path=f:when=1+3", 0), ("write:error=EIO:path=log:when=1..7", 7)])
def test_a_handler_that_writes_while_the_program_writes(rule: str, failed: int, under: Under, compiled: Compile) -> None:
    done = under(rule, compiled("interrupted"), "nested")
    assert done.out == f"1 rang, {failed} failed in the handler, errno fine\n", done
