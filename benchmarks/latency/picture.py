"""Seconds against width, as in Fig. 5 of DiffCollage (2303.17076), and over the lower bound."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from matplotlib.transforms import Bbox

from benchmarks.latency.records import LatencyResults, Point
from benchmarks.metrics.estimates import Spread
from benchmarks.tables.columns import short
from patchcanvas.plotting import INK, Name, boxes_along, look, style, write, write_names

__all__ = ["draw", "seconds_against_width"]

FONT, DOTS = 11, 130  # points, dots an inch
# Narrow, so that letters are still of use where a telephone shows the whole width.
WIDTH, PANEL = 7.2, 4.4  # inches
LEFT, RIGHT, TOP, BOTTOM, BETWEEN = 0.8, 1.75, 0.45, 0.65, 0.95  # inches
# Names stand right of their points, those of lower ones below, and above them if there is no room.
PLACES = [(18, sign * 4 * step) for sign in (-1, 1) for step in range(80)]

Figures = Callable[[Point], Spread]


def draw(results: LatencyResults, path: Path) -> None:
    """Writes the picture as PNG."""
    write(seconds_against_width(results), path)


def seconds_against_width(results: LatencyResults) -> Figure:
    """Returns the picture: seconds above, and below them how far above the lower bound they are.

    Bands are the middle half of the repeats. Names stand beside the last point of their line.
    """
    panels: list[tuple[str, Figures]] = [("seconds for one canvas", lambda point: point.latency)]
    if results.lower_bound is not None:
        lower_bound = results.lower_bound

        def over_lower_bound(point: Point) -> Spread:
            least = point.lower_bound_seconds(lower_bound)
            return Spread.of([seconds / least for seconds in point.seconds])

        panels.append(("seconds over those of the lower bound", over_lower_bound))
    height = TOP + BOTTOM + len(panels) * PANEL + (len(panels) - 1) * BETWEEN
    with style(FONT):
        figure = Figure(figsize=(WIDTH, height), dpi=DOTS)
        for number, (title, figures) in enumerate(panels):
            bottom = height - TOP - (number + 1) * PANEL - number * BETWEEN
            across, up = (WIDTH - LEFT - RIGHT) / WIDTH, PANEL / height
            axes = figure.add_axes((LEFT / WIDTH, bottom / height, across, up))
            _panel(axes, results, title, figures, least=1.0 if number else None)
    return figure


def _three(value: Spread) -> tuple[float, float, float]:
    return value.median, value.lower, value.upper


def _panel(
    axes: Axes, results: LatencyResults, title: str, figures: Figures, *, least: float | None
) -> None:
    """Draws one line for each strategy, and a dashed one at what is the least there can be."""
    names: list[Name] = []
    everything: list[float] = []
    for strategy in results.strategies:
        line, looks = results.line(strategy), look(strategy)
        widths = [point.width for point in line]
        values = [_three(figures(point)) for point in line]
        medians, lower, upper = map(list, zip(*values, strict=True))
        axes.fill_between(widths, lower, upper, color=looks.colour, alpha=0.25, linewidth=0)
        axes.plot(widths, medians, marker=looks.marker, markersize=5, linewidth=1.8, **looks.line)
        names.append(Name(short(strategy), (float(widths[-1]), medians[-1]), looks.colour))
        everything += lower + upper
    if least is not None:
        axes.axhline(least, color=INK, linestyle="--", linewidth=1)
        everything.append(least)
    _dressed(axes, results, title, everything)
    panel, taken = (
        axes.get_window_extent(),
        [box for line in axes.lines for box in boxes_along(line)],
    )
    beside = Bbox.from_extents(panel.x0, panel.y0, axes.figure.bbox.x1, panel.y1)
    write_names(axes, names, PLACES, within=beside, taken=taken)


def _dressed(axes: Axes, results: LatencyResults, title: str, values: list[float]) -> None:
    axes.set_title(title)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(results.widths, [str(width) for width in results.widths])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(results.widths[0] / 1.15, results.widths[-1] * 1.15)
    lowest, highest = min(values), max(values)
    axes.set_ylim(lowest / 1.25, highest * 1.25)
    # Over less than two decades their own lines alone would be too few.
    steps = (1.0,) if highest > 100 * lowest else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=steps, numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"width in patches of {results.patch_size} px")
