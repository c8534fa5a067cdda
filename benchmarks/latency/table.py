"""The tables of the latency benchmark: seconds by width, and all of what each width costs."""

from collections.abc import Callable
from functools import partial

from rich.table import Table

from benchmarks.latency.records import LatencyResults, LowerBound, Point
from benchmarks.metrics.estimates import Spread
from benchmarks.tables.columns import (
    ABSENT,
    TIMES,
    Cell,
    Column,
    columns_of,
    markdown,
    page,
    short,
    shortened,
    significant,
    spread,
    tabular,
    terminal,
)

__all__ = [
    "costs",
    "costs_table",
    "document",
    "latex",
    "line_of",
    "notes",
    "seconds",
    "seconds_table",
]

MICRO = "\N{GREEK SMALL LETTER MU}s"

Figure = Spread | str | None

# What a narrow terminal does without, the least important first.
DROPPED_FIRST = (
    "repeats",
    "patches",
    "lower bound s",
    "NFE",
    "backward passes",
    "MiB",
    "NFE/px",
    f"{TIMES} naive",
    "in network",
)


def seconds(results: LatencyResults) -> list[Column]:
    """Returns the table of seconds: a row a strategy, a column a width in patches."""
    names = _names(results)
    return [
        Column("strategy", [short(name) for name in names]),
        *(
            Column(
                str(width), [_of(results.point(name, width), lambda p: p.latency) for name in names]
            )
            for width in _widths(results)
        ),
    ]


def costs(results: LatencyResults, width: int) -> list[Column]:
    """Returns the table of one width: a row a strategy, a column for all that it costs."""
    names, lower_bound = _names(results), results.lower_bound

    def of_lower_bound(figure: Callable[[LowerBound], float]) -> str:
        return ABSENT if lower_bound is None else significant(figure(lower_bound))

    cells: dict[str, Callable[[Point], Figure]] = {
        "seconds [quartiles]": lambda point: point.latency,
        "repeats": lambda point: f"{len(point.seconds)}",
        f"{TIMES} naive": results.ratio_to_naive,
        "NFE": lambda point: f"{point.nfe:,}",
        "patches": lambda point: f"{point.patch_evaluations:,}",
        "NFE/px": lambda point: f"{point.nfe_per_pixel:,.1f}",
        "backward passes": lambda point: f"{point.backward_passes:,}",
        "MiB": lambda point: f"{point.peak_memory_mib:,.0f}",
        "in network": lambda point: f"{100 * point.network_share:.1f} %",
        "lower bound s": lambda point: of_lower_bound(point.lower_bound_seconds),
        f"{TIMES} lower bound": lambda point: of_lower_bound(point.ratio_to_lower_bound),
    }
    points = [results.point(name, width) for name in names]
    return [
        Column("strategy", [short(name) for name in names]),
        *columns_of(points, {head: partial(_of, cell=cell) for head, cell in cells.items()}),
    ]


def line_of(point: Point) -> str:
    """Returns a point on one line, for logs."""
    return (
        f"{short(point.strategy)}, width {point.width}: "
        f"{_of(point, lambda p: p.latency)} s, "
        f"{point.nfe:,} calls, {point.nfe_per_pixel:,.1f} NFE/px, "
        f"{100 * point.network_share:.1f} % in network"
    )


def notes(results: LatencyResults) -> list[str]:
    """Returns what must be read with the figures, a sentence or two each."""
    settings, environment = results.settings, results.environment
    runtime = settings["runtime"]
    found = [
        f"One canvas alone, {results.height} px high and so many patches of "
        f"{results.patch_size} px wide; {results.steps} steps of {_solver(settings)}; "
        f"{runtime['precision']}{', compiled' if runtime['compile'] else ''}; seed "
        f"{settings['seed']}; {environment['device']}; CPU threads: {environment['threads']}; "
        f"torch {environment['versions']['torch']}; {results.created[:10]}"
        + (f"; load before it {results.load:.2f}." if results.load is not None else "."),
        f"Seconds: median and quartiles of {settings['repeats']} runs, after {settings['warmup']} "
        f"of warm-up, one strategy after another in every round. {TIMES} naive: over the seconds "
        f"of naive in the same round. MiB: {environment['memory']}. In network: share of the time "
        "in its forward and backward passes.",
    ]
    found += _on_the_lower_bound(results.lower_bound)
    found += _reductions(results)
    found += [
        f"{'Failed' if item.failed else 'Left out'}: {item.strategy} at {item.width}: "
        f"{shortened(item.reason)}"
        for item in results.absences
    ]
    return found


def document(results: LatencyResults) -> str:
    """Returns all tables with all their columns in Markdown, and what must be read with them."""
    tables = {"Seconds by width in patches": seconds(results)}
    tables |= {f"{_patches(width)} wide": costs(results, width) for width in _widths(results)}
    return page({title: markdown(table) for title, table in tables.items()}, notes(results))


def latex(results: LatencyResults) -> str:
    """Returns the seconds, and all that the widest canvas costs, as two tables for LaTeX.

    They need the package booktabs.
    """
    comments = [f"% {note}" for note in notes(results)]
    parts = [tabular(seconds(results))]
    for width in _widths(results)[-1:]:
        parts += [f"% {_patches(width)} wide", tabular(costs(results, width))]
    return "\n".join([*comments, *parts]) + "\n"


def seconds_table(results: LatencyResults, *, width: int | None = None) -> Table:
    """Returns the table of seconds for a terminal of `width` columns; None asks the terminal."""
    title = "seconds for one canvas, by its width in patches"
    return terminal(seconds(results), title=title, width=width)


def costs_table(results: LatencyResults, patches: int, *, width: int | None = None) -> Table:
    """Returns the table of one width for a terminal; its least important columns go if they must.

    Args:
        results: The run.
        patches: Width of the canvas.
        width: Columns of the terminal; None asks it.
    """
    return terminal(
        costs(results, patches),
        title=f"{_patches(patches)} wide",
        dropped_first=DROPPED_FIRST,
        width=width,
    )


def _on_the_lower_bound(lower_bound: LowerBound | None) -> list[str]:
    if lower_bound is None:
        return ["The lower bound was not measured."]
    forward, backward = lower_bound.forward, lower_bound.backward
    sizes = ", ".join(str(batch.patches) for batch in lower_bound.batches)
    costs = [f"{significant(cost * 1e6)} {MICRO}" for cost in (forward.forward, backward.backward)]
    found = [
        f"Lower bound: every pixel evaluated at {costs[0]}, the least of calls of {sizes} patches "
        f"(that of {forward.patches}), and every pixel of a backward pass at {costs[1]} (that of "
        f"{backward.patches}). Evaluations that are no patches, halves or whole canvases, may cost "
        "more or less."
    ]
    if lower_bound.too_large:
        found.append(
            "Memory did not suffice for calls of "
            f"{', '.join(map(str, lower_bound.too_large))} patches."
        )
    elif len(lower_bound.batches) > 1 and forward is lower_bound.batches[-1]:
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


def _of(point: Point | None, cell: Callable[[Point], Figure]) -> str | Cell:
    """Returns the entry of a point, quartiles after their median; a dash where there is none."""
    figure = None if point is None else cell(point)
    if isinstance(figure, Spread):
        return spread(figure)
    return ABSENT if figure is None else figure
