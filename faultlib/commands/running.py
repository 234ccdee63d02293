"""The work of `faultlib run`. Nothing heavy is imported here: a run without rules starts as fast as it can."""

from __future__ import annotations

import contextlib
import sys

from faultlib.commands import launch, options
from faultlib.commands.options import FLAG, REPORT, TEXT, Option
from faultlib.errors import FaultlibError, SessionGone, UsageError
from faultlib.inject import folder, target
from faultlib.inject.frozen import Frozen
from faultlib.report import summary
from faultlib.report.streams import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from faultlib.inject.rules import Rule
    from faultlib.report.summary import RunReport, Source

OPTIONS = (
    *options.RULES,
    options.LABEL,
    options.WAIT,
    Option("name", ("--session",), "Share the session of that name; the first to ask for it starts it.", TEXT, "NAME"),
    Option("verbose", ("-v", "--verbose"), "One line on stderr for each fault, as it happens.", FLAG),
    Option("quiet", ("-q", "--quiet"), "No summary.", FLAG),
    Option("json_file", ("--json",), "Write the whole report there.", REPORT, "FILE"),
    Option("require_fired", ("--require-fired",), "Exit 3 if some rule never fired.", FLAG),
)
REQUIRED_BUT_SILENT = 3


def run(
    rule: Sequence[str], rules_file: Sequence[str], seed: int | None, label: str | None, wait: bool, name: str | None,
    verbose: bool, quiet: bool, json_file: str | None, require_fired: bool, cmd: Sequence[str],
) -> None:  # fmt: skip
    """Runs a command under rules, says what they did, and exits with the command's status."""
    rules = options.read_rules(rule, rules_file)
    if require_fired and not rules:
        raise UsageError("--require-fired: there is no rule that could fire: give -e or --rules")
    image = target.check(cmd[0])
    report = None
    with _share(name, rules, seed, options.read_label(label)) as share:
        watcher = None
        if verbose:
            from faultlib.report.live import Live

            watcher = Live(share.source, sys.stderr, share.launch)
        remains = launch.Remains(share.source, share.launch) if wait else None
        status = launch.run(cmd, folder.preload(share.link), image, remains)
        try:
            if watcher:
                watcher.stop()
            report = summary.collect(share.source, cmd, status, share.launch)
        except SessionGone as error:
            say(f"faultlib: {error}: what its rules did is not known\n", sys.stderr)
        except OSError as error:
            raise FaultlibError(f"no report: {error.strerror}; the command's exit status was {status}") from error
    if report is not None:
        if not quiet:
            summary.render(report, sys.stderr)
        if json_file:
            summary.write_json(report, json_file)
    if require_fired and not _all_fired(report, share.numbers):
        status = REQUIRED_BUT_SILENT
    sys.exit(status)


class Share(Frozen):
    """Our part in a session: the link for the target, and which launch and rules of a shared one are ours (None: all)."""

    source: Source
    link: str
    launch: int | None = None
    numbers: Sequence[int] | None = None


@contextlib.contextmanager
def _share(name: str | None, rules: list[Rule], seed: int | None, label: str) -> Iterator[Share]:
    if name is None:
        from faultlib.inject.session import Session

        with Session(rules, seed=seed) as session:
            yield Share(session, session.prepare_launch(label)[0])
    else:
        from faultlib.inject import client

        with client.join(name, rules, label=label, seed=seed) as member:
            options.say_notes(member.notes)
            yield Share(member, member.link, member.launch, member.numbers)


def _all_fired(report: RunReport | None, ours: Sequence[int] | None) -> bool:
    if report is None:
        return False
    return all(row.fired for row in report.rules if ours is None or row.number in ours)
