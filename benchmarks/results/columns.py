"""What stands in the table of a run, whoever prints it: its columns and its lines.

The layout is that of Table 1 of DiffCollage (Zhang et al. 2023, arXiv:2303.17076), with the
interval of the main figure and with what a canvas costs.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Literal

from benchmarks.metrics.catalogue import FIGURES, Figure
from benchmarks.metrics.estimates import Estimate, Spread
from benchmarks.results.fingerprint import differences
from benchmarks.results.records import Cost, Results, Row
from benchmarks.tables.columns import ABSENT, DAGGER, DOWN, UP, Cell, Column

__all__ = [
    "PATCHES",
    "REAL",
    "TITLES",
    "Line",
    "Shown",
    "baselines",
    "columns",
    "comparable",
    "figure_name",
    "lines",
    "rounded",
    "row_title",
    "stands_beside_real",
    "with_interval",
]

REAL, PATCHES = "real", "patches"  # the rows that no strategy made
TITLES = {REAL: "real images", PATCHES: "patches (FID)"}
ARROWS = {"lower": f" {DOWN}", "higher": f" {UP}", "real": ""}
MAIN = ("fid_plus", "kid", "seam_ratio", "wrap_error", "colour_drift")

Better = Literal["lower", "higher", "real"]
Kind = Literal["real", "patches", "strategy", "failed"]


@dataclasses.dataclass(frozen=True)
class Shown(Column):
    """A column of the comparison; its name is that of the figure in the catalogue.

    Args:
        cells: Its entries, from top to bottom.
        better: Which way is better, for figures of quality.
    """

    cells: Sequence[Cell]
    better: Better | None = None


@dataclasses.dataclass(frozen=True)
class Line:
    """Whose figures stand in a line of the table.

    Args:
        kind: Of whom.
        title: What its first entry says, without the mark of a row that must not be compared.
        marked: Whether its figures must not be compared with those of the first strategy.
        row: The row itself; None for a failure.
    """

    kind: Kind
    title: str
    marked: bool
    row: Row | None


def columns(results: Results) -> list[Shown]:
    """Returns the columns that suit a run, from left to right, an entry for each of its lines."""
    body = lines(results)
    rows = [line.row for line in body if line.row]
    figures = {name: item for name, item in FIGURES.items() if any(name in r.figures for r in rows)}
    head = "Strategy" if results.made_here else "Images"
    found = [
        Shown(head, [_name(line) for line in body], "strategy", is_text=True),
        *(_figure_column(name, figure, results) for name, figure in figures.items()),
    ]
    if not results.made_here:
        return found
    parallel = Shown("Parallel?", [_parallel(line) for line in body], "parallel", is_text=True)
    return [
        found[0],
        parallel,
        *found[1:],
        *(
            Shown(head, [_of_cost(line, render) for line in body], name)
            for name, (head, render) in COSTS.items()
        ),
    ]


def lines(results: Results) -> list[Line]:
    """Returns the lines: real images, plain patches, the strategies, and those that failed."""
    fair = {row.strategy for row in comparable(results)}
    made = [
        Line(_kind(row), row_title(row), row.strategy not in fair, row)
        for row in [*baselines(results), *results.rows]
    ]
    return made + [Line("failed", name, False, None) for name in results.failures]


def baselines(results: Results) -> list[Row]:
    """Returns the rows that no strategy made: real images and plain patches."""
    return [row for row in (results.real, results.patches) if row is not None]


def comparable(results: Results) -> list[Row]:
    """Returns the rows that may stand beside the first strategy's, and the two of no strategy."""
    first = results.rows[0].fingerprint if results.rows else {}
    fair = [row for row in results.rows if not differences(first, row.fingerprint)]
    return [*baselines(results), *fair]


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


def _figure_column(name: str, figure: Figure, results: Results) -> Shown:
    inside = [results.features["name"]] if figure.by_features else []
    beside = stands_beside_real(results, name)
    inside += ["real"] if beside else []
    body = lines(results)
    finest = _finest([line.row.figures[name] for line in body if line.row and _has(line, name)])
    column = Shown(
        f"{figure.title}{ARROWS[figure.better]}" + (f"\n({'; '.join(inside)})" if inside else ""),
        [_figure(line, name, beside=beside, finest=finest) for line in body],
        name,
        better=figure.better,
        is_main=name in MAIN or not results.made_here,
    )
    return _with_best(column, body)


