"""`faultlib bench`: what faultlib costs on this machine, beside its peers."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

QUICK_ROUNDS = 7
MISSED = 1


@click.command("bench")
@click.option("--rounds", type=click.IntRange(3, 10_000), default=101, show_default=True, help="How often each one has its turn.")
@click.option("--quick", is_flag=True, help=f"{QUICK_ROUNDS} rounds: to see that it works, not to judge by.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write everything measured there.")
@click.option("--chart", "chart_file", type=click.Path(dir_okay=False, path_type=Path), help="Draw a chart there (.png or .svg).")
@click.option("--strict", is_flag=True, help=f"Exit {MISSED} if a budget is exceeded.")
def command(rounds: int, quick: bool, json_file: Path | None, chart_file: Path | None, strict: bool) -> None:
    """Measure what a call costs bare, under faultlib in each of its states, and under libfiu, libfaketime and strace where
    they are installed: all in one run, batch by batch in turn. Needs a C compiler.
    """
    from faultlib.bench import chart, measure, programs, report, startup, subjects

    rounds = QUICK_ROUNDS if quick else rounds
    for file in (json_file, chart_file):
        if file is not None and not file.resolve().parent.is_dir():
            raise click.UsageError(f"{file.parent} is not a directory")
    if chart_file is not None and chart_file.suffix not in (".png", ".svg"):
        raise click.UsageError(f"a chart is a .png or an .svg, not {chart_file.name}")
    with tempfile.TemporaryDirectory(prefix="faultlib-bench.", dir="/dev/shm") as folder:
        compiled = programs.compile_all(Path(folder))
        peers, missing = subjects.peers()
        compared = [subjects.bare(), *subjects.own(compiled), *peers]
        with click.progressbar(length=rounds, label="measuring", file=sys.stderr) as bar:
            series = measure.run(compared, compiled, rounds, lambda _: bar.update(1))
        series += startup.run(max(3, rounds // 7))
    result = report.make(series, compared, missing, rounds)
    click.echo(report.as_text(result))
    if json_file:
        report.write_json(result, json_file)
    if chart_file:
        click.echo(f"chart: {chart.write(result, chart_file)}")
    if strict and not result.fine:
        sys.exit(MISSED)
