"""A strip's time and memory against its columns, and what its two ends look like."""

import statistics
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from patchcanvas.pictures import write_picture
from patchcanvas.plotting import COLOURS, FAINT, style, write
from patchcanvas.streaming.folder import ENDS, PLOT, StripFolder
from patchcanvas.streaming.records import Measurement, Record

__all__ = ["draw", "draw_ends", "summary", "time_and_memory"]

LINE = COLOURS["conveyor"]
FONT, DOTS = 11, 130  # points, dots an inch
GAP = 8  # rows between the beginning and the end
LONGEST = 1024  # columns of either


def draw(measurements: Sequence[Measurement], folder: StripFolder) -> None:
    """Writes the plot as PNG."""
    write(time_and_memory(measurements), folder.path / PLOT)


def time_and_memory(measurements: Sequence[Measurement]) -> Figure:
    """Returns the picture: milliseconds a column above, memory below, against the columns made.

    The time of a processor is beside that of the clock, which other processes lengthen.
    """
    columns = [one.columns for one in measurements]
    clock = [1000 * one.seconds / one.made for one in measurements]
    processor = [1000 * one.processor_seconds / one.made for one in measurements]
    memory = [one.memory_mib for one in measurements]
    with style(FONT):
        figure = Figure(figsize=(7.2, 5.2), dpi=DOTS, layout="constrained")
        times, memories = figure.subplots(2, 1, sharex=True)
        times.plot(columns, clock, color=FAINT, linewidth=1, label="by the clock")
        times.plot(columns, processor, color=LINE, linewidth=1.5, label="of a processor")
        times.set_title("milliseconds a column")
        times.legend()
        memories.plot(columns, memory, color=LINE, linewidth=1.5)
        memories.set_title("peak memory, MiB")
        memories.set_xlabel("columns of the strip")
        memories.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,.0f}"))
        for axes, highest in ((times, max(clock + processor)), (memories, max(memory))):
            axes.set_ylim(0, 1.1 * highest)  # from 0, so that what is flat looks flat
    return figure


def draw_ends(record: Record, folder: StripFolder) -> None:
    """Writes the first columns of the strip above its last ones, at most 1,024 of each.

    Nothing where the tiles of either end are no longer there.
    """
    span = min(record.columns, LONGEST)
    begins = (0, record.columns - span)
    if not all(folder.holds(begin, begin + span, tile=record.tile) for begin in begins):
        return
    ends = [folder.columns(begin, begin + span, tile=record.tile) for begin in begins]
    white = torch.full((3, GAP, span), 255, dtype=torch.uint8)
    write_picture(torch.cat([ends[0], white, ends[1]], dim=1), folder.path / ENDS)


def summary(measurements: Sequence[Measurement], height: int) -> list[str]:
    """Returns what is to be said of time and memory: the first tenth against the last one.

    Args:
        measurements: At least one.
        height: Pixels of a column.
    """
    tenth = max(1, len(measurements) // 10)
    parts = {"the first tenth": measurements[:tenth], "the last": measurements[-tenth:]}
    made = sum(measurement.made for measurement in measurements)
    seconds = sum(measurement.seconds for measurement in measurements)
    network = sum(measurement.network_seconds for measurement in measurements)
    pixels = sum(measurement.pixels for measurement in measurements)
    calls = sum(measurement.calls for measurement in measurements)
    times = ", ".join(
        f"{_median([one.seconds / one.made for one in part])} by the clock and "
        f"{_median([one.processor_seconds / one.made for one in part])} of a processor in {name}"
        for name, part in parts.items()
    )
    memory = ", ".join(
        f"{max(one.memory_mib for one in part):,.0f} in {name}" for name, part in parts.items()
    )
    return [
        f"{made / seconds:.1f} columns a second, {network / seconds:.1%} of the time in the "
        f"network; {calls / made:.2f} network calls a column, {pixels / made / height:.1f} pixels "
        "evaluated for each pixel.",
        f"Median milliseconds a column: {times}. Peak memory in MiB: {memory}.",
    ]


def _median(seconds: list[float]) -> str:
    return f"{1000 * statistics.median(seconds):.3g}"
