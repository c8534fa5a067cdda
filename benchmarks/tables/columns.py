r"""The one writer of tables: for a terminal, in Markdown, and for LaTeX with `booktabs`.

A table is a list of columns with equally many cells. Its first column names the rows. Heads of two
lines are written with a line break between them, which Markdown shows as a space.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich import box, get_console
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from benchmarks.metrics.estimates import Spread

__all__ = [
    "ABSENT",
    "DAGGER",
    "DOWN",
    "PLUS_MINUS",
    "TIMES",
    "UP",
    "Cell",
    "Column",
    "bullets",
    "by_rows",
    "columns_of",
    "escaped",
    "failed",
    "fixed",
    "markdown",
    "page",
    "short",
    "shortened",
    "significant",
    "spread",
    "tabular",
    "terminal",
]

ABSENT = "\N{EN DASH}"
DAGGER = "\N{DAGGER}"
TIMES = "\N{MULTIPLICATION SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
DOWN, UP = "\N{DOWNWARDS ARROW}", "\N{UPWARDS ARROW}"

# What LaTeX, or one of its fonts, does not read as itself.
SPECIAL = {letter: f"\\{letter}" for letter in "{}&%$#_"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # after \\ it would be read as a length
    "]": "{]}",
    ABSENT: "--",
    DAGGER: r"$^\dagger$",
    TIMES: r"$\times$",
    PLUS_MINUS: r"$\pm$",
    DOWN: r"$\downarrow$",
    UP: r"$\uparrow$",
    "\N{SUPERSCRIPT TWO}": "$^2$",
    "\N{GREEK SMALL LETTER MU}": r"$\mu$",
    "\N{NABLA}": r"$\nabla$",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """An entry of a table; a plain string will do where nothing but words is needed.

    Args:
        text: What is printed.
        extra: What stands after it in brackets, such as an interval; LaTeX sets it small, and a
            terminal too narrow for it goes without.
        value: The number itself, for sorting; None where there is none.
        is_best: Whether it is the best of its column; LaTeX sets it bold.
    """

    text: str
    extra: str = ""
    value: float | None = None
    is_best: bool = False

    @override
    def __str__(self) -> str:
        return f"{self.text} {self.extra}".rstrip()


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        head: Its head, of one line or two.
        cells: Its entries, from top to bottom.
        name: By which it is dropped; its head on one line if empty.
        is_text: Whether the entries are words, set flush left, and not figures; those of the first
            column are.
        is_main: Whether a terminal shows it.
    """

    head: str
    cells: Sequence[str | Cell]
    name: str = ""
    is_text: bool = False
    is_main: bool = True

    @property
    def line(self) -> str:
        """The head on one line."""
        return " ".join(self.head.split())


def columns_of(
    rows: Sequence[Any], cells: Mapping[str, Callable[[Any], str | Cell]]
) -> list[Column]:
    """Returns a column for each head, its cells rendered from the rows.

    >>> [(column.head, column.cells) for column in columns_of([1, 2], {"n": str, "2 n": bin})]
    [('n', ['1', '2']), ('2 n', ['0b1', '0b10'])]
    """
    return [Column(head, [cell(row) for row in rows]) for head, cell in cells.items()]


def by_rows(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, is_text: bool = False
) -> list[Column]:
    """Returns the columns of a table that is given row by row."""
    return [
        Column(title, cells, is_text=is_text) for title, *cells in zip(head, *rows, strict=True)
    ]


def terminal(
    columns: Sequence[Column],
    *,
    title: str = "",
    notes: Sequence[str] = (),
    dropped_first: Sequence[str] = (),
    elsewhere: str = "table.md",
    baselines: int = 0,
    width: int | None = None,
) -> Table:
    """Returns the table for a terminal; what does not fit is left out, and the last note says what.

    Args:
        columns: From left to right.
        title: Above it.
        notes: Below it, a line each.
        dropped_first: Names of the columns that a narrow terminal does without, the least important
            first.
        elsewhere: Where all columns are.
        baselines: Rows at the top that are not compared: they are dim.
        width: Columns of the terminal; None asks it.
    """
    width = get_console().width if width is None else width
    shown = [column for column in columns if column.is_main]
    for name in dropped_first:
        if _fits(shown, width):
            break
        shown = [column for column in shown if (column.name or column.line) != name]
    absent = [column.line for column in columns if column not in shown]
    left_out = [f"Left out here, but in {elsewhere}: {', '.join(absent)}."] if absent else []
    if not _fits(shown, width):
        shown = [_without_extras(column) for column in shown]
    table = _printed(shown, baselines)
    table.title = Text(title, style="bold") if title else None
    caption = "\n".join(["", *notes, *left_out])
    table.caption = Text(caption) if caption else None
    return table


