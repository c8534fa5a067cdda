"""The comparison as a table: a row a strategy, for the terminal, in Markdown and for a paper."""

import dataclasses

from rich.table import Table

from benchmarks.results.columns import baselines, columns
from benchmarks.results.notes import notes
from benchmarks.results.records import Results
from benchmarks.tables.columns import bullets, escaped, short, tabular, terminal
from benchmarks.tables.columns import markdown as written

__all__ = ["comparison", "latex", "markdown"]

BOLD = "Bold is the best strategy of a column, whether or not chance would explain it."
# What a narrow terminal does without, the least important first.
DROPPED_FIRST = (
    "nfe",
    "network",
    "memory",
    "evaluations",
    "repetition",
    "recall",
    "precision",
    "correlation_gap",
    "kid",
    "colour_drift",
    "pixels",
    "wrap_error",
    "parallel",
    "seam_ratio",
)


def comparison(results: Results, *, width: int | None = None) -> Table:
    """Returns the table of a run, real images first, failures last.

    Args:
        results: The run; rows without cost or seams are fine.
        width: Columns of the terminal; the least important columns of the table are left out
            until it fits, and the caption says which. None asks the terminal.
    """
    first, *others = columns(results)
    names = [dataclasses.replace(cell, text=short(cell.text)) for cell in first.cells]
    return terminal(
        [dataclasses.replace(first, cells=names), *others],
        title=results.name,
        notes=notes(results),
        dropped_first=DROPPED_FIRST,
        elsewhere="the report",
        baselines=len(baselines(results)),
        width=width,
    )


def markdown(results: Results) -> str:
    """Returns the same table with all its columns, and its notes, in Markdown."""
    return f"{written(columns(results))}\n\n{bullets(notes(results))}\n"


def latex(results: Results) -> str:
    """Returns the same for LaTeX with `booktabs` and `graphicx`, the notes as the caption."""
    parts = [
        f"% {' '.join(results.command.split())}",
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table*}",
        r"\centering",
        r"\resizebox{\textwidth}{!}{%",
        tabular(columns(results), baselines=len(baselines(results))) + "}",
        rf"\caption{{{escaped(results.name)}. {' '.join(map(escaped, [BOLD, *notes(results)]))}}}",
        rf"\label{{tab:{_label(results.name)}}}",
        r"\end{table*}",
    ]
    return "\n".join(parts) + "\n"


def _label(name: str) -> str:
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name)
