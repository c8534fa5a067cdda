"""The comparison as a table: a row a strategy, for the terminal and in Markdown."""

from rich import box, get_console
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from benchmarks.comparison.records import Results
from benchmarks.report.columns import DAGGER, Column, Line, columns, lines
from benchmarks.report.notes import notes

__all__ = ["comparison", "markdown"]

# What a narrow terminal does without, the least important first.
DROPPED_FIRST = (
    "calls",
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
    width = get_console().width if width is None else width
    everything = columns(results)
    shown = [column for column in everything if column.is_main]
    table = _table(results, shown, everything)
    for name in DROPPED_FIRST:
        if _width(table) <= width:
            break
        shown = [column for column in shown if column.name != name]
        table = _table(results, shown, everything)
    return table


def markdown(results: Results) -> str:
    """Returns the same table with all its columns, in Markdown, padded so that they line up."""
    shown = columns(results)
    heads = [f"{column.title} {column.detail}".strip() for column in shown]
    entries = [heads, *(_entries(line) for line in lines(results, shown))]
    entries = [[_escaped(entry) for entry in line] for line in entries]
    widths = [max(map(cell_len, cells)) for cells in zip(*entries, strict=True)]
    rules = [
        "-" * width if column.is_text else "-" * (width - 1) + ":"
        for column, width in zip(shown, widths, strict=True)
    ]
    padded = [
        [
            _padded(cell, width, left=column.is_text)
            for column, cell, width in zip(shown, line, widths, strict=True)
        ]
        for line in (entries[0], rules, *entries[1:])
    ]
    rows = ["| " + " | ".join(cells) + " |" for cells in padded]
    return "\n".join([*rows, "", *[f"- {_escaped(note)}" for note in notes(results)]]) + "\n"


def _table(results: Results, shown: list[Column], everything: list[Column]) -> Table:
    table = Table(
        title=Text(results.name),
        caption=Text("\n".join([*notes(results), *_left_out(shown, everything)])),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column in shown:
        head = Text(f"{column.title}\n{column.detail}".rstrip())
        justify = "left" if column.is_text else "right"
        table.add_column(head, justify=justify, overflow="fold")
    for line in lines(results, shown):
        name, *others = _entries(line)
        dim = line.kind in ("real", "patches")
        table.add_row(*map(Text, [_short(name), *others]), style="dim" if dim else None)
    return table


def _left_out(shown: list[Column], everything: list[Column]) -> list[str]:
    """Says which columns the terminal does not show."""
    names = {column.name for column in shown}
    missing = [column.title for column in everything if column.name not in names]
    return [f"Left out here, but written down: {', '.join(missing)}."] if missing else []


def _entries(line: Line) -> list[str]:
    name, *others = map(str, line.cells)
    return [f"{name} {DAGGER}" if line.marked else name, *others]


def _width(table: Table) -> int:
    """Returns the width at which no entry is wrapped."""
    console = get_console()
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def _short(name: str) -> str:
    """Keeps dotted paths from widening a terminal's table: the class is enough there."""
    path, at, budget = name.partition("@")
    module, _, last = path.rpartition(".")
    return f"…{last}{at}{budget}" if module else name


def _padded(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - cell_len(text))
    return text + space if left else space + text


def _escaped(text: str) -> str:
    """Keeps names from being read as Markdown or HTML."""
    text = " ".join(text.split()).replace("\\", "\\\\")
    for special, escape in (("<", "&lt;"), ("|", r"\|"), ("*", r"\*"), ("`", r"\`")):
        text = text.replace(special, escape)
    return text
