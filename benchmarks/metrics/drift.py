"""How colour and contrast move along a canvas: sequential strategies may lose both on the way.

A strip is `strip` columns, over the full height. All figures are in units of a pixel in [-1, 1],
where black and white are 2 apart, and say something only beside real crops as wide: the colour of
photographs moves too.
"""

import math

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from typing_extensions import override

from benchmarks.metrics.state import Canvases, SumMetric, chunks, validate_fit

__all__ = ["ColourDrift", "colour_drift"]

MOST_DISTANCES = 32  # of a curve


class ColourDrift(SumMetric):
    """`colour_drift` over one distance, and the curves `drift` and `contrast`.

    With `m_c` the mean colour of the strip at columns c to c + strip - 1, and `s_c` the standard
    deviation of its pixels about it,

        colour_drift = sqrt(mean (m_(c + distance) - m_c)^2)    over every c,
        drift(d)     = sqrt(mean (m_(start +- d) - m_start)^2),
        contrast(d)  = sqrt(mean s_(start +- d)^2),

    the means taken over canvases, channels and whatever of both directions lies inside. Distances
    of the curves are multiples of half a strip, or of more where that would be above 32 of them.

    Args:
        height: Of the canvases, in pixels.
        width: Of the canvases, in pixels.
        strip: Width of a strip, in pixels.
        distance: Between the left edges of the strips of `colour_drift`, in pixels; None leaves
            it out.
        start: Left edge of the strip where the strategy began, in pixels; moved so that the strip
            lies inside.
        seed: Seeds the resampling.

    Raises:
        ValueError: If a strip, or two that far apart, do not fit.
    """

    def __init__(
        self,
        *,
        height: int,
        width: int,
        strip: int,
        distance: int | None,
        start: int = 0,
        seed: int = 0,
    ) -> None:
        _validate_strips(strip, distance or 0, width)
        start = min(max(start, 0), width - strip)
        longest = max(start, width - strip - start)
        step = max(1, strip // 2)
        step *= math.ceil((longest // step + 1) / MOST_DISTANCES)
        distances = list(range(0, longest + 1, step))
        super().__init__(
            columns=1 + 2 * len(distances),
            seed=seed,
            distances={"drift": distances, "contrast": distances},
        )
        self.size = (height, width)
        self.strip = strip
        self.distance = distance
        self.start = start
        self.places = [
            sorted({start - away, start + away} & set(range(width - strip + 1)))
            for away in distances
        ]

    @override
    def statistics(
        self, canvases: Canvases, indices: Int64[Tensor, " n"]
    ) -> Float64[Tensor, "n columns"]:
        validate_fit(canvases, self.size)
        strips = _strip_sums(canvases.sum(2, dtype=torch.int64), self.strip)
        squares = canvases.to(torch.int32).square().sum(2, dtype=torch.int64)
        # n sum x^2 - (sum x)^2: n^2 times the variance, and an integer.
        spreads = (self._pixels * _strip_sums(squares, self.strip) - strips.square()).double()
        # Squares are integers below 2^63 for strips of 10^7 px and less; their sums need not be.
        moved = (strips - strips[..., self.start, None]).square().double()
        over_distance = _squared_moves(strips, self.distance or 0)
        at_places = [
            torch.stack([values[..., places].sum((1, 2)) for places in self.places], dim=1)
            for values in (moved, spreads)
        ]
        return torch.cat([over_distance[:, None], *at_places], dim=1)

    @override
    def formula(
        self, totals: Float64[Tensor, "sets columns"], count: int
    ) -> dict[str, Float64[Tensor, "sets ..."]]:
        terms = totals.new_tensor([3 * count * len(places) for places in self.places])
        over_distance, moved, spread = totals.split([1, len(terms), len(terms)], dim=1)
        level = 127.5 * self._pixels
        curves = {
            "drift": (moved / terms).sqrt() / level,
            "contrast": (spread / terms).sqrt() / level,
        }
        if self.distance is None:
            return curves
        positions = self.size[1] - self.strip - self.distance + 1
        colour_drift = (over_distance[:, 0] / (3 * count * positions)).sqrt() / level
        return {"colour_drift": colour_drift} | curves

    @property
    def _pixels(self) -> int:
        return self.strip * self.size[0]


def colour_drift(canvases: Canvases, *, size: int, distance: int) -> float:
    """Returns the `colour_drift` of these canvases in strips of `size` px, without an interval.

    Raises:
        ValueError: If there are no canvases, or two strips so far apart do not fit.
    """
    if not len(canvases):
        raise ValueError("there must be at least 1 canvas, got 0.")
    height, width = canvases.shape[-2:]
    _validate_strips(size, distance, width)
    sums = [
        _squared_moves(_strip_sums(canvases[part].sum(2, dtype=torch.int64), size), distance)
        for part in chunks(len(canvases), canvases[0].numel())
    ]
    # Sums of integers are exact, and so is their difference: equal strips have no drift at all.
    mean = torch.cat(sums).double().sum() / (len(canvases) * 3 * (width - size - distance + 1))
    return mean.sqrt().item() / (127.5 * size * height)


def _squared_moves(strips: Int64[Tensor, "n 3 positions"], distance: int) -> Float64[Tensor, " n"]:
    """Sums the squared difference of strips so far apart over channels and positions."""
    positions = strips.shape[-1] - distance
    return (strips[..., distance:] - strips[..., :positions]).square().double().sum((1, 2))


def _strip_sums(columns: Int64[Tensor, "n 3 width"], size: int) -> Int64[Tensor, "n 3 positions"]:
    totals = columns.cumsum(-1)
    totals = torch.cat([torch.zeros_like(totals[..., :1]), totals], dim=-1)
    return totals[..., size:] - totals[..., :-size]


def _validate_strips(size: int, distance: int, width: int) -> None:
    if size < 1 or distance < 0 or size + distance > width:
        raise ValueError(
            "need size >= 1, distance >= 0 and size + distance <= width, got "
            f"size={size}, distance={distance}, width={width}."
        )
