r"""The comparison as a table for a paper: LaTeX with the packages `booktabs` and `graphicx`.

The best figure of a column is bold. An interval is set small, as is the figure of real images
beside a figure that should be like it.
"""

from benchmarks.comparison.records import Results
from benchmarks.report.columns import Cell, Line, best_entries, columns, lines
from benchmarks.report.notes import notes

__all__ = ["escaped", "latex"]

BOLD = "Bold is the best strategy of a column, whether or not chance would explain it."
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # after \\ it would be read as a length
    "]": "{]}",
    "\N{EN DASH}": "--",
    "\N{DAGGER}": r"$^\dagger$",
    "\N{DOWNWARDS ARROW}": r"$\downarrow$",
    "\N{UPWARDS ARROW}": r"$\uparrow$",
    "\N{NABLA}": r"$\nabla$",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
}


def latex(results: Results) -> str:
    """Returns the table of a run with all its columns, and its notes as the caption."""
    shown = columns(results)
    body = lines(results, shown)
    best = best_entries(body, shown)
    baselines = [line for line in body if line.kind in ("real", "patches")]
    others = [line for line in body if line not in baselines]
    parts = [_rendered(part, best) for part in (baselines, others) if part]
    table = [
        _comment(results.command),
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table*}",
        r"\centering",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{''.join('l' if c.is_text else 'r' for c in shown)}@{{}}}}",
        r"\toprule",
        " & ".join(escaped(column.title) for column in shown) + r" \\",
        " & ".join(_small(column.detail) for column in shown) + r" \\",
        r"\midrule",
        *"\n\\midrule\n".join("\n".join(part) for part in parts).splitlines(),
        r"\bottomrule",
        r"\end{tabular}}",
        rf"\caption{{{escaped(results.name)}. {' '.join(map(escaped, [BOLD, *notes(results)]))}}}",
        rf"\label{{tab:{_label(results.name)}}}",
        r"\end{table*}",
    ]
    return "\n".join(table) + "\n"


def escaped(text: str) -> str:
    r"""Keeps a text from being read as LaTeX.

    >>> escaped("async_patch: 95 %")
    'async\\_patch: 95 \\%'
    """
    return "".join(SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


def _rendered(body: list[Line], best: set[tuple[str, int]]) -> list[str]:
    return [
        " & ".join(
            _cell(cell, bold=(line.title, place) in best, marked=line.marked and not place)
            for place, cell in enumerate(line.cells)
        )
        + r" \\"
        for line in body
    ]


def _cell(cell: Cell, *, bold: bool, marked: bool) -> str:
    text = escaped(cell.text + ("\N{DAGGER}" if marked else ""))
    text = rf"\textbf{{{text}}}" if bold else text
    return f"{text} {_small(cell.extra)}" if cell.extra else text


def _small(text: str) -> str:
    return rf"{{\scriptsize {escaped(text)}}}" if text else ""


def _comment(text: str) -> str:
    return "% " + " ".join(text.split())


def _label(name: str) -> str:
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name)
