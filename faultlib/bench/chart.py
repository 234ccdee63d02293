"""The chart: what each tool adds to a call, a fork, an exec and a start. matplotlib if it is there, else text."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

from faultlib.bench.report import Report, Row

WIDTH = 48
PEERS = ("libfiu", "libfaketime", "strace")
OWN_COLOUR, PEER_COLOUR, BUDGET_COLOUR = "#2a6f97", "#b0b0b0", "#c1121f"
_STUBBED = ("write", "fsync")
_PANELS = (*((name, True) for name in _STUBBED), *((name, False) for name in ("open", "clock", "fork", "exec", "start")))
_UNITS = (("ms", 1e6), ("us", 1e3), ("ns", 1.0))


class Panel:
    """One operation: who adds how much to it, in a unit that suits."""

    def __init__(self, operation: str, stubbed: bool, rows: list[Row]) -> None:
        self.rows = rows
        self.most_ns = max(1.0, *(row.over_ns for row in rows), 1.0)
        usual_ns = max(1.0, statistics.median(row.over_ns for row in rows))
        self.unit, self.unit_ns = next((u, n) for u, n in _UNITS if usual_ns >= n)
        self.title = f"{self.unit} added to {operation}" + (" in user space" if stubbed else "")

    @property
    def least_ns(self) -> float:
        """Where the axis begins: a fifth of the least that was added, and no less than 0.1 ns. What is below is noise."""
        return max(0.1, min((row.over_ns for row in self.rows if row.over_ns > 0), default=1.0) / 5)

    def label(self, row: Row) -> str:
        """The figure of one row, in the panel's unit."""
        return f"{row.over_ns / self.unit_ns:,.1f}"


def panels(report: Report) -> list[Panel]:
    """The panels for which there is something to show, in the order in which they are drawn."""
    found = []
    for operation, stubbed in _PANELS:
        rows = [r for r in report.rows if (r.operation, r.stubbed) == (operation, stubbed) and r.subject != "bare"]
        if rows:
            found.append(Panel(operation, stubbed, rows))
    return found


def as_text(report: Report) -> str:
    """Bars of characters on a logarithmic scale: one column more is a constant factor."""
    lines = []
    for panel in panels(report):
        lines += ["", panel.title]
        for row in panel.rows:
            share = math.log1p(max(0.0, row.over_ns)) / math.log1p(panel.most_ns)
            lines.append(f"  {row.title:<28}{'#' * round(share * WIDTH):<{WIDTH}} {panel.label(row)}")
    return "\n".join(lines[1:])


def write(report: Report, path: Path) -> str:
    """Writes the chart to `path` (.png or .svg by its suffix) and returns where it is: without matplotlib a .txt beside it."""
    try:
        import matplotlib  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        path = path.with_suffix(".txt")
        path.write_text(as_text(report) + "\n")
        return f"{path} (as text: matplotlib is not installed)"
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # type: ignore[import-not-found,unused-ignore]
    from matplotlib.lines import Line2D  # type: ignore[import-not-found,unused-ignore]
    from matplotlib.patches import Patch  # type: ignore[import-not-found,unused-ignore]

    shown = panels(report)
    heights = [len(panel.rows) + 1.2 for panel in shown]
    figure, axes = plt.subplots(len(shown), 1, figsize=(9.5, 0.9 + 0.3 * sum(heights)), squeeze=False,
                                gridspec_kw={"height_ratios": heights}, layout="constrained")  # fmt: skip
    for panel, axis in zip(shown, axes[:, 0], strict=True):
        _draw(panel, axis)
    handles = [Patch(color=OWN_COLOUR), Patch(color=PEER_COLOUR),
               Line2D([], [], color=BUDGET_COLOUR, marker="|", markersize=9, linestyle="")]  # fmt: skip
    figure.legend(handles, ["faultlib", "other tools", "budget"], loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, dpi=140)
    return str(path)


def _draw(panel: Panel, axis: Any) -> None:
    """The bars of one panel; what is not above nothing has a figure and no bar."""
    scale, least = panel.unit_ns, panel.least_ns
    lengths = [max(row.over_ns, least) / scale for row in panel.rows]
    colours = [PEER_COLOUR if row.subject.startswith(PEERS) else OWN_COLOUR for row in panel.rows]
    axis.barh(range(len(lengths)), [length - least / scale for length in lengths], left=least / scale, color=colours)
    axis.set_yticks(range(len(lengths)), [row.title for row in panel.rows], fontsize=8)
    axis.set_xscale("log")
    axis.set_xlim(least / scale, panel.most_ns / scale * 3)
    axis.invert_yaxis()
    axis.minorticks_off()
    axis.tick_params(axis="x", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(panel.title, loc="left", fontsize=9)
    for place, (row, length) in enumerate(zip(panel.rows, lengths, strict=True)):
        axis.annotate(panel.label(row), (length, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
        if row.budget_ns:
            axis.plot(row.budget_ns / scale, place, marker="|", markersize=11, color=BUDGET_COLOUR)
