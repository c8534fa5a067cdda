"""The plots of a run: quality against what it costs, and figures against distance."""

import base64
import dataclasses
import io
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter
from matplotlib.transforms import Bbox
from typing_extensions import override

from benchmarks.metrics.catalogue import CURVES
from benchmarks.metrics.estimates import Curve, Spread
from benchmarks.results.columns import comparable, figure_name
from benchmarks.results.records import Cost, Results, Row
from benchmarks.tables.columns import short
from patchcanvas.plotting import Name, boxes_along, look, style, write_names

__all__ = [
    "Unit",
    "base_name",
    "curve_against_distance",
    "drawable",
    "pareto_front",
    "quality_against_cost",
    "svg",
]

Unit = Literal["pixels", "seconds"]

MARKERS = {True: "o", False: "s"}  # by whether a strategy is parallel
SIZE, DOTS, FONT = (5.2, 3.9), 100, 10  # inches, dots an inch, points
JOINT = "_joint"  # label of the lines between points, which names keep clear of

# Where a label may stand, seen from its point, the best place first: (x, y) in points.
PLACES = [
    (right * across, up)
    for across in (9, 16, 28)
    for up in (0, 8, -8, 16, -16, 26, -26, 40, -40, 54, -54, 68, -68)
    for right in (1, -1)
]


# What lies along the horizontal axis: its label, and the place of a cost with its quartiles.
SCALES: dict[Unit, tuple[str, Callable[[Cost], Spread]]] = {
    "pixels": (
        "pixels evaluated for each pixel of the canvas",
        lambda cost: Spread(*(cost.nfe_per_pixel,) * 3, repeats=1),
    ),
    "seconds": ("seconds for one canvas: median and quartiles", lambda cost: cost.latency),
}


@dataclasses.dataclass(frozen=True)
class Point:
    """A row as it is drawn.

    Args:
        row: The row.
        x: Its cost, with quartiles.
        label: What is written beside it; may be empty.
        colour: Its strategy's.
    """

    row: Row
    x: Spread
    label: str
    colour: str

    @property
    def place(self) -> tuple[float, float]:
        """Median cost and FID+."""
        return self.x.median, self.row.figures["fid_plus"].value


class PlainLog(LogFormatter):
    """Labels the ticks that its parent would, but never as 1e+00."""

    @override
    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def quality_against_cost(results: Results, *, unit: Unit) -> Figure | None:
    """Draws FID+ with its interval against a cost; None if no row has both.

    Shapes tell parallel strategies from sequential ones; names stand beside their points. A grey
    line steps along the Pareto front, the rows that no other row betters in both; a coloured one
    joins what one strategy makes of several budgets.
    """
    points = _points(results, unit)
    if not points:
        return None
    with style(FONT):
        drawing, axes = _panel()
        axes.set_xscale("log")
        # Explicit, since a single strategy timed once spans nothing that a margin could widen.
        ends = [point.x for point in points]
        axes.set_xlim(min(end.lower for end in ends) / 1.7, max(end.upper for end in ends) * 1.7)
        _draw_front(axes, points)
        _draw_budgets(drawing, axes, points)
        for point in points:
            _draw_point(axes, point)
        if results.real is not None and "fid_plus" in results.real.figures:
            _draw_real(axes, results.real)
        axes.margins(y=0.12)
        axes.set_xlabel(SCALES[unit][0])
        axes.set_ylabel(figure_name(results))
        _finish_axes(axes, points)
        _place_labels(drawing, axes, points)
    return drawing


def curve_against_distance(results: Results, name: str) -> Figure | None:
    """Draws a curve of every strategy and, as a dark band, of real long crops.

    None if no row has it.
    """
    made = [row for row in comparable(results) if row.parallel is not None]
    rows = [row for row in made if name in row.curves]
    if not rows:
        return None
    with style(FONT):
        drawing, axes = _panel()
        for curve in _real_curves(results, name):
            axes.fill_between(
                curve.distances, curve.low, curve.high, color="black", alpha=0.25, linewidth=0
            )
            axes.plot(curve.distances, curve.values, color="black", linewidth=2.2)
        for row in rows:
            curve = row.curves[name]
            axes.plot(curve.distances, curve.values, linewidth=1.6, **look(row.strategy).line)
        axes.set_xlabel("distance in pixels")
        axes.set_ylabel(CURVES[name].title.lower())
        axes.margins(x=0.01)
    return drawing


def drawable(results: Results) -> list[Row]:
    """Returns the rows that the plots of costs show."""
    return [
        row
        for row in comparable(results)
        if row.cost is not None and row.cost.latency.median > 0 and "fid_plus" in row.figures
    ]


def pareto_front(places: list[tuple[float, float]]) -> list[int]:
    """Returns the numbers of the places that no other betters, from left to right.

    One place betters another if it is as low in both and lower in one.

    >>> pareto_front([(1.0, 5.0), (2.0, 6.0), (3.0, 2.0), (3.0, 4.0)])
    [0, 2]
    """
    front: list[int] = []
    least = float("inf")
    ordered = sorted(range(len(places)), key=lambda number: places[number])
    for _, group in groupby(ordered, key=lambda number: places[number]):
        alike = list(group)
        if places[alike[0]][1] < least:
            least = places[alike[0]][1]
            front += alike
    return front


def base_name(row: Row) -> str:
    """Returns a strategy's name without its budget."""
    return row.strategy.partition("@")[0]


