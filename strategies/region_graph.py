"""Region graphs: from overlapping rectangles to counting numbers; integers only.

The graph holds the rectangles that are given and all that they share, down to what no two regions
cut smaller. Its counting numbers ([Y] Sec. V) make every pixel count once in all,

    c_r = 1 - sum of c_s over all regions s that strictly contain r.

Where the canvas wraps it is a plane that repeats itself, and a region is a rectangle of that plane
with all its copies. Two of them may then share several rectangles, each a region of its own, and
two that hold the same pixels but are cut open at different places are two regions.

References:
    [Y] Yedidia, Freeman, Weiss: Constructing Free-Energy Approximations and Generalized Belief
    Propagation Algorithms, IEEE Transactions on Information Theory, 2005
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from strategies.canvas import Canvas
from strategies.windows import Regions

__all__ = ["Rectangle", "by_size", "counted", "validate_regions"]


class Rectangle(NamedTuple):
    """Pixels `top` to `top + height` and `left` to `left + width`, modulo a canvas that wraps."""

    top: int
    left: int
    height: int
    width: int


def validate_regions(regions: Sequence[Sequence[int]]) -> None:
    """Checks that a list of regions has four numbers each, or five each.

    Raises:
        ValueError: If it has not, or is empty.
    """
    lengths = sorted({len(numbers) for numbers in regions})
    if lengths not in ([4], [5]):
        raise ValueError(
            "regions must be (top, left, height, width) each, or (top, left, height, width, count) "
            "each, got "
            + (f"lists of {' and '.join(map(str, lengths))} numbers." if lengths else "none.")
        )


def counted(
    regions: Sequence[Sequence[int]],
    canvas: Canvas,
    *,
    multiple: int = 1,
    filled: tuple[int, int] | None = None,
) -> dict[Rectangle, int]:
    """Returns the regions to evaluate with their counting numbers; those with 0 drop out.

    Four numbers (top, left, height, width) are the factors of a region graph. Five numbers
    (top, left, height, width, count) are the whole graph, and nothing is added to it.

    >>> counted([(0, 0, 8, 8), (0, 8, 8, 4), (0, 0, 8, 4)], Canvas(height=8, width=12))
    {Rectangle(top=0, left=0, height=8, width=8): 1, Rectangle(top=0, left=8, height=8, width=4): 1}

    Args:
        regions: The numbers.
        canvas: What they lie on.
        multiple: Sides of regions are multiples of this, in pixels.
        filled: Height and width that smaller regions are filled up to before they are evaluated,
            so that these need no multiples; None if they are evaluated as they are.

    Raises:
        ValueError: If a region does not fit the canvas, or the sides of one are no multiples of
            `multiple`.
    """
    rectangles = [_placed(Rectangle(*numbers[:4]), canvas) for numbers in regions]
    if len(regions[0]) == 4:
        counts = counting_numbers(rectangles, canvas)
    else:
        counts = dict.fromkeys(rectangles, 0)
        for rectangle, numbers in zip(rectangles, regions, strict=True):
            counts[rectangle] += numbers[4]
    counts = {rectangle: count for rectangle, count in counts.items() if count}
    _validate_sizes(counts, multiple, filled or (0, 0))
    return counts


def intersections(first: Rectangle, second: Rectangle, canvas: Canvas) -> list[Rectangle]:
    """Returns the rectangles that two regions share: none or one, more where the canvas wraps.

    >>> strip = Canvas(height=8, width=12)
    >>> intersections(Rectangle(0, 0, 8, 8), Rectangle(0, 4, 8, 8), strip)
    [Rectangle(top=0, left=4, height=8, width=4)]
    >>> loop = Canvas(height=8, width=12, wrap_width=True)
    >>> intersections(Rectangle(0, 0, 8, 8), Rectangle(0, 6, 8, 8), loop)
    [Rectangle(top=0, left=0, height=8, width=2), Rectangle(top=0, left=6, height=8, width=2)]
    """
    down = _shared(first[0::2], second[0::2], canvas.height if canvas.wrap_height else None)
    across = _shared(first[1::2], second[1::2], canvas.width if canvas.wrap_width else None)
    return [
        Rectangle(top, left, height, width)
        for (top, height), (left, width) in product(down, across)
    ]


def counting_numbers(factors: list[Rectangle], canvas: Canvas) -> dict[Rectangle, int]:
    """Returns all regions of the graph with their counting numbers, large ones first.

    Takes time in proportion to the square of the number of regions.

    >>> chain = [Rectangle(0, 0, 8, 8), Rectangle(0, 4, 8, 8)]
    >>> list(counting_numbers(chain, Canvas(height=8, width=12)).values())
    [1, 1, -1]
    """
    counts: dict[Rectangle, int] = {}
    # Whatever strictly contains a region is larger, so it has its number already.
    for region in sorted(_closure(factors, canvas), key=lambda r: (-r.height * r.width, r)):
        above = [other for other in counts if region in intersections(other, region, canvas)]
        counts[region] = 1 - sum(counts[other] for other in above)
    return counts


def by_size(counts: dict[Rectangle, int]) -> list[tuple[Regions, list[int]]]:
    """Returns the regions of each size together, with their counting numbers.

    >>> by_size({Rectangle(0, 0, 4, 4): 1, Rectangle(0, 2, 4, 2): -1, Rectangle(0, 2, 4, 4): 1})
    ... # doctest: +NORMALIZE_WHITESPACE
    [(Regions(height=4, width=4, corners=((0, 0), (0, 2))), [1, 1]),
     (Regions(height=4, width=2, corners=((0, 2),)), [-1])]
    """
    sizes: dict[tuple[int, int], list[Rectangle]] = {}
    for region in counts:
        sizes.setdefault((region.height, region.width), []).append(region)
    return [
        (Regions(*size, tuple((r.top, r.left) for r in same)), [counts[r] for r in same])
        for size, same in sizes.items()
    ]


def _closure(factors: list[Rectangle], canvas: Canvas) -> set[Rectangle]:
    """Returns the factors and whatever any number of them share."""
    found = new = set(factors)
    while new:
        shared = (intersections(*pair, canvas) for pair in product(new, factors))
        new = {region for regions in shared for region in regions} - found
        found = found | new
    return found


def _placed(rectangle: Rectangle, canvas: Canvas) -> Rectangle:
    """Returns the rectangle with its corner on the canvas, or refuses it."""
    top, left, height, width = rectangle
    rows = _start(top, height, canvas.height, canvas.wrap_height)
    columns = _start(left, width, canvas.width, canvas.wrap_width)
    if rows is None or columns is None:
        raise ValueError(
            "a region must have pixels and lie inside the canvas of "
            f"{canvas.height} x {canvas.width} px (along an axis that wraps: be no longer than "
            f"it), got {height} x {width} px at row {top}, column {left}."
        )
    return Rectangle(rows, columns, height, width)


def _start(start: int, size: int, length: int, wraps: bool) -> int | None:
    """Returns where a span begins on an axis, or None where it does not fit."""
    fits = 1 <= size <= length and (wraps or 0 <= start <= length - size)
    return start % length if fits else None


def _validate_sizes(counts: dict[Rectangle, int], multiple: int, filled: tuple[int, int]) -> None:
    for top, left, height, width in counts:
        sides = zip((height, width), filled, strict=True)
        if any(side > least and side % multiple for side, least in sides):
            raise ValueError(
                "height and width of every region, and of what regions share, must be multiples "
                f"of the denoiser's {multiple} px, got {height} x {width} px at row {top}, column "
                f"{left}."
            )


def _shared(
    first: tuple[int, int], second: tuple[int, int], loop: int | None
) -> list[tuple[int, int]]:
    """Returns what two spans (start, size) of an axis share, the copies of the second included.

    Spans begin on the canvas and are no longer than it, so only the nearest copies can meet.
    """
    pieces = []
    for shift in (0,) if loop is None else (-loop, 0, loop):
        start = max(first[0], second[0] + shift)
        stop = min(first[0] + first[1], second[0] + second[1] + shift)
        if start < stop:
            pieces.append((start if loop is None else start % loop, stop - start))
    return pieces
