"""What stands in the table of a run, whoever prints it: its columns and its lines.

The layout is that of Table 1 of DiffCollage (Zhang et al. 2023, arXiv:2303.17076), with the
interval of the main figure and with what a canvas costs.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

from typing_extensions import override

from benchmarks.comparison.fingerprint import differences
from benchmarks.comparison.records import Cost, Results, Row
from benchmarks.metrics.catalogue import FIGURES, Figure
from benchmarks.metrics.estimates import Estimate, Spread

__all__ = [
    "ABSENT",
    "DAGGER",
    "PATCHES",
    "REAL",
    "TITLES",
    "Cell",
    "Column",
    "Line",
    "baselines",
    "best_entries",
    "columns",
    "comparable",
    "figure_name",
    "lines",
    "rounded",
    "row_title",
    "stands_beside_real",
    "with_interval",
]

ABSENT = "\N{EN DASH}"
DAGGER = "\N{DAGGER}"
REAL, PATCHES = "real", "patches"  # the rows that no strategy made
TITLES = {REAL: "real images", PATCHES: "patches (FID)"}
ARROWS = {"lower": " ↓", "higher": " ↑", "real": ""}
MAIN = ("fid_plus", "kid", "seam_ratio", "wrap_error", "colour_drift")

Better = Literal["lower", "higher", "real"]


@dataclasses.dataclass(frozen=True)
class Cell:
    """An entry of the table.

    Args:
        text: What is printed.
        extra: What stands after it in brackets, an interval or the figure of real images.
        value: The number itself, for sorting; None where there is none.
    """

    text: str
    extra: str = ""
    value: float | None = None

    @override
    def __str__(self) -> str:
        return f"{self.text} {self.extra}".rstrip()


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the table.

    Args:
        name: The figure's name in the catalogue; a name of its own for what is no figure.
        title: First line of its head.
        detail: Second line of its head: unit, or what stands in brackets; may be empty.
        cell: Renders a row's entry.
        better: Which way is better, for figures of quality.
        is_text: Whether the entries are words, set flush left, and not figures.
        is_main: Whether a terminal shows it.
    """

    name: str
    title: str
    detail: str
    cell: Callable[[Row], Cell]
    better: Better | None = None
    is_text: bool = False
    is_main: bool = True


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the table.

    Args:
        kind: Whose figures these are.
        title: What its first entry says, without the mark of a row that must not be compared.
        marked: Whether its figures must not be compared with those of the first strategy.
        cells: An entry for each column.
        row: The row itself; None for a failure.
    """

    kind: Literal["real", "patches", "strategy", "failed"]
    title: str
    marked: bool
    cells: list[Cell]
    row: Row | None


def columns(results: Results) -> list[Column]:
    """Returns the columns that suit a run, from left to right."""
    rows = [*baselines(results), *results.rows]
    shown = {name: item for name, item in FIGURES.items() if any(name in r.figures for r in rows)}
    of_figures = [_figure_column(name, figure, results) for name, figure in shown.items()]
    if not results.made_here:
        return [Column("strategy", "Images", "", _name, is_text=True), *of_figures]
    return [
        Column("strategy", "Strategy", "", _name, is_text=True),
        Column("parallel", "Parallel?", "", _parallel, is_text=True),
        *of_figures,
        _cost_column("seconds", "s/canvas", "[quartiles]", lambda cost: _seconds(cost.latency)),
        _cost_column("calls", "Calls", "", _calls),
        _cost_column("evaluations", "Evaluations", "", _evaluations),
        _cost_column("pixels", "px/px", "", _pixels),
        _cost_column("memory", "Memory", "MiB", _memory),
        _cost_column("network", "In network", "%", _network),
    ]


def lines(results: Results, shown: list[Column]) -> list[Line]:
    """Returns the entries: real images, plain patches, the strategies, and those that failed."""
    fair = {row.strategy for row in comparable(results)}
    made = [
        Line(_kind(row), row_title(row), row.strategy not in fair, _cells(row, shown), row)
        for row in [*baselines(results), *results.rows]
    ]
    return made + [_failed(name, shown) for name in results.failures]


def baselines(results: Results) -> list[Row]:
    """Returns the rows that no strategy made: real images and plain patches."""
    return [row for row in (results.real, results.patches) if row is not None]


def comparable(results: Results) -> list[Row]:
    """Returns the rows that may stand beside the first strategy's, and the two of no strategy."""
    first = results.rows[0].fingerprint if results.rows else {}
    fair = [row for row in results.rows if not differences(first, row.fingerprint)]
    return [*baselines(results), *fair]


def best_entries(body: list[Line], shown: list[Column]) -> set[tuple[str, int]]:
    """Returns the places of the best figures, by line's title and column's number.

    Rows that must not be compared do not compete; what is printed alike is equally good.
    """
    rivals = [line for line in body if line.kind == "strategy" and not line.marked]
    found = set()
    for place, column in enumerate(shown):
        losses = {
            line.title: loss
            for line in rivals
            if (loss := _loss(line, column, line.cells[place])) is not None
        }
        if column.better is not None and losses:
            first = min(losses, key=losses.__getitem__)
            found |= {(title, place) for title in _alike(rivals, losses, first, place)}
    return found


def stands_beside_real(results: Results, name: str) -> bool:
    """Whether a figure is printed with that of real images, where there are any."""
    real = any(name in row.real for row in results.rows)
    expected = results.made_here and results.num_reference > 0
    return FIGURES[name].better == "real" and (real or expected)


def figure_name(results: Results, name: str = "fid_plus") -> str:
    """Returns a figure's title, with the network whose features it rests on."""
    figure = FIGURES[name]
    return f"{figure.title} ({results.features['name']})" if figure.by_features else figure.title


