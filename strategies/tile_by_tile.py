"""A function of an image, tile by tile, where the whole does not fit in memory.

Neighbouring tiles overlap. What lies near an edge that is none of the canvas is not used, since the
function has not seen what lies beyond; between there, one tile fades into the next.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from denoisers.contract import Image
from strategies.canvas import Canvas
from strategies.collage import folded, unrolled
from strategies.windows import Span

__all__ = ["tile_spans", "tiled"]

Made = Float[Tensor, "batch made_channels made_height made_width"]

# Of an overlap, on either side: what is not used. The half in the middle is where tiles fade.
UNUSED = 0.25


def tiled(
    function: Callable[[Image], Made],
    image: Image,
    *,
    scale: Fraction | int,
    tile: int,
    overlap: int,
    wraps: tuple[bool, bool] = (False, False),
    cell: int = 1,
    wanted: Callable[[Span, Span], bool] | None = None,
) -> Made:
    """Returns what the function makes of an image, never shown more than a tile of each sample.

    Equal to the function of the whole image where what it makes of a pixel depends on none further
    from its middle than a quarter of the overlap, and on a canvas that wraps to what it would make
    of the endless image. Images up to one tile that do not wrap are one tile: the function itself.

    Args:
        function: Makes `scale` times as high and as wide an image of one.
        image: What it is applied to.
        scale: How much larger its images are.
        tile: Most pixels along a side of a tile.
        overlap: Least that neighbouring tiles share, in pixels, below `tile`.
        wraps: Whether the bottom continues at the top, and the right edge at the left.
        cell: Tiles begin and end at multiples of this, and so must the image.
        wanted: Told rows and columns of a tile in the image, past its end where it wraps; whether
            anything of what is made of it is looked at; None for all. What is made of no tile is 0.

    Raises:
        ValueError: If the overlap is not below the tile, or a side is no multiple of the cell.
    """
    if not 0 < overlap < tile:
        raise ValueError(f"need 0 < overlap < tile, got overlap={overlap}, tile={tile}.")
    sides = tuple(image.shape[-2:])
    if any(side % cell for side in (*sides, tile, overlap)):
        raise ValueError(
            f"the image, tile and overlap must be multiples of {cell} px, got {sides}, {tile}, "
            f"{overlap}."
        )
    rows, columns = (
        [(cell * start, cell * stop) for start, stop in spans]
        for spans in (
            tile_spans(side // cell, tile // cell, overlap // cell, wraps=wrap)
            for side, wrap in zip(sides, wraps, strict=True)
        )
    )
    if not any(wraps) and len(rows) == len(columns) == 1:
        return function(image)
    down = [_ramp(span, sides[0], overlap, scale, wraps[0]).to(image) for span in rows]
    across = [_ramp(span, sides[1], overlap, scale, wraps[1]).to(image) for span in columns]
    endless = unrolled(image, rows[-1][1], columns[-1][1])
    sums: tuple[Tensor, Tensor] | None = None
    tiles = [
        (first, second)
        for first, second in product(
            zip(rows, down, strict=True), zip(columns, across, strict=True)
        )
        if wanted is None or wanted(first[0], second[0])
    ]
    # One is made even where none is wanted: it says how many channels there are.
    for (row, high), (column, wide) in tiles or [((rows[0], down[0]), (columns[0], across[0]))]:
        part = function(endless[..., slice(*row), slice(*column)])
        if sums is None:
            reach = [int(spans[-1][1] * scale) for spans in (rows, columns)]
            sums = part.new_zeros(*part.shape[:2], *reach), part.new_zeros(1, 1, *reach)
        made, total = sums
        long, broad = (slice(*(int(edge * scale) for edge in span)) for span in (row, column))
        weight = high[:, None] * wide
        made[..., long, broad] += part * weight
        total[..., long, broad] += weight
    canvas = Canvas(height=int(sides[0] * scale), width=int(sides[1] * scale))
    total = folded(total, canvas)
    return folded(made, canvas) / total.where(total > 0, 1.0)


def tile_spans(length: int, tile: int, overlap: int, *, wraps: bool) -> list[Span]:
    """Returns as few tiles as cover an axis, evenly spread; on one that wraps past its end.

    >>> tile_spans(20, 8, 2, wraps=False)
    [(0, 8), (6, 14), (12, 20)]
    >>> tile_spans(20, 8, 2, wraps=True)
    [(0, 7), (5, 12), (10, 17), (15, 22)]
    """
    if wraps:
        count = math.ceil(length / (tile - overlap))
        size = math.ceil(length / count) + overlap
        return [(start := i * length // count, start + size) for i in range(count)]
    if length <= tile:
        return [(0, length)]
    count = math.ceil((length - overlap) / (tile - overlap))
    starts = [i * (length - tile) // (count - 1) for i in range(count)]
    return [(start, start + tile) for start in starts]


def _ramp(
    span: Span, length: int, overlap: int, scale: Fraction | int, wraps: bool
) -> Float[Tensor, " pixels"]:
    """Returns the weight of a tile's pixels along one axis: 0 near edges that are no canvas's."""
    start, stop = span
    place = start + (torch.arange(int((stop - start) * scale)) + 0.5) / float(scale)
    unused, fading = UNUSED * overlap, (1 - 2 * UNUSED) * overlap
    weight = torch.ones_like(place)
    if wraps or start > 0:
        weight = weight.minimum((place - start - unused) / fading)
    if wraps or stop < length:
        weight = weight.minimum((stop - place - unused) / fading)
    return weight.clamp(0, 1)
