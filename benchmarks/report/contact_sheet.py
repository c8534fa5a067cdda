"""The contact sheet: what every strategy makes of the same noise, directly under one another."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmarks.results.columns import REAL
from patchcanvas.plotting import FAINT, INK

__all__ = ["Layout", "Strip", "contact_sheet", "draw_sheet", "layout"]

Canvases = UInt8[Tensor, "_ 3 height width"]
Band = tuple[list[str], list[tuple[str, list[int]]]]  # headings; name and samples of every line

MAX_WIDTH = 2400  # all lengths here are pixels of the sheet
COMFORTABLE = 128  # height up to which strips are enlarged
MARGIN, GAP, COLUMN_GAP, BAND_GAP = 24, 8, 16, 22
HEADING, FONT_SIZE, LONGEST_LABEL = 30, 20, 26  # the last in characters
TICK = 5


@dataclasses.dataclass(frozen=True)
class Strip:
    """One canvas on the sheet: sample `index` of the strategy `name`, by its top left corner."""

    name: str
    index: int
    left: int
    top: int


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where everything lies, in pixels of the sheet.

    Args:
        size: Width and height of the sheet.
        scale: Sheet pixels for a canvas pixel along each axis; 1 where `reduction` is not.
        reduction: Canvas pixels averaged along each axis into one, on canvases too wide.
        headings: Text of every heading and its top left corner.
        strips: Every canvas.
    """

    size: tuple[int, int]
    scale: int
    reduction: int
    headings: list[tuple[str, int, int]]
    strips: list[Strip]


def contact_sheet(
    rows: dict[str, Canvases],
    path: Path,
    *,
    edges: Mapping[str, Sequence[int]] | None = None,
    max_samples: int = 4,
) -> None:
    """Writes the sheet as PNG: sample k of all strategies in one column, under its heading.

    Two samples stand side by side where there is room. Canvases are enlarged by an integer, each
    pixel a square, or averaged by an integer where one is wider than the sheet may be.

    Args:
        rows: Canvases by strategy, sample k of each from the same noise; strategies with fewer
            samples are left out of the later bands. Those called `real` come last.
        path: The file; its folder must exist.
        edges: Columns before which a strategy's windows begin or end, marked by ticks.
        max_samples: Most canvases of each strategy.

    Raises:
        ValueError: If there are no canvases, or they differ in size.
    """
    draw_sheet(rows, edges=edges, max_samples=max_samples).save(path, "PNG", optimize=True)


def draw_sheet(
    rows: dict[str, Canvases],
    *,
    edges: Mapping[str, Sequence[int]] | None = None,
    max_samples: int = 4,
) -> Image.Image:
    """Returns the sheet that `contact_sheet` writes."""
    plan = layout(rows, max_samples=max_samples)
    sheet = Image.new("RGB", plan.size, "white")
    pen = ImageDraw.Draw(sheet)
    for text, left, top in plan.headings:
        pen.text((left, top), text, fill=FAINT, font=_font(), anchor="la")
    for strip in plan.strips:
        image = _enlarged(rows[strip.name][strip.index], plan)
        sheet.paste(image, (strip.left, strip.top))
        if strip.left == plan.strips[0].left:
            middle = strip.top + image.height // 2
            pen.text((MARGIN, middle), _label(strip.name), fill=INK, font=_font(), anchor="lm")
        for column in (edges or {}).get(strip.name, ()):
            _tick(pen, strip, column, plan, image.height)
    return sheet


def layout(rows: dict[str, Canvases], *, max_samples: int = 4) -> Layout:
    """Returns where the strips of these canvases lie; the arguments are those of the sheet.

    Raises:
        ValueError: If there are no canvases, or they differ in size.
    """
    height, width = _common_size(rows)
    left = MARGIN + max(int(_font().getlength(_label(name))) for name in rows) + 2 * GAP
    scale, reduction = _scale(height, width, MAX_WIDTH - left - MARGIN)
    across = _pixels(width, scale, reduction) + COLUMN_GAP
    down = _pixels(height, scale, reduction) + GAP
    columns = 2 if left + 2 * across - COLUMN_GAP + MARGIN <= MAX_WIDTH else 1
    headings, strips, top = [], [], MARGIN
    for texts, lines in _bands(rows, max_samples, columns):
        headings += [(text, left + column * across, top) for column, text in enumerate(texts)]
        top += HEADING
        for name, indices in lines:
            strips += [Strip(name, k, left + c * across, top) for c, k in enumerate(indices)]
            top += down
        top += BAND_GAP
    right = max(strip.left for strip in strips) + across - COLUMN_GAP
    return Layout(
        (right + MARGIN, top - BAND_GAP - GAP + MARGIN), scale, reduction, headings, strips
    )


def _bands(rows: dict[str, Canvases], max_samples: int, columns: int) -> Iterator[Band]:
    """Yields `columns` samples of every strategy at a time, and then real crops."""
    counts = {name: min(len(canvases), max_samples) for name, canvases in rows.items()}
    real = counts.pop(REAL, 0)
    most = max(counts.values(), default=0)
    for first in range(0, most, columns):
        indices = range(first, min(first + columns, most))
        lines = [(name, [k for k in indices if k < count]) for name, count in counts.items()]
        yield [f"sample {k}" for k in indices], [line for line in lines if line[1]]
    if real:
        starts = range(0, real, columns)
        yield ["real crops"], [(REAL, [*range(k, min(k + columns, real))]) for k in starts]


def _common_size(rows: dict[str, Canvases]) -> tuple[int, int]:
    sizes = {(one.shape[-2], one.shape[-1]) for one in rows.values() if len(one)}
    if len(sizes) != 1:
        raise ValueError(f"canvases must be of one size, and at least one, got sizes {sizes}.")
    return sizes.pop()


def _scale(height: int, width: int, available: int) -> tuple[int, int]:
    """Returns by what integer to enlarge, and by what integer to reduce; one of them is 1."""
    return max(1, min(COMFORTABLE // height, available // width)), -(-width // available)


def _pixels(length: int, scale: int, reduction: int) -> int:
    return -(-length // reduction) * scale


def _enlarged(canvas: UInt8[Tensor, "3 height width"], plan: Layout) -> Image.Image:
    image = Image.fromarray(canvas.permute(1, 2, 0).cpu().numpy())
    image = image.reduce(plan.reduction)
    size = (image.width * plan.scale, image.height * plan.scale)
    return image.resize(size, Image.Resampling.NEAREST)


def _tick(pen: ImageDraw.ImageDraw, strip: Strip, column: int, plan: Layout, height: int) -> None:
    """Marks a border just below the strip; ticks are in the gap, never on a canvas."""
    x = strip.left + column * plan.scale // plan.reduction
    top = strip.top + height + 1
    pen.rectangle([(x - 1, top), (x, top + TICK - 1)], fill=INK)


def _label(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else "…" + name[1 - LONGEST_LABEL :]


def _font() -> ImageFont.FreeTypeFont:
    """Returns a font that is there wherever matplotlib is."""
    return ImageFont.truetype(
        Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), FONT_SIZE
    )
