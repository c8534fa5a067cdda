"""Which windows of a canvas have something to make where some of its pixels are given.

Given pixels are put in place of every estimate of theirs, so a window that holds nothing else is
never read. What is asked for depends on the unknown pixels of the windows it lies in, which depend
on those of the windows that they lie in, and so on: where the windows reach beyond the canvas that
was asked for, what lies there is made as well if, and only if, something asked for depends on it.
"""

from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from strategies.canvas import Canvas, Known
from strategies.collage import Weighted, cut
from strategies.windows import Regions

__all__ = ["needed_windows"]

Pixels = Bool[Tensor, "masks height width"]
Touched = Bool[Tensor, "_ masks"]  # by region of a group
Place = tuple[Any, ...]  # an index of pixels


def needed_windows(
    groups: list[Weighted], planned: Canvas, canvas: Canvas, known: Known
) -> list[Touched]:
    """Returns for every group which of its windows must be evaluated, for each mask of `known`.

    Args:
        groups: The windows.
        planned: The canvas that they lie on.
        canvas: The part of it that was asked for, from its top left corner.
        known: What is given of the planned canvas.
    """
    wanted = ~known.mask.all(1).cpu()
    beyond = wanted.clone()
    beyond[:, : canvas.height, : canvas.width] = False
    wanted &= ~beyond
    touched = [touching(group.regions, wanted) for group in groups]
    if beyond.any():
        _spread(groups, touched, beyond, planned)
    return touched


def touching(regions: Regions, pixels: Pixels) -> Touched:
    """Returns which regions hold at least one of the pixels."""
    return cut(pixels, regions).flatten(2).any(2)


def _spread(
    groups: list[Weighted], touched: list[Touched], beyond: Pixels, planned: Canvas
) -> None:
    """Touches windows that share pixels beyond the canvas with touched ones, and so on.

    Only these pixels can link a window to others: all that is wanted is there from the beginning.
    One way along the edges and then back, until nothing changes: two or three times.
    """
    links = [
        (rows[number], place)
        for group, rows in zip(groups, touched, strict=True)
        for number, place in _places(group.regions, touching(group.regions, beyond), planned)
    ]
    reached = torch.zeros_like(beyond)
    changed = True
    while changed:
        changed = False
        for row, place in links:
            row |= reached[place].flatten(1).any(1)
            new = beyond[place] & row[:, None, None] & ~reached[place]
            if new.any():
                reached[place] |= new
                changed = True
        links.reverse()


def _places(regions: Regions, chosen: Touched, planned: Canvas) -> list[tuple[int, Place]]:
    """Returns the numbers of some regions, and where their pixels are on the planned canvas."""
    down, across = torch.arange(regions.height), torch.arange(regions.width)
    return [
        (number, (..., ((top + down) % planned.height)[:, None], (left + across) % planned.width))
        for number, (top, left) in enumerate(regions.corners)
        if chosen[number].any()
    ]
