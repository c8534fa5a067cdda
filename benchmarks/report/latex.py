r"""The comparison as a table for a paper: LaTeX with the packages `booktabs` and `graphicx`.

The best figure of a column is bold. An interval is set small, as is the figure of real images
beside a figure that should be like it.
"""

from benchmarks.comparison.records import Results
from benchmarks.report.columns import baselines, columns
from benchmarks.report.notes import notes
from benchmarks.tables.columns import escaped, tabular

__all__ = ["latex"]

BOLD = "Bold is the best strategy of a column, whether or not chance would explain it."


def latex(results: Results) -> str:
    """Returns the table of a run with all its columns, and its notes as the caption."""
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
