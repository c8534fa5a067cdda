"""The oracle in one picture: correlation against distance, and samples beside true ones."""

import dataclasses
from pathlib import Path

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from benchmarks.oracle.records import CaseRecord, OracleRow
from benchmarks.oracle.table import ordered
from denoisers.contract import Image

__all__ = ["Strips", "draw"]

INK, FAINT = "#20242c", "#6e747e"
CASE_HEIGHT = 3.6  # inches
SQUARES = 4  # samples of a plane that are shown


@dataclasses.dataclass(frozen=True)
class Strips:
    """A field's figures and a few samples of each strategy.

    Args:
        record: The figures.
        samples: Samples by strategy; those called `true` are of the field itself.
    """

    record: CaseRecord
    samples: dict[str, Image]


def draw(cases: list[Strips], path: Path) -> None:
    """Writes the picture as PNG: a band a field, curves on the left and samples on the right."""
    names = sorted({row.strategy for case in cases for row in case.record.rows})
    palette = matplotlib.colormaps["tab10"].colors
    colours = {name: palette[index % len(palette)] for index, name in enumerate(names)}
    figure = Figure(figsize=(16, CASE_HEIGHT * len(cases)), layout="constrained", dpi=110)
    bands = figure.subfigures(len(cases), 1, squeeze=False)[:, 0]
    for band, case in zip(bands, cases, strict=True):
        band.suptitle(case.record.name + " px", x=0.01, ha="left", color=INK, fontsize=12)
        left, right = band.subfigures(1, 2, width_ratios=(2, 3))
        _curves(left.subplots(), case.record, colours)
        _samples(right, case)
    figure.savefig(path)


def _curves(axes: Axes, record: CaseRecord, colours: dict[str, tuple]) -> None:
    distances = range(len(record.correlation))
    axes.plot(distances, record.correlation, color="black", linewidth=3, label="true field")
    for row in ordered(record):
        style = "-" if row.exact else "--"
        label = f"{row.strategy}  {row.w2:.4f}"
        axes.plot(distances, row.correlation, style, color=colours[row.strategy], label=label)
    axes.set_xlabel("distance along a row, in pixels")
    axes.set_ylabel("correlation")
    axes.set_xlim(0, len(record.correlation) - 1)
    axes.axhline(0, color=FAINT, linewidth=0.6)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    title = "W2\N{SUPERSCRIPT TWO} (dashed: from samples)"
    axes.legend(fontsize=8, title=title, title_fontsize=8, loc="upper right", frameon=False)


def _samples(figure: SubFigure, case: Strips) -> None:
    """Draws true samples first, then those of every strategy, the least biased first."""
    rows: list[OracleRow] = ordered(case.record)
    names = ["true", *(row.strategy for row in rows)]
    field = case.record.field
    deviation = field["variance"] ** 0.5
    limits = field["mean"] - 2.5 * deviation, field["mean"] + 2.5 * deviation
    columns = 3 if case.record.canvas[0] == 1 else len(names)
    lines = -(-len(names) // columns)
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
    for panel, name in zip(panels, names, strict=False):
        picture = _picture(case.samples[name])
        panel.imshow(
            picture,
            cmap="RdBu_r",
            vmin=limits[0],
            vmax=limits[1],
            aspect="auto" if case.record.canvas[0] == 1 else "equal",
            interpolation="nearest",
        )
        panel.set_title(name if name != "true" else "true field", fontsize=8, color=INK, pad=3)


def _picture(samples: Image) -> torch.Tensor:
    """Returns samples of a line one under the other, those of a plane in a column with gaps."""
    if samples.shape[-2] == 1:
        return samples[:, 0, 0]
    shown = samples[:SQUARES, 0]
    gap = torch.full((len(shown), 1, shown.shape[-1]), torch.nan, dtype=shown.dtype)
    return torch.cat([shown, gap], dim=1).flatten(0, 1)[:-1]
