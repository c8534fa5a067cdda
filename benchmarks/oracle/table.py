"""The oracle's tables: one for each field, the least biased strategy first."""

import dataclasses
from collections.abc import Callable, Iterable

from rich import box, get_console
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from benchmarks.oracle.records import CaseRecord, OracleResults, OracleRow

__all__ = ["case_table", "document", "error_of", "line_of", "notes", "ordered", "short"]

ABSENT = "\N{EN DASH}"
W2 = "W2\N{SUPERSCRIPT TWO}"
ERROR = "\N{PLUS-MINUS SIGN}"
SAMPLED = "sampled (floor)"
REASON = 200  # characters of a failure's reason; the JSON has all of them
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


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the table.

    Args:
        title: First line of its head.
        detail: Second line of its head; may be empty.
        cell: Renders a row's entry.
    """

    title: str
    detail: str
    cell: Callable[[OracleRow], str]

    @property
    def name(self) -> str:
        """The whole head on one line."""
        return f"{self.title} {self.detail}".strip()


END = Column("variance", "at end", lambda row: _figure(row.end_variance, 3))


def case_table(record: CaseRecord, *, width: int | None = None) -> Table:
    """Returns the table of a field for a terminal.

    Args:
        record: The field.
        width: Columns of the terminal; the least important columns of the table are left out
            until it fits, and the caption says which. None asks the terminal.
    """
    width = get_console().width if width is None else width
    shown, dropped = columns(record), []
    table = _table(record, shown, dropped)
    for name in DROPPED_FIRST:
        if _width(table) <= width:
            break
        if name in {column.name for column in shown}:
            shown = [column for column in shown if column.name != name]
            dropped.append(name)
            table = _table(record, shown, dropped)
    return table


def document(results: OracleResults) -> str:
    """Returns all tables with all their columns in Markdown, and what must be read with them."""
    parts = []
    for record in results.cases:
        parts += [f"## {_capital(record.name)} px", _circumstances(record), _markdown(record)]
        parts += _failures(record)
    return "\n\n".join([*parts, *notes(results)]) + "\n"


def columns(record: CaseRecord) -> list[Column]:
    """Returns the columns that suit a field, from left to right."""
    found = [
        Column("strategy", "", lambda row: short(row.strategy)),
        Column(W2, "", lambda row: _figure(row.w2)),
    ]
    if any(row.sampling for row in record.rows):
        found += [Column(ERROR, "", error_of), Column("sampled", "(floor)", _sampled)]
    if any(map(_misses_the_mean, record.rows)):
        found.append(Column(W2, "of mean", lambda row: _figure(row.mean_w2)))
    return [
        *found,
        Column("seam", "corr.", lambda row: _figure(row.seam_correlation, 3)),
        Column("variance", "at seams", lambda row: _figure(row.border_variance, 3)),
        *([] if record.wraps[1] else [END]),
        Column("calls", "", lambda row: f"{row.evaluations.network_calls:,}"),
        Column("patches", "", lambda row: f"{row.evaluations.patch_evaluations:,}"),
        Column("px/px", "", lambda row: f"{row.evaluations.pixels_per_pixel:,.0f}"),
        Column("gradient", "passes", lambda row: f"{row.evaluations.gradient_passes:,}"),
    ]


def line_of(row: OracleRow) -> str:
    """Returns a row's figures on one line, for logs."""
    error = "exact" if row.sampling is None else f"{ERROR} {error_of(row)}"
    return (
        f"{short(row.strategy)}: {W2} {_figure(row.w2)} ({error}), seam corr. "
        f"{_figure(row.seam_correlation, 3)}, variance at seams {_figure(row.border_variance, 3)}, "
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
            f"Figures with a {ERROR} are from {counts[0]:,} samples: what falls with their number "
            f"is taken off, and {ERROR} is the standard error. {SAMPLED}: the {W2} of the samples "
            "as they are, and that of as many true ones. All other figures are exact."
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


def short(name: str) -> str:
    """Keeps dotted paths from widening a table: the class is enough there."""
    module, _, last = name.rpartition(".")
    return f"\N{HORIZONTAL ELLIPSIS}{last}" if module else name


def _table(record: CaseRecord, shown: list[Column], dropped: list[str]) -> Table:
    caption = _failures(record)
    if dropped:
        caption.append(f"Left out, for the terminal is narrow: {', '.join(dropped)}.")
    table = Table(
        title=Text(f"{_capital(record.name)} px: {_circumstances(record)}", style="bold"),
        title_justify="left",
        caption=Text("\n".join(caption)) if caption else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for number, column in enumerate(shown):
        head = Text(f"{column.title}\n{column.detail}".rstrip())
        table.add_column(head, justify="right" if number else "left", overflow="fold")
    for row in ordered(record):
        table.add_row(*(Text(column.cell(row)) for column in shown))
    return table


def _width(table: Table) -> int:
    """Returns the width at which no entry is wrapped; titles may be."""
    console = get_console()
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def _markdown(record: CaseRecord) -> str:
    shown = columns(record)
    lines = [[column.cell(row) for column in shown] for row in ordered(record)]
    lines.insert(0, [column.name for column in shown])
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [_padded(cell, width, left=not number) for number, (cell, width) in enumerate(pairs)]
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (padded[0], rules, *padded[1:]))


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


def _failures(record: CaseRecord) -> list[str]:
    return [f"Failed: {name}: {_shortened(why)}" for name, why in record.failures.items()]


def _figure(value: float | None, digits: int = 4) -> str:
    if value is None:
        return ABSENT
    # No minus sign before a rounded 0.
    return f"{round(value, digits) + 0.0:.{digits}f}"


def error_of(row: OracleRow) -> str:
    """Returns the standard error of a row's W2^2; `exact` where there is none."""
    if row.sampling is None:
        return "exact"
    error = row.sampling.standard_errors["w2"]
    return "<0.0001" if error < 5e-5 else _figure(error)


def _sampled(row: OracleRow) -> str:
    if row.sampling is None:
        return ABSENT
    return f"{_figure(row.sampling.w2)} ({_figure(row.sampling.floor)})"


def _misses_the_mean(row: OracleRow) -> bool:
    """Tells whether the error of the mean is more than rounding, or than chance."""
    error = row.sampling.standard_errors["mean_w2"] if row.sampling else 0.0
    return row.mean_w2 > 5e-5 + 5 * error


def _shortened(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= REASON else line[: REASON - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _padded(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - cell_len(text))
    return text + space if left else space + text