def _has(line: Line, name: str) -> bool:
    return line.row is not None and name in line.row.figures


def _of_cost(line: Line, render: Callable[[Cost], Cell]) -> Cell:
    return Cell(ABSENT) if line.row is None or line.row.cost is None else render(line.row.cost)


def _kind(row: Row) -> Kind:
    kinds: dict[str, Kind] = {REAL: "real", PATCHES: "patches"}
    return kinds.get(row.strategy, "strategy")


def _name(line: Line) -> Cell:
    return Cell(f"{line.title} {DAGGER}" if line.marked else line.title)


def _parallel(line: Line) -> Cell:
    parallel = line.row.parallel if line.row else None
    return Cell({True: "yes", False: "no", None: ABSENT}[parallel])


def _finest(estimates: list[Estimate]) -> int:
    """Returns the decimals that are worth printing: two digits of the narrowest interval."""
    widths = [estimate.high - estimate.low for estimate in estimates]
    return max([2, *(_decimals(width, 2) for width in widths if width > 0)])


def _figure(line: Line, name: str, *, beside: bool, finest: int) -> Cell:
    """Renders a figure: FID+ with its interval, what should be as in real images beside these."""
    if line.row is None:
        return Cell("failed" if name == "fid_plus" else ABSENT)
    estimate = line.row.figures.get(name)
    if estimate is None:
        return Cell(ABSENT)
    if name == "fid_plus":
        return _interval_cell(estimate.value, estimate.low, estimate.high)
    real = line.row.real.get(name)
    beside = beside and line.kind == "strategy"
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
    gradients = f"+{cost.backward_passes:,}∇" if cost.backward_passes else ""
    return Cell(f"{cost.nfe:,}{gradients}", value=float(cost.nfe))


COSTS: dict[str, tuple[str, Callable[[Cost], Cell]]] = {
    "seconds": ("s/canvas\n[quartiles]", lambda cost: _seconds(cost.latency)),
    "nfe": ("NFE", _calls),
    "evaluations": (
        "Evaluations",
        lambda cost: Cell(f"{cost.patch_evaluations:,}", value=float(cost.patch_evaluations)),
    ),
    "pixels": (
        "NFE/px",
        lambda cost: Cell(rounded(cost.nfe_per_pixel), value=cost.nfe_per_pixel),
    ),
    "memory": (
        "Memory\nMiB",
        lambda cost: Cell(f"{cost.peak_memory_mib:,.0f}", value=cost.peak_memory_mib),
    ),
    "network": (
        "In network\n%",
        lambda cost: Cell(f"{100 * cost.network_share:.0f}", value=cost.network_share),
    ),
}


def _decimals(value: float, digits: int) -> int:
    if value == 0 or not math.isfinite(value):
        return digits - 1
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def _with_best(column: Shown, body: list[Line]) -> Shown:
    """Marks the best figures of a column: what is printed alike is equally good.

    Rows that must not be compared do not compete.
    """
    losses = {
        place: loss
        for place, (line, cell) in enumerate(zip(body, column.cells, strict=True))
        if (loss := _loss(line, column, cell)) is not None
    }
    if not losses:
        return column
    first = min(losses, key=losses.__getitem__)
    best = {
        place
        for place, loss in losses.items()
        if loss == losses[first] or column.cells[place].text == column.cells[first].text
    }
    cells = [dataclasses.replace(cell, is_best=k in best) for k, cell in enumerate(column.cells)]
    return dataclasses.replace(column, cells=cells)


def _loss(line: Line, column: Shown, cell: Cell) -> float | None:
    """Returns what is to be least; None where there is nothing to compare."""
    if line.row is None or cell.value is None or line.kind != "strategy" or line.marked:
        return None
    if column.better == "real":
        real = line.row.real.get(column.name)
        return None if real is None else abs(cell.value - real.value)
    return -cell.value if column.better == "higher" else cell.value
