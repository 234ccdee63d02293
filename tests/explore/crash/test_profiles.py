"""What each profile allows of each litmus program, all of it and nothing else; and what holds for any history."""

from __future__ import annotations

import pytest

from faultlib.explore.crash.profiles import PROFILES, Rules
from tests.explore.crash.litmus import AT_THE_END, LITMUS, at_the_end


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", LITMUS)
def test_all_that_a_crash_can_leave(name: str, profile: str) -> None:
    litmus = LITMUS[name]
    program = litmus.program()
    assert program.outcomes(Rules(PROFILES[profile], program.model, litmus.sector)) == litmus.expected(profile)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", AT_THE_END)
def test_what_is_promised_is_there_at_the_end(name: str, profile: str) -> None:
    litmus = LITMUS[name]
    program = litmus.program()
    assert program.outcomes(Rules(PROFILES[profile], program.model, litmus.sector), finished=True) == at_the_end(name, profile)
