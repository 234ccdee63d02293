"""A campaign written by hand: three findings, one of each severity, and texts that no report may obey."""

from __future__ import annotations

from faultlib.explore.finding import NOTE, SUSPICION, VIOLATION, Campaign, Culprit, Finding, Step

HOSTILE = "<script>alert(1)</script>\x1b[2J\x07 \x9b31m | `a` ``b`` **c** \u202e ]( {0} {{ 7 * 7 }} \udcff.json\nsecond line"
"""Markup of every format, what a terminal obeys, an encoding that is not ours, two lines."""
TASKS, TEMPORARY, LOG = ".coordination/tasks.json", ".coordination/tasks.json.tmp", ".coordination/log.jsonl"


def _steps(*rows: str) -> tuple[Step, ...]:
    """Reads `fate | text | place | mark` for each operation."""
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    return tuple(Step(number, text, place, "1", fate, mark) for number, (fate, text, place, mark) in enumerate(cells))


TRUNCATED = Finding(
    number=2,
    kind="truncate-then-write",
    severity=VIOLATION,
    title=f"{TASKS} can be left empty: it is emptied before its new content is written",
    profiles=("kill", "ext4", "xfs", "btrfs", "posix"),
    lost=Culprit(
        f"write({TASKS}, 214 bytes at 0)", "coordination.py:64", "coordination.py", 64, "write_json",
        ("/usr/lib/python3.11/json/__init__.py:180", "coordination.py:64", "coordination.py:212", "coordination.py:498", "coordination.py:531",
         "coordination.py:540"),
    ),
    kept=Culprit(
        f"open({TASKS}, O_TRUNC)", "coordination.py:63", "coordination.py", 63, "write_json",
        ("coordination.py:63", "coordination.py:212", "coordination.py:498"),
    ),
    symptom="status 1\nTraceback (most recent call last):\n  File \"<frozen runpy>\", line 198, in _run_module_as_main\n"
    "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
    impact=f"{TASKS} has 0 bytes then (198 bytes before the run, 214 at its end)",
    missing=f"write a temporary file beside {TASKS}, fsync it, rename it over {TASKS}, fsync the directory, "
    f"instead of changing {TASKS} in place at coordination.py:63",
    files=(TASKS,),
    timeline=(
        *_steps(
            "durable | mkdir(.coordination/locks) | coordination.py:70 |",
            f"durable | open({LOG}, O_CREAT) | coordination.py:92 |",
            *(f"durable | write({LOG}, 61 bytes at {61 * n}) | coordination.py:93 |" for n in range(37)),
            f"kept | fsync({LOG}) | coordination.py:94 |",
            f"kept | open({TASKS}, O_TRUNC) | coordination.py:63 | kept",
            f"never | write({TASKS}, 214 bytes at 0) | coordination.py:64 | lost",
        ),
    ),
    plan={"state": {"crash": 41, "losses": []}, "promised": 41, "profile": "kill"},
    states=14,
    fingerprint="5b1f0c7e9ad34412",
    replay="faultlib replay .faultlib/crash/2",
    test_file="tests/test_crash_2.py",
)  # fmt: skip

RENAMED = Finding(
    number=1,
    kind="rename before data",
    severity=SUSPICION,
    title="workers.json can be left empty or cut short: it gets its name before its data are durable",
    profiles=("ext4", "xfs", "posix"),
    lost=Culprit("write(workers.json.tmp, 9000 bytes at 0)", "coordination.py:70", "coordination.py", 70, "replace_json", ()),
    kept=Culprit("rename(workers.json.tmp -> workers.json)", "coordination.py:72", "coordination.py", 72, "replace_json", ()),
    symptom="status 1",
    impact="workers.json has 4096 bytes then (not there before the run, 9000 at its end)",
    missing="fsync of workers.json after coordination.py:70 and before coordination.py:72",
    files=("workers.json", "workers.json.tmp"),
    timeline=_steps(
        "durable | open(workers.json.tmp, O_CREAT) | coordination.py:69 |",
        "partly | write(workers.json.tmp, 9000 bytes at 0) | coordination.py:70 | lost",
        "kept | rename(workers.json.tmp -> workers.json) | coordination.py:72 | kept",
        r"kept | output 'claimed\n' | coordination.py:80 |",
        "never | exit(0) | |",
    ),
    plan={"state": {"crash": 3, "losses": [[7, [[1, 2, 4096, -1, False]]]]}, "promised": 3, "profile": "ext4"},
    states=1,
    fingerprint="77aa00c2d1e4f901",
    replay="faultlib replay .faultlib/crash/1",
    test_file="tests/test_crash_1.py",
)

STRANGE = Finding(
    number=3,
    kind="order of two files",
    severity=NOTE,
    title=f"{HOSTILE} and b can reach the disk in the wrong order",
    profiles=("posix",),
    lost=Culprit(f"write({HOSTILE}, 3 bytes at 0)", f"{HOSTILE}:7", f"dir/{HOSTILE}", 7, HOSTILE, (f"{HOSTILE}:7", HOSTILE)),
    kept=None,
    symptom=f"signal 9\n\t{HOSTILE}\r\n```\n</code></pre>\n",
    impact=f"{HOSTILE} is older than b",
    missing=f"fsync of {HOSTILE}",
    files=(HOSTILE, "b"),
    timeline=(
        Step(0, f"write({HOSTILE}, 3 bytes at 0)", f"{HOSTILE}:7", HOSTILE, "lost", "lost"),
        Step(1, "copy_file_range(a -> b)", "", "1.2", "kept", ""),
        Step(2, "sync()", "b.c:3", "1", "never", ""),
    ),
    plan={"state": {"crash": 2, "losses": [[1, [[0, 1, 0, -1, False]]]]}, "promised": 2, "profile": HOSTILE},
    states=2,
    fingerprint="0e0e0e0e0e0e0e0e",
    replay="faultlib replay .faultlib/crash/3",
    test_file="tests/test_crash_3.py",
)

ACCEPTED = TRUNCATED._replace(
    number=4, title="old.json can be left empty", files=("old.json",), timeline=(), plan={}, fingerprint="acacacacacacac01"
)
"""One that a baseline has."""

CAMPAIGN = Campaign(
    command=("python", "coordination.py", "worker", "claim", f"w1 {HOSTILE}"),
    check="python -m json.tool .coordination/tasks.json",
    roots=("/srv/app", "/srv/other"),
    profiles=("kill", "ext4", "xfs", "btrfs", "posix"),
    strategies={"A": 84, "B": 6, "C": 220, "C2": 140, "E": 31, "D": 803},
    operations=43,
    states=1284,
    unique=812,
    judged=640,
    failing=17,
    seconds=1.6,
    complete=False,
    not_covered=("stores through a mapping of cache.db that were overwritten between captures", f"writes outside the roots: {HOSTILE}"),
    findings=(RENAMED, STRANGE, TRUNCATED),
    accepted=(ACCEPTED, ACCEPTED._replace(number=5, fingerprint="acacacacacacac02")),
)

CLEAN = CAMPAIGN._replace(command=("true",), findings=(), failing=0, complete=True, not_covered=(), accepted=())
