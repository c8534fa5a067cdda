"""The oracle's tables: one for each field, the least biased strategy first."""

from collections.abc import Callable, Iterable

from rich.table import Table

from benchmarks.oracle.records import CaseRecord, OracleResults, OracleRow
from benchmarks.tables.columns import (
    ABSENT,
    PLUS_MINUS,
    Cell,
    Column,
    columns_of,
    failed,
    fixed,
    markdown,
    page,
    short,
    terminal,
)

__all__ = ["case_table", "columns", "document", "error_of", "line_of", "notes", "ordered"]

W2 = "W2\N{SUPERSCRIPT TWO}"
SAMPLED = "sampled (floor)"
FEW = 10  # samples a pixel below which what falls with their number is known but roughly

# What a narrow terminal does without, the least important first.
DROPPED_FIRST = (
    "gradient passes",
    "patches",
    "calls",
    SAMPLED,
    "variance at end",
    "variance at seams",
    "px/px",
    "seam corr.",
)


def case_table(record: CaseRecord, *, width: int | None = None) -> Table:
    """Returns the table of a field for a terminal.

    Args:
        record: The field.
        width: Columns of the terminal; the least important columns of the table are left out
            until it fits, and the caption says which. None asks the terminal.
    """
    return terminal(
        columns(record),
        title=f"{_capital(record.name)} px: {_circumstances(record)}",
        notes=failed(record.failures),
        dropped_first=DROPPED_FIRST,
        elsewhere="oracle.md",
        width=width,
    )


def document(results: OracleResults) -> str:
    """Returns all tables with all their columns in Markdown, and what must be read with them."""
    sections = {
        f"{_capital(record.name)} px": "\n\n".join(
            [_circumstances(record), markdown(columns(record)), *failed(record.failures)]
        )
        for record in results.cases
    }
    return page(sections, notes(results))


def columns(record: CaseRecord) -> list[Column]:
    """Returns the columns that suit a field, from left to right."""
    cells: dict[str, Callable[[OracleRow], str | Cell]] = {
        "strategy": lambda row: short(row.strategy),
        W2: lambda row: fixed(row.w2, 4),
    }
    if any(row.sampling for row in record.rows):
        cells |= {PLUS_MINUS: error_of, "sampled\n(floor)": _sampled}
    if any(map(_misses_the_mean, record.rows)):
        cells[f"{W2}\nof mean"] = lambda row: fixed(row.mean_w2, 4)
    cells |= {
        "seam\ncorr.": lambda row: fixed(row.seam_correlation, 3),
        "variance\nat seams": lambda row: fixed(row.edge_variance, 3),
    }
    if not record.wraps[1]:
        cells["variance\nat end"] = lambda row: fixed(row.end_variance, 3)
    cells |= {
        "calls": lambda row: f"{row.evaluations.network_calls:,}",
        "patches": lambda row: f"{row.evaluations.patch_evaluations:,}",
        "px/px": lambda row: f"{row.evaluations.nfe_per_pixel:,.0f}",
        "gradient\npasses": lambda row: f"{row.evaluations.backward_passes:,}",
    }
    return columns_of(ordered(record), cells)


def line_of(row: OracleRow) -> str:
    """Returns a row's figures on one line, for logs."""
    error = "exact" if row.sampling is None else f"{PLUS_MINUS} {error_of(row)}"
    return (
        f"{short(row.strategy)}: {W2} {fixed(row.w2, 4)} ({error}), seam corr. "
        f"{fixed(row.seam_correlation, 3)}, variance at seams {fixed(row.edge_variance, 3)}, "
        f"{row.evaluations.network_calls:,} calls; {row.seconds:.0f} s"
    )


def ordered(record: CaseRecord) -> list[OracleRow]:
    """Returns the rows, the least biased first."""
    return sorted(record.rows, key=lambda row: row.w2)


def notes(results: OracleResults) -> list[str]:
    """Returns what must be read with the figures, a sentence or two each."""
    rows = [row for record in results.cases for row in record.rows]
    found = [
        f"{W2}: squared 2-Wasserstein distance to the true field, over its variance. Variances "
        "are over the field's too. px/px: pixels evaluated for each pixel of the canvas.",
        _steps(rows),
    ]
    counts = sorted({row.canvases for row in rows if row.sampling})
    if counts:
        found.append(
            f"Figures with a {PLUS_MINUS} are from {counts[0]:,} samples: what falls with their "
            f"number is taken off, and {PLUS_MINUS} is the standard error. {SAMPLED}: the {W2} of "
            "the samples as they are, and that of as many true ones. All other figures are exact."
        )
    else:
        found.append("All figures are exact.")
    pixels = max(record.canvas[0] * record.canvas[1] for record in results.cases)
    if counts and counts[0] < FEW * pixels:
        found.append(
            f"{counts[0]:,} samples are few for {pixels} pixels: there is more to take off than "
            f"is known, take {FEW * pixels:,}."
        )
    return [note for note in found if note]


def _circumstances(record: CaseRecord) -> str:
    (height, width), window = record.canvas, record.window
    said = (
        f"{height} x {width} px, windows of {window[0]} x {window[1]} px that share "
        f"{record.overlap}; neighbours correlate by {record.neighbours:.3f}."
    )
    others = [short(row.strategy) for row in record.rows if "overlap" not in row.settings]
    if others and 2 * record.overlap != max(window):
        said += f" What windows share is no setting of {', '.join(others)}."
    return said


def _steps(rows: list[OracleRow]) -> str:
    """Names the steps of the strategies, and which of them were given a true window."""
    counts = sorted({row.steps for row in rows})
    said = [
        f"{count} steps: {', '.join(_names(row for row in rows if row.steps == count))}."
        for count in counts
    ]
    started = _names(row for row in rows if row.true_start)
    if started:
        said.append(f"From a true window in the middle: {', '.join(started)}.")
    return " ".join(said)


def _names(rows: Iterable[OracleRow]) -> list[str]:
    return list(dict.fromkeys(short(row.strategy) for row in rows))


def error_of(row: OracleRow) -> str:
    """Returns the standard error of a row's W2^2; `exact` where there is none."""
    if row.sampling is None:
        return "exact"
    error = row.sampling.standard_errors["w2"]
    return "<0.0001" if error < 5e-5 else fixed(error, 4)


def _sampled(row: OracleRow) -> str | Cell:
    if row.sampling is None:
        return ABSENT
    return Cell(fixed(row.sampling.w2, 4), f"({fixed(row.sampling.floor, 4)})")


def _misses_the_mean(row: OracleRow) -> bool:
    """Tells whether the error of the mean is more than rounding, or than chance."""
    error = row.sampling.standard_errors["mean_w2"] if row.sampling else 0.0
    return row.mean_w2 > 5e-5 + 5 * error


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
