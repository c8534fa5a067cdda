"""The picture of the train-sampling gap: one row a sampler, all schedules beside it."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from patchcanvas.plotting import COLOURS, PALETTE, style, write
from studies.noise_maps.figures import FIGURES

__all__ = ["draw"]

FONT, DOTS = 10, 110  # points, dots an inch
BINS = np.linspace(0, 1, 33).tolist()
MOST = 1500  # points of a cloud

Figures = Float64[Tensor, "_ figures"]


def draw(trained: dict[str, Figures], visited: dict[str, Figures], path: Path) -> None:
    """Writes the picture.

    Left: each sampler's maps by mean and spread as a cloud, the schedules' maps as points on it.
    Right: the distribution of each figure, training filled, schedules as lines.
    """
    rows = len(trained)
    with style(FONT):
        figure = Figure(figsize=(14, 2.1 * rows), dpi=DOTS, layout="constrained")
        axes = figure.subplots(rows, 1 + len(FIGURES), squeeze=False)
        for row, (sampler, figures) in zip(axes, trained.items(), strict=True):
            _cloud(row[0], figures, visited)
            row[0].set_ylabel(f"{sampler}\nspread")
            for number in range(len(FIGURES)):
                _histogram(row[1 + number], figures[:, number], visited, number)
        for axis, name in zip(axes[0][1:], FIGURES, strict=True):
            axis.set_title(f"{name} of a map")
        axes[0][0].set_title("grey: trained on; colours: visited")
        axes[-1][0].set_xlabel("mean corruption")
        for axis in axes[-1][1:]:
            axis.set_xlabel("corruption")
        handles = axes[0][0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=len(visited))
        write(figure, path)


def _colours(visited: dict[str, Figures]) -> dict[str, str]:
    """Returns a colour for each schedule; a strategy among them has that of all pictures."""
    palette = dict(zip(visited, PALETTE, strict=False))
    return {name: COLOURS.get(name, colour) for name, colour in palette.items()}


def _cloud(axis: Axes, trained: Figures, visited: dict[str, Figures]) -> None:
    axis.scatter(trained[:MOST, 0], trained[:MOST, 1], s=4, color="0.75", linewidths=0)
    for name, colour in _colours(visited).items():
        figures = visited[name]
        shown = figures[:: max(1, len(figures) // MOST)]
        axis.scatter(shown[:, 0], shown[:, 1], s=5, color=colour, label=name, linewidths=0)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 0.54))


def _histogram(
    axis: Axes, trained: Float64[Tensor, " maps"], visited: dict[str, Figures], number: int
) -> None:
    axis.hist(trained, bins=BINS, weights=np.full(len(trained), 1 / len(trained)), color="0.8")
    for name, colour in _colours(visited).items():
        figures = visited[name]
        weights = np.full(len(figures), 1 / len(figures))
        axis.hist(figures[:, number], bins=BINS, weights=weights, histtype="step", color=colour)
    axis.set_yscale("log")
    axis.set(ylim=(1e-3, 1.2), xlim=(0, 1), yticks=[1e-3, 1e-2, 1e-1, 1])