def row_title(row: Row) -> str:
    """Returns what a row is called where there is room for words."""
    return TITLES.get(row.strategy, row.strategy)


def rounded(value: float, digits: int = 3) -> str:
    """Rounds to `digits` significant digits, and never to less than a whole number.

    >>> rounded(0.01234), rounded(12.345), rounded(12345.6)
    ('0.0123', '12.3', '12,346')
    """
    return f"{value:,.{_decimals(value, digits)}f}"


def with_interval(value: float, low: float, high: float, *, most: int = 4) -> str:
    """Rounds all three alike: two digits of the interval's width, two to `most` of the value.

    >>> with_interval(23.412, 22.05, 24.93), with_interval(0.52, 0.519996, 0.520004)
    ('23.4 [22.1, 24.9]', '0.5200 [0.5200, 0.5200]')
    """
    return str(_interval_cell(value, low, high, most=most))


def _figure_column(name: str, figure: Figure, results: Results) -> Column:
    inside = [results.features["name"]] if figure.by_features else []
    beside = stands_beside_real(results, name)
    inside += ["real"] if beside else []
    rows = [*baselines(results), *results.rows]
    estimates = [row.figures[name] for row in rows if name in row.figures]
    return Column(
        name,
        figure.title + ARROWS[figure.better],
        f"({'; '.join(inside)})" if inside else "",
        partial(_figure, name=name, beside=beside, finest=_finest(estimates)),
        better=figure.better,
        is_main=name in MAIN or not results.made_here,
    )


def _cost_column(name: str, title: str, detail: str, render: Callable[[Cost], Cell]) -> Column:
    return Column(
        name, title, detail, lambda row: Cell(ABSENT) if row.cost is None else render(row.cost)
    )


def _cells(row: Row, shown: list[Column]) -> list[Cell]:
    return [column.cell(row) for column in shown]


def _failed(name: str, shown: list[Column]) -> Line:
    entries = {"strategy": name, "fid_plus": "failed"}
    cells = [Cell(entries.get(column.name, ABSENT)) for column in shown]
    return Line("failed", name, False, cells, None)


def _kind(row: Row) -> Literal["real", "patches", "strategy"]:
    return {REAL: "real", PATCHES: "patches"}.get(row.strategy, "strategy")


def _name(row: Row) -> Cell:
    return Cell(row_title(row))


def _parallel(row: Row) -> Cell:
    return Cell({True: "yes", False: "no", None: ABSENT}[row.parallel])


def _finest(estimates: list[Estimate]) -> int:
    """Returns the decimals that are worth printing: two digits of the narrowest interval."""
    widths = [estimate.high - estimate.low for estimate in estimates]
    return max([2, *(_decimals(width, 2) for width in widths if width > 0)])


def _figure(row: Row, *, name: str, beside: bool, finest: int) -> Cell:
    """Renders a figure: FID+ with its interval, what should be as in real images beside these."""
    estimate = row.figures.get(name)
    if estimate is None:
        return Cell(ABSENT)
    if name == "fid_plus":
        return _interval_cell(estimate.value, estimate.low, estimate.high)
    real = row.real.get(name)
    beside = beside and _kind(row) == "strategy"
    extra = f"({ABSENT if real is None else _at_most(real.value, finest)})" if beside else ""
    return Cell(_at_most(estimate.value, finest), extra, estimate.value)


def _at_most(value: float, finest: int) -> str:
    """Rounds to three digits, and to no more decimals than `finest`."""
    return f"{value:z,.{min(_decimals(value, 3), finest)}f}"


def _interval_cell(value: float, low: float, high: float, *, most: int = 4) -> Cell:
    least, finest = _decimals(value, 2), _decimals(value, most)
    decimals = min(max(_decimals(high - low, 2), least), finest) if high > low else least
    return Cell(f"{value:,.{decimals}f}", f"[{low:,.{decimals}f}, {high:,.{decimals}f}]", value)


def _seconds(latency: Spread) -> Cell:
    return _interval_cell(latency.median, latency.lower, latency.upper, most=3)


def _calls(cost: Cost) -> Cell:
    gradients = f"+{cost.gradient_passes:,}∇" if cost.gradient_passes else ""
    return Cell(f"{cost.network_calls:,}{gradients}", value=float(cost.network_calls))


def _evaluations(cost: Cost) -> Cell:
    return Cell(f"{cost.patch_evaluations:,}", value=float(cost.patch_evaluations))


def _pixels(cost: Cost) -> Cell:
    return Cell(rounded(cost.pixels_per_pixel), value=cost.pixels_per_pixel)


def _memory(cost: Cost) -> Cell:
    return Cell(f"{cost.peak_memory_mib:,.0f}", value=cost.peak_memory_mib)


def _network(cost: Cost) -> Cell:
    return Cell(f"{100 * cost.network_share:.0f}", value=cost.network_share)


def _decimals(value: float, digits: int) -> int:
    if value == 0 or not math.isfinite(value):
        return digits - 1
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def _alike(rivals: list[Line], losses: dict[str, float], first: str, place: int) -> Iterable[str]:
    """Yields the titles of the lines that print what the best one prints, or lose as little."""
    printed = {line.title: line.cells[place].text for line in rivals}
    for title, loss in losses.items():
        if loss == losses[first] or printed[title] == printed[first]:
            yield title


def _loss(line: Line, column: Column, cell: Cell) -> float | None:
    """Returns what is to be least; None where there is nothing to compare."""
    if cell.value is None or line.row is None:
        return None
    if column.better == "real":
        real = line.row.real.get(column.name)
        return None if real is None else abs(cell.value - real.value)
    return -cell.value if column.better == "higher" else cell.value
