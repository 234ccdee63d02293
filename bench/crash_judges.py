"""How fast states are judged, of 100 files and 300 operations: `python -m bench.crash_judges [STATES]`.

The budgets are for two processors.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from bench.budgets import at_least
from faultlib.explore.crash.campaign import Spec, explore
from faultlib.explore.crash.explorer import Budget

PROGRAM = """
import json, os
for i in range(60):
    with open("data.json.tmp", "w") as file:
        json.dump({"n": i, "pad": "x" * 2000}, file)
    os.replace("data.json.tmp", "data.json")
    with open("log", "a") as file:
        file.write(f"line {i}\\n")
"""
CHECKS = {
    "a Python function": ("checks:good", 400),
    "a command for the shell": ("test -e data.json && grep -q x data.json || true", 150),
    "a Python command line": (f"'{sys.executable}' -c \"import json, os; os.path.getsize('data.json')\"", 150),
}
"""What judges, and how many states it has to judge in a second."""


def prepare(folder: Path) -> None:
    """Makes the tree."""
    (folder / "program.py").write_text(PROGRAM)
    (folder / "checks.py").write_text("import os\n\n\ndef good():\n    os.path.getsize('data.json')\n")
    (folder / "data.json").write_text("{}")
    for number in range(97):
        (folder / f"file-{number}").write_text(f"{number}\n" * 100)


def spent() -> float:
    """Seconds of processor time of this process and of all that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main(states: int) -> None:
    """Prints a line for each kind of check."""
    for title, (check, budget) in CHECKS.items():
        with tempfile.TemporaryDirectory(prefix="faultlib-bench-") as name:
            folder = Path(name)
            prepare(folder)
            began, cpu = time.monotonic(), spent()
            jobs = os.cpu_count() or 1
            campaign = explore(
                Spec(
                    (sys.executable, "program.py"), folder, folder / ".faultlib" / "crash-1", check=check, jobs=jobs,
                    budget=Budget(states=states),
                )
            )  # fmt: skip
            seconds, cpu = time.monotonic() - began, spent() - cpu
            each = f"{1000 * cpu / campaign.unique:.2f} ms of processor time each, {campaign.judged} of {campaign.unique} judged"
            print(
                f"{title:26} {campaign.unique / seconds:6.0f} states/s on {jobs} processors, recording included; {each}; "
                f"{at_least(campaign.unique / seconds, budget)}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 1200)
