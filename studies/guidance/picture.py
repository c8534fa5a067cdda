"""Texture against the weight of guidance: a line a weak branch."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.inpainting.records import CompletionResults, CompletionRow
from benchmarks.inpainting.study import REAL
from patchcanvas.plotting import INK, style, write
from studies.guidance.figures import signed, unsigned
from studies.guidance.plan import EQUAL_STEPS

__all__ = ["draw_curves", "lines"]

PANEL, DOTS, FONT = 3.6, 100, 9  # inches, dots an inch, points
PANELS = {
    signed("gradient"): "gradient energy, log2 ratio",
    signed("fine"): "finest octave, log2 ratio",
    signed("coarse"): "third octave, log2 ratio",
    unsigned("colour"): "distance of mean colours",
    "psnr": "PSNR, dB",
    "fid": "FID",
}
COLUMNS = 3


def lines(rows: list[CompletionRow]) -> dict[str, list[tuple[float, CompletionRow]]]:
    """Returns rows by their weak branch and by what was equal, with their weights, ascending.

    The row without guidance belongs to every line.
    """
    guided = [row for row in rows if row.settings and row.settings["guidance"] != 1]
    plain = [(1.0, row) for row in rows if row.settings and row.settings["guidance"] == 1]
    found: dict[str, list[tuple[float, CompletionRow]]] = {}
    for row in guided:
        label = row.name.partition(", ")[2]
        found.setdefault(label, list(plain)).append((row.settings["guidance"], row))
    return {label: sorted(line, key=lambda pair: pair[0]) for label, line in found.items()}


def draw_curves(results: CompletionResults, path: Path) -> None:
    """Writes the picture as PNG, with standard errors; a dotted line where real halves are."""
    count = -(-len(PANELS) // COLUMNS)
    size = (COLUMNS * PANEL, count * PANEL * 0.8 + 0.3)
    with style(FONT):
        figure = Figure(figsize=size, layout="constrained", dpi=DOTS)
        panels = figure.subplots(count, COLUMNS, squeeze=False).flatten()
        for panel, (name, title) in zip(panels, PANELS.items(), strict=True):
            _draw(panel, results, name, title)
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=len(handles[1]))
        write(figure, path)


def _draw(axes: Axes, results: CompletionResults, name: str, title: str) -> None:
    for label, line in lines(results.rows).items():
        axes.errorbar(
            [weight for weight, _ in line],
            [row.figures[name].value for _, row in line],
            [row.figures[name].error for _, row in line],
            label=label,
            marker="o",
            markersize=3,
            linestyle="--" if label.endswith(EQUAL_STEPS) else "-",
        )
    real = next(row for row in results.rows if row.name == REAL)
    if name in real.figures:
        axes.axhline(real.figures[name].value, color=INK, linestyle=":", label="real halves")
    axes.set_title(title)
    axes.set_xlabel("weight of guidance")
