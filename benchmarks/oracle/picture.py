"""The oracle in one picture: correlation against distance, and samples beside true ones."""

import dataclasses
from pathlib import Path

import torch
from matplotlib.figure import Figure, SubFigure

from benchmarks.oracle.records import CaseRecord
from benchmarks.oracle.table import W2, error_of, ordered
from benchmarks.tables.columns import PLUS_MINUS, short
from denoisers.contract import Image
from patchcanvas.plotting import look, style, write

__all__ = ["Strips", "draw"]

WIDTH, CASE_HEIGHT, DOTS = 13.0, 4.4, 100  # inches, inches, dots an inch
FONT = 9  # points
COLUMNS = 3  # of panels with samples
SQUARES = 2, 4  # samples of a plane that are shown, in so many rows and columns
LINEAR = 0.01  # differences of correlation up to which the lower panel's scale is linear


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
    with style(FONT):
        size = (WIDTH, CASE_HEIGHT * len(cases))
        figure = Figure(figsize=size, layout="constrained", dpi=DOTS)
        bands = figure.subfigures(len(cases), 1, squeeze=False)[:, 0]
        for band, case in zip(bands, cases, strict=True):
            band.suptitle(f"{case.record.name} px", x=0.01, ha="left", fontsize=FONT + 3)
            left, right = band.subfigures(1, 2, width_ratios=(2, 3))
            _curves(left, case.record)
            _samples(right, case)
        write(figure, path)


def _curves(figure: SubFigure, record: CaseRecord) -> None:
    """Draws the correlations, and below them what they lack or have too much of."""
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    distances = range(len(record.correlation))
    upper.plot(distances, record.correlation, color="black", linewidth=3.5, label="true field")
    lower.axhline(0, color="black", linewidth=1.5)
    for row in ordered(record):
        line = look(row.strategy).line
        error = f" {PLUS_MINUS} {error_of(row)}" if row.sampling else ""
        label = f"{short(row.strategy)}  {row.w2:.4f}{error}"
        upper.plot(distances, row.correlation, label=label, **line)
        pairs = zip(row.correlation, record.correlation, strict=True)
        lower.plot(distances, [made - true for made, true in pairs], **line)
    lower.set_yscale("symlog", linthresh=LINEAR, linscale=0.5)
    lower.set_xlabel("distance along a row, in pixels")
    upper.set_ylabel("correlation")
    lower.set_ylabel("minus the true one")
    lower.set_xlim(0, len(record.correlation) - 1)
    upper.legend(
        title=f"strategy  {W2}",
        title_fontsize=FONT - 1,
        alignment="left",
        loc="upper right",
        labelspacing=0.25,
        ncols=1 + len(record.rows) // 12,
    )


def _samples(figure: SubFigure, case: Strips) -> None:
    """Draws true samples first, then those of every strategy, the least biased first."""
    rows = [row for row in ordered(case.record) if row.strategy in case.samples]
    titles = {"true": "true field"} | {row.strategy: short(row.strategy) for row in rows}
    field = case.record.field
    deviation = field["variance"] ** 0.5
    lines = -(-len(titles) // COLUMNS)
    panels = figure.subplots(lines, COLUMNS, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
    for panel, (name, title) in zip(panels, titles.items(), strict=False):
        panel.imshow(
            _picture(case.samples[name]).numpy(),
            cmap="RdBu_r",
            vmin=field["mean"] - 2.5 * deviation,
            vmax=field["mean"] + 2.5 * deviation,
            aspect="auto" if case.record.canvas[0] == 1 else "equal",
            interpolation="nearest",
        )
        panel.set_title(title, pad=3)
        # The colour of its curves, as a line below the name.
        panel.plot(
            [0, 1],
            [1, 1],
            color="black" if name == "true" else look(name).colour,
            linewidth=3,
            clip_on=False,
            transform=panel.transAxes,
        )


def _picture(samples: Image) -> torch.Tensor:
    """Returns samples of a line one under the other, those of a plane side by side with gaps."""
    if samples.shape[-2] == 1:
        return samples[:, 0, 0]
    rows, columns = SQUARES
    padded = torch.nn.functional.pad(samples[: rows * columns, 0], (0, 1, 0, 1), value=torch.nan)
    lines = [torch.cat([*line], dim=-1) for line in padded.unflatten(0, SQUARES)]
    return torch.cat(lines)[:-1, :-1]
