"""Seconds against width, as in Fig. 5 of DiffCollage (arXiv:2303.17076), and over the floor."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchmarks.latency.records import LatencyResults, Point
from benchmarks.metrics.estimates import Quartiles
from benchmarks.oracle.picture import colours
from benchmarks.tables.columns import short

__all__ = ["apart", "draw", "seconds_against_width"]

INK, FAINT = "#20242c", "#6e747e"
FONT, DOTS = 11, 130  # points, dots an inch
# Narrow, so that letters are still of use where a telephone shows the whole width.
WIDTH, PANEL = 7.2, 4.4  # inches
LEFT, RIGHT, TOP, BOTTOM, BETWEEN = 0.8, 1.75, 0.45, 0.65, 0.95  # inches
MARKERS = "osD^vPX*<>"

Figures = Callable[[Point], Quartiles]


def draw(results: LatencyResults, path: Path) -> None:
    """Writes the picture as PNG."""
    seconds_against_width(results).savefig(path, dpi=DOTS)


def seconds_against_width(results: LatencyResults) -> Figure:
    """Returns the picture: seconds above, and below them how far above the floor they are.

    Bands are the middle half of the repeats. Names stand beside the last point of their line.
    """
    panels: list[tuple[str, Figures]] = [("seconds for one canvas", lambda point: point.latency)]
    if results.floor is not None:
        floor = results.floor

        def over_floor(point: Point) -> Quartiles:
            least = point.floor_seconds(floor)
            return Quartiles(*(value / least for value in _three(point.latency)))

        panels.append(("seconds over those of the floor", over_floor))
    height = TOP + BOTTOM + len(panels) * PANEL + (len(panels) - 1) * BETWEEN
    with matplotlib.rc_context({"font.size": FONT, "axes.edgecolor": FAINT, "text.color": INK}):
        figure = Figure(figsize=(WIDTH, height), dpi=DOTS)
        for number, (title, figures) in enumerate(panels):
            bottom = height - TOP - (number + 1) * PANEL - number * BETWEEN
            place = (LEFT, bottom, WIDTH - LEFT - RIGHT, PANEL)
            sides = (WIDTH, height, WIDTH, height)
            axes = figure.add_axes([part / side for part, side in zip(place, sides, strict=True)])
            _panel(axes, results, title, figures, least=1.0 if number else None)
    return figure


def apart(
    wanted: Sequence[float], least: float, *, low: float = -math.inf, high: float = math.inf
) -> list[float]:
    """Moves places, given in ascending order, as little as leaves `least` between neighbours.

    Those that are too near each other are set around their common mean, and all of them between
    `low` and `high`, which must have room for them.

    >>> apart([0.0, 0.5, 9.0], least=1.0)
    [-0.25, 0.75, 9.0]
    >>> apart([0.0, 0.5, 9.0], least=1.0, low=0.0, high=8.0)
    [0.0, 1.0, 8.0]
    """
    # Less their own share of the row of places, what must be is that places do not descend.
    groups: list[list[float]] = []
    for number, place in enumerate(wanted):
        groups.append([place - number * least])
        while len(groups) > 1 and _mean(groups[-1]) < _mean(groups[-2]):
            last = groups.pop()
            groups[-1] += last
    level = [mean for group in groups for mean in [_mean(group)] * len(group)]
    highest = high - (len(level) - 1) * least
    return [max(low, min(highest, place)) + number * least for number, place in enumerate(level)]


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _three(value: Quartiles) -> tuple[float, float, float]:
    return value.median, value.lower, value.upper


def _panel(
    axes: Axes, results: LatencyResults, title: str, figures: Figures, *, least: float | None
) -> None:
    """Draws one line for each strategy, and a dashed one at what is the least there can be."""
    names = results.strategies
    palette = colours(names)
    ends: dict[str, tuple[int, float]] = {}
    everything: list[float] = []
    for number, name in enumerate(names):
        line = results.line(name)
        widths = [point.width for point in line]
        values = [_three(figures(point)) for point in line]
        medians, lower, upper = map(list, zip(*values, strict=True))
        axes.fill_between(widths, lower, upper, color=palette[name], alpha=0.25, linewidth=0)
        axes.plot(
            widths,
            medians,
            color=palette[name],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            linewidth=1.8,
        )
        ends[name] = widths[-1], medians[-1]
        everything += lower + upper
    if least is not None:
        axes.axhline(least, color=INK, linestyle="--", linewidth=1)
        everything.append(least)
    _dressed(axes, results, title, everything)
    _named(axes, ends, palette)


def _dressed(axes: Axes, results: LatencyResults, title: str, values: list[float]) -> None:
    axes.set_title(title, loc="left", fontsize=FONT)
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
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=FONT - 1, color=FAINT)
    axes.spines[["top", "right"]].set_visible(False)


def _named(
    axes: Axes, ends: dict[str, tuple[int, float]], palette: dict[str, tuple[float, ...]]
) -> None:
    """Writes every name on the right, at the height of its line's end where there is room."""
    low, high = map(math.log, axes.get_ylim())

    def share(value: float) -> float:
        return (math.log(value) - low) / (high - low)

    names, widest = sorted(ends, key=lambda name: ends[name][1]), max(ends.values())[0]
    line = 1.25 * FONT / 72 / PANEL  # height of a line of text, as a share of the panel
    line = min(line, 1 / len(names))
    heights = apart([share(ends[name][1]) for name in names], line, low=line / 2, high=1 - line / 2)
    for name, height in zip(names, heights, strict=True):
        # The line apart from the name, whose size is then its own.
        axes.annotate(
            "",
            xy=ends[name],
            xytext=(1.025, height),
            textcoords="axes fraction",
            arrowprops={
                "arrowstyle": "-",
                # Dotted where it could be taken for measured widths.
                "linestyle": "-" if ends[name][0] == widest else ":",
                "color": palette[name],
                "alpha": 0.6,
                "shrinkB": 4,
            },
            annotation_clip=False,
        )
        axes.text(
            1.035,
            height,
            short(name),
            color=palette[name],
            fontsize=FONT,
            va="center",
            transform=axes.transAxes,
        )
