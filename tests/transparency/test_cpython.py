"""CPython's own suite has the same outcome, test by test, bare and under each mode of the shim.

The default is the part of it that has most to do with files, processes and signals, with one bare run (a difference is
confirmed by three more). FAULTLIB_TRANSPARENCY=full runs all of every module in every mode, with two: about half an hour.
"""

from __future__ import annotations

import os

import pytest

from tests.transparency.cpython import MODULES, examine, has, python

FULL = os.environ.get("FAULTLIB_TRANSPARENCY") == "full"
PARTS = {
    "test_io": ("CMiscIOTest", "CBuffered*", "CTextIOWrapperTest", "CIOTest", "test_interrupted_*"),
    "test_signal": ("PosixTests", "Wakeup*", "StressTest", "test_sigwait", "test_pthread_*"),
    "test_subprocess": ("POSIXProcessTestCase", "RunFuncTestCase"),
    "test_threading": ("ThreadTests", "ThreadJoinOnShutdown", "SubinterpThreadingTests", "AtexitTests"),
    "test_asyncio": ("SubprocessFastWatcherTests", "SubprocessThreadedWatcherTests"),
}
INSTEAD = {"test_asyncio": "test.test_asyncio.test_subprocess"}
DEFAULT_MODES = ("idle", "armed", "recording")


@pytest.mark.parametrize("module", MODULES)
def test_same_outcomes(module: str) -> None:
    if not has(module):
        pytest.skip(f"the test package of {python()} has no {module}")
    if FULL:  # noqa: SIM108 (one line would be too long)
        found = examine(module)
    else:
        found = examine(INSTEAD.get(module, module), DEFAULT_MODES, PARTS.get(module, ()), bare_runs=1)
    for one in found:
        print(one.line(), one.unsteady or "")
        assert not one.different, f"{one.line()}\n{one.different}\n{one.log}"
        assert one.compared > 5, "hardly anything was run"
