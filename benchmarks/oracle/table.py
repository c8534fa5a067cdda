"""The oracle's tables: one for each field, the least biased strategy first."""

from collections.abc import Callable

from rich import box
from rich.table import Table

from benchmarks.oracle.records import CaseRecord, OracleRow

__all__ = ["case_table", "markdown"]

ABSENT = "\N{EN DASH}"


def _figure(value: float | None, digits: int = 4) -> str:
    if value is None:
        return ABSENT
    # No minus sign before a rounded 0.
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _floor(row: OracleRow) -> str:
    return "exact" if row.exact else _figure(row.floor)


COLUMNS: list[tuple[str, Callable[[OracleRow], str]]] = [
    ("strategy", lambda row: row.strategy),
    ("W2\N{SUPERSCRIPT TWO}", lambda row: _figure(row.w2)),
    ("floor", _floor),
    ("seam corr.", lambda row: _figure(row.seam_correlation, 3)),
    ("var. at seams", lambda row: _figure(row.border_variance, 3)),
    ("var. at end", lambda row: _figure(row.end_variance, 3)),
    ("calls", lambda row: f"{row.evaluations.network_calls:,}"),
    ("patches", lambda row: f"{row.evaluations.patch_evaluations:,}"),
    ("px/px", lambda row: f"{row.evaluations.pixels_per_pixel:,.0f}"),
    ("gradients", lambda row: f"{row.evaluations.gradient_passes:,}"),
]


def ordered(case: CaseRecord) -> list[OracleRow]:
    """Returns the rows, the least biased first."""
    return sorted(case.rows, key=lambda row: row.w2)


def caption(case: CaseRecord) -> str:
    """Returns what stands above the table."""
    height, width = case.canvas
    return (
        f"{case.name} px: {height} x {width} px, windows of {case.window[0]} x {case.window[1]}, "
        f"overlap {case.overlap}; neighbours correlate by {case.neighbours:.3f}"
    )


def case_table(case: CaseRecord) -> Table:
    """Returns the table for a terminal."""
    table = Table(title=caption(case), title_justify="left", box=box.SIMPLE_HEAD)
    for name, _ in COLUMNS:
        table.add_column(name, justify="left" if name == "strategy" else "right", no_wrap=True)
    for row in ordered(case):
        table.add_row(*(cell(row) for _, cell in COLUMNS))
    return table


def markdown(case: CaseRecord) -> str:
    """Returns the table for a page."""
    lines = [
        "| " + " | ".join(name for name, _ in COLUMNS) + " |",
        "|---|" + "---:|" * (len(COLUMNS) - 1),
    ]
    for row in ordered(case):
        lines.append("| " + " | ".join(cell(row) for _, cell in COLUMNS) + " |")
    failures = [f"- {name}: {reason}" for name, reason in case.failures.items()]
    return "\n".join([caption(case), "", *lines, *failures, ""])
