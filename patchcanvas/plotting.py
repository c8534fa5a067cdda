"""How pictures look: one ink, one palette in which a strategy keeps its look, names beside points.

with style(font=10):
figure = Figure(figsize=(5, 4), layout="constrained")
...
write(figure, Path("picture.png"))
"""

import colorsys
import contextlib
import dataclasses
import zlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox, BboxBase

from patchcanvas.files import whole

__all__ = [
    "COLOURS",
    "FAINT",
    "INK",
    "PALETTE",
    "Look",
    "Name",
    "boxes_along",
    "look",
    "style",
    "write",
    "write_names",
]

INK, FAINT = "#20242c", "#6e747e"

# Hues of like darkness on white.
COLOURS = {
    "async_patch": "#1f5fa8",
    "diffcollage": "#c2491d",
    "direct": "#2b7d46",
    "lshape_repaint": "#8a3fa0",
    "multidiffusion": "#a8790a",
    "naive": "#0b8790",
    "reconstruction": "#c23371",
    "replacement": "#565e69",
    "conveyor": "#74482a",
}
PALETTE = (*COLOURS.values(), "#6b8712")  # for lines that are no strategies
SEQUENTIAL = ("async_patch", "conveyor", "lshape_repaint", "reconstruction", "replacement")


HAIRLINE = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.7, "shrinkB": 5}


@dataclasses.dataclass(frozen=True)
class Look:
    """How a strategy is drawn, in every picture.

    Args:
        colour: In hexadecimal.
        dashes: Lengths of dashes and gaps in line widths; none for a solid line.
        marker: Of its points.
    """

    colour: str
    dashes: tuple[float, ...]
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """What `Axes.plot` takes."""
        return {"color": self.colour, "linestyle": (0, self.dashes) if self.dashes else "-"}


@dataclasses.dataclass(frozen=True)
class Name:
    """What is written beside a point.

    Args:
        text: The words.
        point: The point, in the units of the axes.
        colour: Of the words.
    """

    text: str
    point: tuple[float, float]
    colour: str


def look(name: str) -> Look:
    """Returns the look of a strategy, whatever its budget: solid and round if it is parallel.

    Somebody's own has a colour that its name decides, dashes and dots, and diamonds.
    """
    name = name.partition("@")[0]
    if name in SEQUENTIAL:
        return Look(COLOURS[name], (4.0, 1.6), "s")
    if name in COLOURS:
        return Look(COLOURS[name], (), "o")
    hue = zlib.crc32(name.encode()) / 2**32
    return Look(to_hex(colorsys.hsv_to_rgb(hue, 0.9, 0.42)), (6.0, 1.5, 1.0, 1.5), "D")


def style(font: int) -> contextlib.AbstractContextManager[None]:
    """Returns the settings in which figures are made and saved; `font` is in points."""
    ticks = {"color": FAINT, "labelcolor": INK, "labelsize": font - 1}
    settings: dict[Any, Any] = {
        "font.size": font,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": font,
        "axes.prop_cycle": cycler(color=PALETTE),
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.alpha": 0.3,
        "legend.frameon": False,
        "legend.fontsize": font - 1,
        "svg.hashsalt": "patchcanvas",  # the same file for the same figures
        **{f"{axis}tick.{key}": value for axis in "xy" for key, value in ticks.items()},
    }
    return rc_context(settings)


def write(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG; the file is whole or not there."""
    with whole(path) as part:
        figure.savefig(part, format="png")


def write_names(
    axes: Axes,
    names: Iterable[Name],
    places: Sequence[tuple[int, int]],
    *,
    within: BboxBase,
    taken: Iterable[BboxBase] = (),
) -> None:
    """Writes names, from the highest point down, each at the first place that nothing else takes.

    A hairline leads to the point. Boxes are in dots of the figure, whose layout must be done.

    Args:
        axes: Where the points are.
        names: What is written.
        places: Where a name may stand, seen from its point, the best first: (x, y) in points.
        within: What names do not leave.
        taken: What they keep clear of, beside each other.
    """
    taken, scale = list(taken), axes.figure.dpi / 72  # dots a point
    for name in sorted(names, key=lambda name: name.point[1], reverse=True):
        words = name.text.replace("$", r"\$")
        measured = axes.figure.text(0, 0, words)
        width, height = measured.get_window_extent().size
        measured.remove()
        x, y = axes.transData.transform(name.point)
        for across, up in places:
            left = x + across * scale - (width if across < 0 else 0)
            box = Bbox.from_bounds(left, y + up * scale - height / 2, width, height)
            inside = all(within.contains(*corner) for corner in (box.min, box.max))
            if inside and not any(box.overlaps(other) for other in taken):
                break
        taken.append(box.padded(2))
        label = axes.annotate(
            words,
            name.point,
            xytext=(across, up),
            textcoords="offset points",
            ha="right" if across < 0 else "left",
            va="center",
            color=name.colour,
            arrowprops=HAIRLINE | {"relpos": (across < 0, 0.5)},
            annotation_clip=False,
        )
        # Lines may run under a name; a white rim keeps it readable.
        label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def boxes_along(line: Line2D) -> list[Bbox]:
    """Returns small boxes along a line, in dots of the figure."""
    x, y = line.get_data()
    if line.get_drawstyle() == "steps-post":
        x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
    corners = line.get_transform().transform(np.column_stack([x, y]))
    parts = np.linspace(0, 1, 40)[:, None]
    places = [place for start, end in pairwise(corners) for place in start + parts * (end - start)]
    return [Bbox.from_extents(*(place - 1), *(place + 1)) for place in places]
