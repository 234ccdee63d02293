"""The chart: what each tool adds to a write, an open, a clock reading and an exec. matplotlib if it is there, else text."""

from __future__ import annotations

import math
from pathlib import Path

from faultlib.bench.report import Report, Row

WIDTH = 48
_PANELS = (("write", True), ("open", False), ("clock", False), ("exec", False))


def _bars(report: Report, operation: str, stubbed: bool) -> list[Row]:
    return [r for r in report.rows if (r.operation, r.stubbed) == (operation, stubbed) and r.subject != "bare"]


def _title(operation: str, stubbed: bool) -> str:
    return f"ns added to {operation}" + (" in user space" if stubbed else "")


def as_text(report: Report) -> str:
    """Bars of characters on a logarithmic scale: one column more is a constant factor."""
    lines = []
    for operation, stubbed in _PANELS:
        rows = _bars(report, operation, stubbed)
        if not rows:
            continue
        most = max(1.0, *(row.over_ns for row in rows)) if len(rows) > 1 else max(1.0, rows[0].over_ns)
        lines += ["", _title(operation, stubbed)]
        for row in rows:
            share = math.log1p(max(0.0, row.over_ns)) / math.log1p(most)
            lines.append(f"  {row.title:<28}{'#' * round(share * WIDTH):<{WIDTH}} {row.over_ns:,.1f}")
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

    panels = [(title, rows) for operation, stubbed in _PANELS if (rows := _bars(report, operation, stubbed))
              for title in [_title(operation, stubbed)]]  # fmt: skip
    figure, axes = plt.subplots(len(panels), 1, figsize=(9, 1 + 0.34 * sum(len(rows) + 2 for _, rows in panels)), squeeze=False,
                                gridspec_kw={"height_ratios": [len(rows) + 1 for _, rows in panels]})  # fmt: skip
    for (title, rows), axis in zip(panels, axes[:, 0], strict=True):
        values = [max(row.over_ns, 0.05) for row in rows]
        peers = ("libfiu", "libfaketime", "strace")
        colours = ["#b0b0b0" if row.subject.startswith(peers) else "#2a6f97" for row in rows]
        axis.barh([row.title for row in rows], values, color=colours)
        axis.set_xscale("log")
        axis.invert_yaxis()
        axis.set_title(title, loc="left", fontsize=10)
        axis.bar_label(axis.containers[0], labels=[f" {row.over_ns:,.1f}" for row in rows], fontsize=8)
        axis.margins(x=0.15)
    figure.tight_layout()
    figure.savefig(path, dpi=140)
    return str(path)
