"""Which windows of a canvas have something to make where some of its pixels are given.

Given pixels are put in place of every estimate of theirs, so a window that holds nothing else is
never read. What is asked for depends on the unknown pixels of the windows it lies in, which depend
on those of the windows that they lie in, and so on: where the windows reach beyond the canvas that
was asked for, what lies there is made as well if, and only if, something asked for depends on it.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from strategies.canvas import Canvas, Known
from strategies.collage import Weighted, cut, folded, unrolled_size
from strategies.windows import Regions

__all__ = ["needed_windows"]

Pixels = Bool[Tensor, "masks height width"]
Touched = Bool[Tensor, "_ masks"]  # by region of a group


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
    unknown = ~known.mask.all(1).cpu()
    wanted = unknown.clone()
    wanted[:, canvas.height :] = False
    wanted[:, :, canvas.width :] = False
    touched = [touching(group.regions, unknown) for group in groups]
    if torch.equal(wanted, unknown):
        return touched
    # Only these can matter; the closure below goes over them again and again.
    near = [
        (number, group.only(rows.any(1)))
        for number, (group, rows) in enumerate(zip(groups, touched, strict=True))
        if rows.any()
    ]
    found = _closure([group for _, group in near], planned, unknown, wanted)
    for (number, _), rows in zip(near, found, strict=True):
        kept = touched[number].any(1)
        touched[number][kept] = rows
    return touched


def touching(regions: Regions, pixels: Pixels) -> Touched:
    """Returns which regions hold at least one of the pixels."""
    return cut(pixels, regions).flatten(2).any(2)


def _closure(
    groups: list[Weighted], planned: Canvas, unknown: Pixels, wanted: Pixels
) -> list[Touched]:
    """Returns the windows of wanted pixels, and those of the unknown pixels in them, and so on."""
    while True:
        touched = [touching(group.regions, wanted) for group in groups]
        reached = wanted | (unknown & _covered(groups, touched, planned))
        if torch.equal(reached, wanted):
            return touched
        wanted = reached


def _covered(groups: list[Weighted], touched: list[Touched], planned: Canvas) -> Pixels:
    """Returns which pixels lie in the windows that are touched."""
    size = unrolled_size(groups, planned)
    covered = torch.zeros(touched[0].shape[1], *size, dtype=torch.int64)
    for group, rows in zip(groups, touched, strict=True):
        for (down, across), row in zip(group.regions.slices, rows, strict=True):
            if row.any():
                covered[:, down, across] += row[:, None, None]
    return folded(covered, planned) > 0
