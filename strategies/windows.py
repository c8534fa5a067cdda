"""Where windows lie on a canvas: integers only."""

import dataclasses
from itertools import pairwise, product

__all__ = ["Regions", "grid", "overlaps", "planned_length", "spans"]

Span = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Regions:
    """Rectangles of one size, hence one batched network call.

    Args:
        height: Pixels of each rectangle from top to bottom.
        width: Pixels of each rectangle from left to right.
        corners: Top left corners, as (row, column).
    """

    height: int
    width: int
    corners: tuple[tuple[int, int], ...]

    @property
    def slices(self) -> list[tuple[slice, slice]]:
        """Rows and columns of every rectangle."""
        return [
            (slice(top, top + self.height), slice(left, left + self.width))
            for top, left in self.corners
        ]


def planned_length(length: int, window: int, overlap: int) -> int:
    """Returns the smallest length from `length` up that the windows tile exactly.

    >>> planned_length(20, window=8, overlap=4), planned_length(21, window=8, overlap=4)
    (20, 24)

    Raises:
        ValueError: If `length` is below one window, or the overlap no part of a window.
    """
    if not 0 <= overlap < window:
        raise ValueError(f"need 0 <= overlap < window, got overlap={overlap}, window={window}.")
    if length < window:
        raise ValueError(
            f"a canvas must be at least one window of {window} px along both axes, got {length} px."
        )
    stride = window - overlap
    return window + -(-(length - window) // stride) * stride


def spans(length: int, window: int, overlap: int) -> list[Span]:
    """Returns the windows that cover `length` exactly, each sharing `overlap` with the next.

    >>> spans(10, window=4, overlap=1)
    [(0, 4), (3, 7), (6, 10)]

    Raises:
        ValueError: If they do not tile it; `planned_length` is the next length that they do.
    """
    planned = planned_length(length, window, overlap)
    if planned != length:
        raise ValueError(
            f"windows of {window} px overlapping by {overlap} px cannot tile {length} px; the next "
            f"length that they tile is {planned} px."
        )
    return [(start, start + window) for start in range(0, length - overlap, window - overlap)]


def overlaps(windows: list[Span]) -> list[Span]:
    """Returns what each window shares with the next; nothing for windows side by side.

    >>> overlaps([(0, 4), (3, 7), (6, 10)])
    [(3, 4), (6, 7)]
    """
    shared = [(start, stop) for (_, stop), (start, _) in pairwise(windows)]
    return [(start, stop) for start, stop in shared if start < stop]


def grid(rows: list[Span], columns: list[Span]) -> Regions | None:
    """Returns the product of two lists of equally long spans; None if either is empty.

    >>> grid([(0, 2)], [(0, 4), (3, 7)])
    Regions(height=2, width=4, corners=((0, 0), (0, 3)))
    """
    if not rows or not columns:
        return None
    (height,), (width,) = ({stop - start for start, stop in axis} for axis in (rows, columns))
    corners = tuple((top, left) for (top, _), (left, _) in product(rows, columns))
    return Regions(height, width, corners)
