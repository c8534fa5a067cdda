"""The tables of the latency benchmark: seconds by width, and all of what each width costs."""

import dataclasses
from collections.abc import Callable

from rich import box, get_console
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from benchmarks.latency.records import Floor, LatencyResults, Point
from benchmarks.metrics.estimates import Spread

__all__ = [
    "Column",
    "costs",
    "costs_table",
    "document",
    "latex",
    "line_of",
    "notes",
    "seconds",
    "seconds_table",
    "short",
    "significant",
]

ABSENT = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
MICRO = "\N{GREEK SMALL LETTER MU}s"
REASON = 200  # characters of a failure's reason; the JSON has all of them

# What a narrow terminal does without, the least important first.
DROPPED_FIRST = (
    "repeats",
    "patches",
    "floor s",
    "calls",
    "gradient passes",
    "MiB",
    "px/px",
    f"{TIMES} naive",
    "in network",
)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: Its head.
        cells: Its entries, from top to bottom.
    """

    name: str
    cells: list[str]


def seconds(results: LatencyResults, *, quartiles: bool = True) -> list[Column]:
    """Returns the table of seconds: a row a strategy, a column a width in patches."""
    names = _names(results)
    columns = [Column("strategy", [short(name) for name in names])]
    for width in _widths(results):
        points = [results.point(name, width) for name in names]
        cells = [_or_absent(point, lambda p: _spread(p.latency, quartiles)) for point in points]
        columns.append(Column(str(width), cells))
    return columns


def costs(results: LatencyResults, width: int) -> list[Column]:
    """Returns the table of one width: a row a strategy, a column for all that it costs."""
    names, floor = _names(results), results.floor
    points = [results.point(name, width) for name in names]

    def column(name: str, cell: Callable[[Point], str]) -> Column:
        return Column(name, [_or_absent(point, cell) for point in points])

    def naive(point: Point) -> str:
        ratio = results.ratio_to_naive(point)
        return ABSENT if ratio is None else _spread(ratio, quartiles=True)

    return [
        Column("strategy", [short(name) for name in names]),
        column("seconds [quartiles]", lambda point: _spread(point.latency, quartiles=True)),
        column("repeats", lambda point: f"{len(point.seconds)}"),
        column(f"{TIMES} naive", naive),
        column("calls", lambda point: f"{point.network_calls:,}"),
        column("patches", lambda point: f"{point.patch_evaluations:,}"),
        column("px/px", lambda point: f"{point.pixels_per_pixel:,.1f}"),
        column("gradient passes", lambda point: f"{point.gradient_passes:,}"),
        column("MiB", lambda point: f"{point.peak_memory_mib:,.0f}"),
        column("in network", lambda point: f"{100 * point.network_share:.1f} %"),
        column("floor s", lambda point: _of_floor(point.floor_seconds, floor)),
        column(f"{TIMES} floor", lambda point: _of_floor(point.ratio_to_floor, floor)),
    ]


def line_of(point: Point) -> str:
    """Returns a point on one line, for logs."""
    return (
        f"{short(point.strategy)}, width {point.width}: "
        f"{_spread(point.latency, quartiles=True)} s, "
        f"{point.network_calls:,} calls, {point.pixels_per_pixel:,.1f} px/px, "
        f"{100 * point.network_share:.1f} % in network"
    )


def notes(results: LatencyResults) -> list[str]:
    """Returns what must be read with the figures, a sentence or two each."""
    settings, environment = results.settings, results.environment
    found = [
        f"One canvas alone, {results.height} px high and so many patches of "
        f"{results.patch_size} px wide; {results.steps} steps of {_solver(settings)}; "
        f"{settings['precision']}{', compiled' if settings['compile'] else ''}; seed "
        f"{settings['seed']}; {environment['device']}; CPU threads: {environment['threads']}; "
        f"torch {environment['versions']['torch']}; {results.created[:10]}"
        + (f"; load before it {results.load:.2f}." if results.load is not None else "."),
        f"Seconds: median and quartiles of {settings['repeats']} runs, after {settings['warmup']} "
        f"of warm-up, one strategy after another in every round. {TIMES} naive: over the seconds "
        f"of naive in the same round. MiB: {environment['memory']}. In network: share of the time "
        "in its forward and backward passes.",
    ]
    found += _on_the_floor(results.floor)
    found += _reductions(results)
    found += [
        f"{'Failed' if item.failed else 'Left out'}: {item.strategy} at {item.width}: "
        f"{_shortened(item.reason)}"
        for item in results.absences
    ]
    return found


def document(results: LatencyResults) -> str:
    """Returns all tables with all their columns in Markdown, and what must be read with them."""
    parts = ["## Seconds by width in patches", _markdown(seconds(results))]
    for width in _widths(results):
        parts += [f"## {_patches(width)} wide", _markdown(costs(results, width))]
    return "\n\n".join([*parts, *(f"- {note}" for note in notes(results))]) + "\n"


def latex(results: LatencyResults) -> str:
    """Returns the seconds, and all that the widest canvas costs, as two tables for LaTeX.

    They need the package booktabs.
    """
    comments = [f"% {note}" for note in notes(results)]
    parts = [_tabular(seconds(results))]
    for width in _widths(results)[-1:]:
        parts += [f"% {_patches(width)} wide", _tabular(costs(results, width))]
    return "\n".join([*comments, *parts]) + "\n"


def seconds_table(results: LatencyResults, *, width: int | None = None) -> Table:
    """Returns the table of seconds for a terminal of `width` columns; None asks the terminal."""
    width = get_console().width if width is None else width
    title = "seconds for one canvas, by its width in patches"
    table = _table(seconds(results), title)
    return table if _width(table) <= width else _table(seconds(results, quartiles=False), title)


def costs_table(results: LatencyResults, patches: int, *, width: int | None = None) -> Table:
    """Returns the table of one width for a terminal; its least important columns go if they must.

    Args:
        results: The run.
        patches: Width of the canvas.
        width: Columns of the terminal; None asks it.
    """
    width = get_console().width if width is None else width
    shown, dropped = costs(results, patches), []
    for name in DROPPED_FIRST:
        if _width(_table(shown, "")) <= width:
            break
        shown = [column for column in shown if column.name != name]
        dropped.append(name)
    caption = f"In table.md: {', '.join(dropped)}." if dropped else None
    return _table(shown, f"{_patches(patches)} wide", caption)


def short(name: str) -> str:
    """Keeps dotted paths from widening a table: the class is enough there."""
    return name.rpartition(".")[2]


def significant(value: float) -> str:
    """Returns a positive number with three digits, and more only before the point.

    >>> significant(0.012345), significant(1.0), significant(99.97), significant(1234.5)
    ('0.0123', '1.00', '100', '1,234')
    """
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def _on_the_floor(floor: Floor | None) -> list[str]:
    if floor is None:
        return ["The floor was not measured."]
    forward, backward = floor.forward, floor.backward
    sizes = ", ".join(str(batch.patches) for batch in floor.batches)
    costs = [f"{significant(cost * 1e6)} {MICRO}" for cost in (forward.forward, backward.backward)]
    found = [
        f"Floor: every pixel evaluated at {costs[0]}, the least of calls of {sizes} patches (that "
        f"of {forward.patches}), and every pixel of a backward pass at {costs[1]} (that of "
        f"{backward.patches}). Evaluations that are no patches, halves or whole canvases, may cost "
        "more or less."
    ]
    if floor.too_large:
        found.append(
            f"Memory did not suffice for calls of {', '.join(map(str, floor.too_large))} patches."
        )
    elif len(floor.batches) > 1 and forward is floor.batches[-1]:
        found.append("The largest calls were the cheapest: larger ones might cost less still.")
    return found


def _reductions(results: LatencyResults) -> list[str]:
    fewer = [point for point in results.finished if point.repeats < point.asked]
    if not fewer:
        return []
    said = ", ".join(f"{p.strategy} at {p.width} ({p.repeats})" for p in fewer)
    return [
        f"Fewer repeats, to stay within most_seconds={results.settings['most_seconds']:g}: {said}."
    ]


def _names(results: LatencyResults) -> list[str]:
    """Returns all strategies, the fastest on the widest canvas that each has made first."""
    absent = {item.strategy for item in results.absences} - set(results.strategies)
    widest = {name: results.line(name)[-1] for name in results.strategies}

    def by_speed(name: str) -> float:
        return widest[name].latency.median / widest[name].width

    return [*sorted(results.strategies, key=by_speed), *sorted(absent)]


def _widths(results: LatencyResults) -> list[int]:
    return sorted({*results.widths, *(item.width for item in results.absences)})


def _solver(settings: dict) -> str:
    return settings["solver"]["class_path"].rpartition(".")[2]


def _patches(width: int) -> str:
    return f"{width} patch{'' if width == 1 else 'es'}"


def _or_absent(point: Point | None, cell: Callable[[Point], str]) -> str:
    return ABSENT if point is None else cell(point)


def _of_floor(figure: Callable[[Floor], float], floor: Floor | None) -> str:
    return ABSENT if floor is None else significant(figure(floor))


def _spread(value: Spread, quartiles: bool) -> str:
    median = significant(value.median)
    if not quartiles:
        return median
    return f"{median} [{significant(value.lower)}, {significant(value.upper)}]"


def _table(columns: list[Column], title: str, caption: str | None = None) -> Table:
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(Text(column.name), justify="right" if number else "left", no_wrap=True)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _width(table: Table) -> int:
    """Returns the width at which no entry is wrapped."""
    console = get_console()
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def _markdown(columns: list[Column]) -> str:
    lines = []
    for number, column in enumerate(columns):
        width = max(3, *map(cell_len, (column.name, *column.cells)))
        rule = "-" * (width - 1) + (":" if number else "-")
        padded = [_padded(cell, width, left=not number) for cell in (column.name, *column.cells)]
        lines.append([padded[0], rule, *padded[1:]])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in zip(*lines, strict=True))


def _padded(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - cell_len(text))
    return text + space if left else space + text


def _tabular(columns: list[Column]) -> str:
    rows = [" & ".join(map(_escaped, (column.name for column in columns)))]
    rows += [
        " & ".join(map(_escaped, cells))
        for cells in zip(*(column.cells for column in columns), strict=True)
    ]
    head, *body = [f"{row} \\\\" for row in rows]
    layout = f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}"
    return "\n".join(
        [layout, "\\toprule", head, "\\midrule", *body, "\\bottomrule", "\\end{tabular}"]
    )


def _escaped(text: str) -> str:
    """Returns text as LaTeX writes it."""
    for plain, written in (
        ("_", "\\_"),
        ("%", "\\%"),
        ("&", "\\&"),
        ("#", "\\#"),
        (ABSENT, "--"),
        (TIMES, "$\\times$"),
    ):
        text = text.replace(plain, written)
    return text


def _shortened(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= REASON else line[: REASON - 1] + "\N{HORIZONTAL ELLIPSIS}"