def markdown(columns: Sequence[Column]) -> str:
    """Returns the table in Markdown, with all its columns, padded so that they line up."""
    lines = []
    for number, column in enumerate(columns):
        cells = [_plain(text) for text in (column.line, *map(str, column.cells))]
        width = max(3, *map(cell_len, cells))
        left = column.is_text or not number
        spaces = [" " * (width - cell_len(cell)) for cell in cells]
        pairs = zip(cells, spaces, strict=True)
        head, *entries = [cell + space if left else space + cell for cell, space in pairs]
        lines.append([head, "-" * (width - 1) + ("-" if left else ":"), *entries])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in zip(*lines, strict=True))


def tabular(columns: Sequence[Column], *, baselines: int = 0) -> str:
    """Returns the table for LaTeX with the package `booktabs`.

    Args:
        columns: From left to right.
        baselines: Rows at the top that are not compared: they have a rule of their own.
    """
    titles, _, details = zip(*(column.head.partition("\n") for column in columns), strict=True)
    layout = "".join("l" if column.is_text or not k else "r" for k, column in enumerate(columns))
    heads = [[*map(escaped, titles)], [*map(_small, details)]]
    rows = [[*map(_latex_cell, row)] for row in zip(*(c.cells for c in columns), strict=True)]
    parts = [heads if any(heads[1]) else heads[:1], rows[:baselines], rows[baselines:]]
    body = ["\n".join(" & ".join(row) + r" \\" for row in part) for part in parts if part]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{@{{}}{layout}@{{}}}}",
            r"\toprule",
            "\n\\midrule\n".join(body),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def page(sections: Mapping[str, str], notes: Iterable[str]) -> str:
    """Returns a page in Markdown: what stands under each heading, and then the notes."""
    parts = [part for heading, body in sections.items() for part in (f"## {heading}", body)]
    return "\n\n".join([*parts, bullets(notes)]) + "\n"


def bullets(notes: Iterable[str]) -> str:
    """Returns a list in Markdown."""
    return "\n".join(f"- {_plain(note)}" for note in notes)


def escaped(text: str) -> str:
    r"""Keeps a text from being read as LaTeX.

    >>> escaped("async_patch: 95 %")
    'async\\_patch: 95 \\%'
    """
    return "".join(SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


def short(name: str) -> str:
    """Keeps dotted paths from widening a table: the class is enough there.

    >>> short("naive"), short("my_package.module.Own@6.5")
    ('naive', 'Own@6.5')
    """
    path, at, budget = name.partition("@")
    return path.rpartition(".")[2] + at + budget


def shortened(text: str, most: int = 200) -> str:
    """Returns a text on one line, of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def failed(failures: Mapping[str, str]) -> list[str]:
    """Returns why rows are missing, a shortened sentence each."""
    return [f"Failed: {name}: {shortened(why)}" for name, why in failures.items()]


def fixed(value: float | None, digits: int) -> str:
    """Returns a number with so many digits after the point, and no sign before a rounded 0.

    >>> fixed(1.25, 3), fixed(-0.0001, 2), fixed(None, 2) == ABSENT
    ('1.250', '0.00', True)
    """
    return ABSENT if value is None else f"{value:z.{digits}f}"


def significant(value: float) -> str:
    """Returns a positive number with three digits, and more only before the point.

    >>> significant(0.012345), significant(1.0), significant(99.97), significant(1234.5)
    ('0.0123', '1.00', '100', '1,234')
    """
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def spread(value: Spread) -> Cell:
    """Returns a median with its quartiles, each of three digits.

    >>> str(spread(Spread(0.25, 0.2, 0.5, repeats=5)))
    '0.250 [0.200, 0.500]'
    """
    quartiles = f"[{significant(value.lower)}, {significant(value.upper)}]"
    return Cell(significant(value.median), quartiles, value.median)


def _printed(columns: Sequence[Column], baselines: int = 0) -> Table:
    table = Table(
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for number, column in enumerate(columns):
        left = column.is_text or not number
        table.add_column(
            Text(column.head.rstrip()), justify="left" if left else "right", overflow="fold"
        )
    for number, cells in enumerate(zip(*(column.cells for column in columns), strict=True)):
        table.add_row(
            *(Text(str(cell)) for cell in cells), style="dim" if number < baselines else None
        )
    return table


def _fits(columns: Sequence[Column], width: int) -> bool:
    """Tells whether no entry is wrapped at this width; titles may be."""
    console = get_console()
    options = console.options.update(width=10_000)
    return console.measure(_printed(columns), options=options).maximum <= width


def _without_extras(column: Column) -> Column:
    cells = [cell.text if isinstance(cell, Cell) else cell for cell in column.cells]
    return dataclasses.replace(column, cells=cells)


def _plain(text: str) -> str:
    """Keeps a text from ending a cell, and from being read as emphasis or HTML; code may be."""
    text = re.sub(r"([\\|*])", r"\\\1", " ".join(text.split()))
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def _latex_cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return escaped(cell)
    text = rf"\textbf{{{escaped(cell.text)}}}" if cell.is_best else escaped(cell.text)
    return f"{text} {_small(cell.extra)}".rstrip()


def _small(text: str) -> str:
    return rf"{{\scriptsize {escaped(text)}}}" if text else ""
