"""In which order windows are filled, and which of them can be filled together: integers only.

Windows lie on a lattice, `window - overlap` px apart. The first one may lie anywhere on it; the
others follow outwards from there, row by row, so that each finds what its neighbours have left on
one side, on an L-shaped border, or nowhere.

On an axis that wraps the two ends of the growth meet. The last window then lies across the gap and
sees `overlap / 2` px of both ends, at least one; were it to stand on the lattice, half-overlapping
windows would close the loop without ever having seen its other end.
"""

import dataclasses

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from strategies.windows import Tiling

__all__ = ["Axis", "Filling", "Spot", "fillings", "lattice"]


@dataclasses.dataclass(frozen=True)
class Spot:
    """Where a window begins along one axis, in pixels, and its number on the lattice.

    Numbers count from the first window, so that noise that is drawn by number does not depend on
    how far the canvas reaches.
    """

    number: int
    begin: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """Windows along one axis.

    Args:
        length: Pixels along the axis, as planned.
        window: Length of a window, in pixels.
        overlap: What neighbouring windows share, in pixels.
        wraps: Whether the end continues at the beginning.
    """

    length: int
    window: int
    overlap: int
    wraps: bool = False

    @property
    def stride(self) -> int:
        """Pixels from one window to the next."""
        return self.window - self.overlap

    @property
    def begins(self) -> list[int]:
        """Where windows of the lattice begin: the choices for the first one."""
        last = self.length - (1 if self.wraps else self.window)
        return list(range(0, last + 1, self.stride))

    @property
    def middle(self) -> int:
        """Where the lattice window nearest the middle begins, in pixels; 0 on a loop."""
        if self.wraps:
            return 0
        return min(self.begins, key=lambda begin: abs(2 * begin - self.length + self.window))

    def covered(self, begin: int) -> Int64[Tensor, " window"]:
        """Returns the pixels of a window that begins at `begin`."""
        return (begin + torch.arange(self.window)) % self.length

    def spots(self, first: int, *, both_ways: bool) -> list[Spot]:
        """Returns the windows in the order in which they are filled, from number `first` on.

        Args:
            first: Index into `begins`.
            both_ways: On an axis that wraps, whether growth goes both ways round and meets
                opposite the first window, rather than right before it.
        """
        if not self.wraps:
            return self._run(first, len(self.begins) - 1 - first, first)
        steps = len(self.begins) - 3
        back = steps // 2 if both_ways else 0
        return self._run(first, steps - back, back) + self._closing(first, steps - back)

    def _run(self, first: int, ahead: int, back: int) -> list[Spot]:
        """The first window, then those after it, then those before it, outwards."""
        numbers = [*range(ahead + 1), *range(-1, -back - 1, -1)]
        # Modulo the length: without effect on an axis that does not wrap.
        return [Spot(number, (first + number) * self.stride % self.length) for number in numbers]

    def _closing(self, first: int, ahead: int) -> list[Spot]:
        """The windows that fill the gap of 2 `stride` - `overlap` px that is left of a loop."""
        end = (first + ahead) * self.stride + self.window
        # What the last window sees of the end of growth. Of its beginning: the rest of an overlap.
        seen = max(1, self.overlap // 2)
        new = self.window - 2 * self.overlap + seen - self.overlap // 2
        spots = []
        if new:
            # One more window, so that the last one has no more than a stride left to fill.
            spots.append(Spot(ahead + 1, (end + new - self.window) % self.length))
        spots.append(Spot(ahead + 2, (end + new - seen) % self.length))
        return spots


def lattice(tiling: Tiling) -> Axis:
    """Returns the axis as planned, as long as asked or longer; loops must close.

    >>> lattice(Tiling(length=21, window=8, overlap=4)).length
    24

    Raises:
        ValueError: If a loop does not close, or is too short to be filled window after window, or
            its windows are.
    """
    axis = Axis(
        length=tiling.planned, window=tiling.window, overlap=tiling.overlap, wraps=tiling.wraps
    )
    if axis.wraps and axis.length < 3 * axis.stride:
        raise ValueError(
            f"a loop that is filled window after window must be at least 3 strides of "
            f"{axis.stride} px = {3 * axis.stride} px long, got {axis.length} px."
        )
    if axis.wraps and axis.window < 3:
        raise ValueError(
            f"a loop closes by a window that sees both its ends and fills at least 1 px between "
            f"them, hence by one of at least 3 px, got {axis.window} px."
        )
    return axis


@dataclasses.dataclass(frozen=True)
class Filling:
    """One window to fill.

    Args:
        number: Its place on the lattice, (row, column) from the first window: names its noise.
        rows: The canvas rows it covers, modulo the canvas.
        columns: The canvas columns it covers.
        known: Which of its pixels earlier windows have painted; those that are given come on top.
        turn: When it can be filled: no window of the same turn, or of a later one, has painted
            any of what it knows.
    """

    number: tuple[int, int]
    rows: Int64[Tensor, " height"]
    columns: Int64[Tensor, " width"]
    known: Bool[Tensor, "height width"]
    turn: int


def fillings(
    rows: Axis,
    columns: Axis,
    first: tuple[int, int],
    *,
    both_ways: bool,
    given: Bool[Tensor, "height width"],
    size: tuple[int, int],
) -> list[Filling]:
    """Returns the windows to fill in order, row by row outwards from the first.

    Windows are left out that have no pixel of the canvas to paint. What a window knows is what
    stands before it in this order, and is no matter of `turn`: filling all windows of one turn
    together gives the image that filling them one by one gives.

    Args:
        rows: The windows down the canvas.
        columns: The windows along the canvas.
        first: Indices into their `begins`, of the window that all others are counted from.
        both_ways: See `Axis.spots`.
        given: Which pixels, of the canvas as planned, are there before any window.
        size: Height and width of the canvas as asked for, in pixels.
    """
    wanted = ~given
    wanted[size[0] :] = False
    wanted[:, size[1] :] = False
    # The turn after which a pixel is painted; 0 where it is not.
    painted = torch.zeros(rows.length, columns.length, dtype=torch.int64)
    across = columns.spots(first[1], both_ways=both_ways)
    ordered = []
    for row in rows.spots(first[0], both_ways=both_ways):
        for column in across:
            covered = (rows.covered(row.begin), columns.covered(column.begin))
            place = (covered[0][:, None], covered[1])
            before = painted[place]
            known = before > 0
            if not (wanted[place] & ~known).any():
                continue
            turn = int(before.max())
            painted[place] = before.where(known | given[place], turn + 1)
            ordered.append(Filling((row.number, column.number), *covered, known, turn))
    return ordered
