"""`faultlib trace`: every call of a command, with its file and source line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from faultlib.commands import declared, options
from faultlib.errors import FaultlibError, UsageError


@click.command("trace", context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("-c", "--count", is_flag=True, help="Only a summary per operation, file and source line.")
@click.option("--top", type=click.IntRange(min=0), metavar="N", help="With -c: so many rows, 0 for all; 20 unless given.")
@click.option("--sort", "by", type=click.Choice(["time", "calls"]), help="With -c: by what, time unless given.")
@click.option("--format", "form", type=click.Choice(["text", "jsonl"]), default="text", help="Lines of text, or of JSON.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, allow_dash=True), help="Write there instead of to stderr.")
@click.option("--op", "names", multiple=True, metavar="NAMES", help="Only these operations or families; !NAME leaves out.")
@click.option("--path", "paths", multiple=True, metavar="GLOB", help="Only calls on such paths, as path= in rules.")
@click.option("--no-stacks", is_flag=True, help="Do not look for source lines.")
@click.option("--no-wait", is_flag=True, help="Let records be lost rather than the program wait for the trace.")
@declared.takes(*options.RULES, options.LABEL, options.WAIT)
@declared.takes_command
def command(
    count: bool, top: int | None, by: str | None, form: str, output: str | None, names: Sequence[str], paths: Sequence[str],
    no_stacks: bool, no_wait: bool, rule: Sequence[str], rules_file: Sequence[str], seed: int | None, label: str | None,
    wait: bool, cmd: Sequence[str],
) -> None:  # fmt: skip
    """Run CMD and write down each of its calls: process, arguments, result, duration and, for Python, the source line.

    \b
      faultlib trace -- python app.py
      faultlib trace -c --path '*.json' -- python app.py
      faultlib trace --op write,fsync,rename -o trace.jsonl --format jsonl -- python app.py

    Rules (-e) act as they do under `faultlib run`; the calls that they act on are marked (INJECTED). The exit status is CMD's
    own; 128+N if signal N ended it.
    """
    from faultlib.commands.launch import launch
    from faultlib.inject.recording import Recording
    from faultlib.inject.session import Session
    from faultlib.inject.trace import Journal
    from faultlib.report import summary
    from faultlib.report.streams import say
    from faultlib.report.trace import Choice, Summary, Writer, opened

    for option, given in (("--top", top is not None), ("--sort", by is not None)):
        if given and not count:
            raise UsageError(f"{option} is for the summary: give -c too")
    choice = Choice.of(names, paths)
    rules = options.read_rules(rule, rules_file)
    recording = Recording(operations=choice.operations, wait=not no_wait)
    with (
        opened(output) as stream,
        Session(rules, seed=seed, recording=recording, stacks=not no_stacks) as session,
        Journal(session) as journal,
        Writer(session, journal, choice, stream, summary=Summary(top, by or "time") if count else None, form=form) as writer,
    ):
        status = launch(session, cmd, options.read_label(label), wait=wait)
        failure = writer.finish()
        report = summary.collect(session, cmd, status)
        complaints = journal.complaints()
    summary.render(report, sys.stderr)
    for complaint in complaints:
        say(f"faultlib: {complaint}\n", sys.stderr)
    if failure:
        raise FaultlibError(f"the trace could not be written: {failure.strerror}; the command's exit status was {status}")
    sys.exit(status)
