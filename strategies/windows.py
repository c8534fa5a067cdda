"""Where windows lie on a canvas: integers only."""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise, product

__all__ = ["Regions", "Span", "Tiling", "grid", "overlaps", "planned_length", "spans"]

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
        """Rows and columns of every rectangle; past the canvas where it reaches over an edge."""
        return [
            (slice(top, top + self.height), slice(left, left + self.width))
            for top, left in self.corners
        ]

    @property
    def reach(self) -> tuple[int, int]:
        """The lowest and the rightmost edge of all rectangles, in pixels."""
        tops, lefts = zip(*self.corners, strict=True)
        return max(tops) + self.height, max(lefts) + self.width

    def only(self, numbers: Sequence[int]) -> "Regions":
        """Returns the rectangles of these numbers, in their order."""
        return Regions(self.height, self.width, tuple(self.corners[number] for number in numbers))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiling:
    """How windows lie along one axis.

    Args:
        length: Pixels of the axis.
        window: Pixels of a window.
        overlap: What neighbouring windows share, in pixels.
        wraps: Whether the end continues at the beginning.
    """

    length: int
    window: int
    overlap: int
    wraps: bool = False

    @property
    def planned(self) -> int:
        """The length that the windows tile; see `planned_length`."""
        return planned_length(self.length, self.window, self.overlap, wraps=self.wraps)

    @property
    def spans(self) -> list[Span]:
        """The windows of a length that they tile exactly; see `spans`."""
        return spans(self.length, self.window, self.overlap, wraps=self.wraps)


def planned_length(length: int, window: int, overlap: int, *, wraps: bool = False) -> int:
    """Returns the smallest length from `length` up that the windows tile exactly.

    On an axis that wraps nothing can be planned larger and cut off: `length` itself must close.

    >>> planned_length(20, window=8, overlap=4), planned_length(21, window=8, overlap=4)
    (20, 24)

    Raises:
        ValueError: If `length` is below one window or closes no loop, with the lengths that do, or
            if the overlap is no part of a window.
    """
    if not 0 <= overlap < window:
        raise ValueError(f"need 0 <= overlap < window, got overlap={overlap}, window={window}.")
    stride = window - overlap
    if wraps:
        _validate_loop(length, window, stride)
        return length
    if length < window:
        raise ValueError(
            f"a canvas must be at least one window of {window} px along both axes, got {length} px."
        )
    return window + -(-(length - window) // stride) * stride


def spans(length: int, window: int, overlap: int, *, wraps: bool = False) -> list[Span]:
    """Returns the windows that cover `length` exactly, each sharing `overlap` with the next.

    On an axis that wraps the last ones reach over the edge, and share with the first.

    >>> spans(10, window=4, overlap=1)
    [(0, 4), (3, 7), (6, 10)]
    >>> spans(9, window=4, overlap=1, wraps=True)
    [(0, 4), (3, 7), (6, 10)]

    Raises:
        ValueError: If they do not tile it; `planned_length` is the next length that they do.
    """
    planned = planned_length(length, window, overlap, wraps=wraps)
    if planned != length:
        raise ValueError(
            f"windows of {window} px overlapping by {overlap} px cannot tile {length} px; the next "
            f"length that they tile is {planned} px."
        )
    last = length if wraps else length - overlap
    return [(start, start + window) for start in range(0, last, window - overlap)]


def overlaps(windows: list[Span], *, loop: int | None = None) -> list[Span]:
    """Returns what each window shares with the next; nothing for windows side by side.

    Args:
        windows: Spans of one axis, in order.
        loop: Pixels round the loop that they close, where the last shares with the first; None
            for a chain.

    >>> overlaps([(0, 4), (3, 7), (6, 10)])
    [(3, 4), (6, 7)]
    >>> overlaps([(0, 4), (3, 7), (6, 10)], loop=9)
    [(3, 4), (6, 7), (0, 1)]
    """
    if loop is not None:
        windows = [*windows, (windows[0][0] + loop, windows[0][1] + loop)]
    shared = [(start, stop) for (_, stop), (start, _) in pairwise(windows) if start < stop]
    return [span if loop is None else _modulo(span, loop) for span in shared]


def grid(rows: list[Span], columns: list[Span]) -> Regions:
    """Returns the product of two lists of equally long spans, neither of them empty.

    >>> grid([(0, 2)], [(0, 4), (3, 7)])
    Regions(height=2, width=4, corners=((0, 0), (0, 3)))
    """
    (height,), (width,) = ({stop - start for start, stop in axis} for axis in (rows, columns))
    corners = tuple((top, left) for (top, _), (left, _) in product(rows, columns))
    return Regions(height, width, corners)


def _modulo(span: Span, loop: int) -> Span:
    start, stop = span
    return start % loop, start % loop + stop - start


def _validate_loop(length: int, window: int, stride: int) -> None:
    """Refuses lengths that are no whole number of strides, or below one window."""
    if length % stride == 0 and length >= window:
        return
    below = length // stride * stride
    shortest = -(-window // stride) * stride
    nearest = [close for close in (below, below + stride) if close >= window] or [shortest]
    raise ValueError(
        f"windows of {window} px overlapping by {window - stride} px close a loop whose length is "
        f"a multiple of {stride} px and at least {window} px, got {length} px; the nearest "
        f"{'that closes is' if len(nearest) == 1 else 'that close are'} "
        f"{' and '.join(map(str, nearest))} px."
    )