def svg(drawing: Figure) -> str:
    """Returns the drawing as a data URI, the same for the same figures."""
    content = io.BytesIO()
    with style(FONT):
        drawing.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue()).decode()}"


def _points(results: Results, unit: Unit) -> list[Point]:
    """Returns what is drawn; a strategy of several budgets has its name in the legend."""
    _, of = SCALES[unit]
    rows = drawable(results)
    budgets = Counter(map(base_name, rows))
    points = []
    for row in rows:
        assert row.cost is not None, "others are not drawable"
        label = "" if budgets[base_name(row)] > 1 else short(row.strategy)
        points.append(Point(row, of(row.cost), label, look(row.strategy).colour))
    return points


def _panel() -> tuple[Figure, Axes]:
    drawing = Figure(figsize=SIZE, dpi=DOTS, layout="constrained")
    return drawing, drawing.add_subplot()


def _draw_front(axes: Axes, points: list[Point]) -> None:
    places = [point.place for point in points]
    front = [places[number] for number in pareto_front(places)]
    # To the right of its last point the front goes on at the same height.
    front.append((axes.get_xlim()[1], front[-1][1]))
    axes.plot(
        *zip(*front, strict=True), color="0.62", linewidth=1.4, label=JOINT, drawstyle="steps-post"
    )


def _draw_budgets(drawing: Figure, axes: Axes, points: list[Point]) -> None:
    """Joins the points of one strategy that was given several budgets, and names them below."""
    handles = []
    for name in dict.fromkeys(base_name(point.row) for point in points):
        own = [point for point in points if base_name(point.row) == name]
        if len(own) == 1:
            continue
        colour, marker = own[0].colour, MARKERS[bool(own[0].row.parallel)]
        face = colour if own[0].row.parallel else "white"
        places = sorted(point.place for point in own)
        axes.plot(*zip(*places, strict=True), color=colour, linewidth=1.1, alpha=0.7, label=JOINT)
        shape: dict[str, Any] = {"marker": marker, "mfc": face, "ms": 6.5}
        handles.append(Line2D([], [], color=colour, linewidth=1.1, label=short(name), **shape))
    if handles:
        drawing.legend(handles=handles, loc="outside lower center", ncols=3)


def _draw_point(axes: Axes, point: Point) -> None:
    """Draws one strategy; its quartiles and its interval are the bars.

    An interval by resampling need not contain its figure, so that bars have centres of their own.
    """
    fid, (x, y) = point.row.figures["fid_plus"], point.place
    bars: dict[str, Any] = {"fmt": "none", "color": point.colour, "elinewidth": 1.2, "capsize": 2.5}
    across, up = (point.x.upper - point.x.lower) / 2, (fid.high - fid.low) / 2
    axes.errorbar(x, fid.low + up, yerr=up, **bars)
    if across > 0:
        axes.errorbar(point.x.lower + across, y, xerr=across, **bars)
    face = point.colour if point.row.parallel else "white"
    axes.plot(x, y, MARKERS[bool(point.row.parallel)], color=point.colour, mfc=face, ms=6.5)


def _draw_real(axes: Axes, real: Row) -> None:
    fid = real.figures["fid_plus"]
    axes.axhspan(fid.low, fid.high, color="0.88", zorder=0)
    axes.axhline(fid.value, color="0.35", linestyle="--", linewidth=1, zorder=0)
    axes.annotate(
        "real images",
        (1, fid.value),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-5, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color="0.35",
    )


def _finish_axes(axes: Axes, points: list[Point]) -> None:
    """Takes a log scale for FID+ where it spans more than a decade; costs as plain numbers."""
    values = [point.place[1] for point in points]
    positive = min(point.row.figures["fid_plus"].low for point in points) > 0
    if positive and max(values) > 10 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(PlainLog(minor_thresholds=(2.0, 0.5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(PlainLog(minor_thresholds=(1.0, 0.4)))


def _real_curves(results: Results, name: str) -> list[Curve]:
    """Returns the different curves of real crops: strategies may begin at different places."""
    found: list[Curve] = []
    for row in comparable(results):
        curve = row.real_curves.get(name)
        if curve is not None and curve not in found:
            found.append(curve)
    if not found and results.real is not None and name in results.real.curves:
        found.append(results.real.curves[name])
    return found


def _place_labels(drawing: Figure, axes: Axes, points: list[Point]) -> None:
    """Writes every name at the first place beside its point that nothing else takes."""
    drawing.draw_without_rendering()
    taken = [text.get_window_extent() for text in axes.texts]
    taken += [box for point in points for box in _bars(axes, point)]
    for line in axes.lines:
        taken += boxes_along(line) if line.get_label() == JOINT else []
    names = [Name(point.label, point.place, point.colour) for point in points if point.label]
    write_names(axes, names, PLACES, within=axes.get_window_extent(), taken=taken)


def _bars(axes: Axes, point: Point) -> list[Bbox]:
    """Returns what the point and its two bars cover, in pixels of the drawing."""
    fid, (x, y) = point.row.figures["fid_plus"], point.place
    up = [(x, fid.low), (x, fid.high)]
    across = [(point.x.lower, y), (point.x.upper, y)]
    ends = [axes.transData.transform(bar) for bar in (up, across)]
    return [Bbox.from_extents(*bar.min(0) - 6, *bar.max(0) + 6) for bar in ends]
