"""From top to bottom: whether blue is above, and whether colours lie where the seed image has them.

Everything is an integer until the last division, so that rows without variation have none at all.
"""

import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from benchmarks.metrics.state import Canvases, SumMetric

__all__ = [
    "Layout",
    "SkyAtTop",
    "area_sums",
    "layout_correlation",
    "of_samples",
    "profile_of",
    "sky_at_top",
]

ROWS = 16  # of a profile, whatever the height of the image
WHITE = 127.5  # levels of a unit: black and white are 2 apart


class SkyAtTop(SumMetric):
    """`sky_at_top`: how much bluer the top quarter of a canvas is than the bottom quarter.

    The mean of `sky_at_top` over canvases, in units of a pixel in [-1, 1]; it says something only
    beside real crops as large.

    Args:
        seed: Seeds the resampling.
        limit: Only canvases whose sample index is below it are looked at; None for all.
    """

    signed = frozenset({"sky_at_top"})

    def __init__(self, *, seed: int = 0, limit: int | None = None) -> None:
        super().__init__(columns=1, seed=seed, limit=limit)

    @override
    def statistics(
        self, canvases: Canvases, indices: Int64[Tensor, " n"]
    ) -> Float64[Tensor, "n 1"]:
        return sky_at_top(canvases)[:, None]

    @override
    def formula(
        self, totals: Float64[Tensor, "sets columns"], count: int
    ) -> dict[str, Float64[Tensor, " sets"]]:
        return {"sky_at_top": totals[:, 0] / count}


class Layout(SumMetric):
    """`layout_correlation`: whether a canvas has from top to bottom what its seed image has.

    The mean of `layout_correlation` over canvases, each with the image that it was seeded with.
    In [-1, 1]: 0 is what two vertical orders have that know nothing of each other, but landscapes
    do without any seed, for their skies are above; so it is to be read beside canvases of other
    seeds.

    Args:
        profiles: `profile_of` the seed images; row k is that of sample k.
        seed: Seeds the resampling.
        limit: Only canvases whose sample index is below it are looked at; None for all.

    Raises:
        ValueError: If profiles are of another shape, or, later, a sample has none.
    """

    signed = frozenset({"layout_correlation"})

    def __init__(
        self,
        *,
        profiles: Float64[Tensor, "seeds channels rows"],
        seed: int = 0,
        limit: int | None = None,
    ) -> None:
        super().__init__(columns=1, seed=seed, limit=limit)
        if profiles.shape[1:] != (3, ROWS):
            raise ValueError(
                f"profiles must be those of `profile_of`, 3 x {ROWS} each, got "
                f"{profiles.shape[1]} x {profiles.shape[2]}."
            )
        self.profiles = profiles

    @override
    def statistics(
        self, canvases: Canvases, indices: Int64[Tensor, " n"]
    ) -> Float64[Tensor, "n 1"]:
        profiles = of_samples(self.profiles, indices).to(canvases.device)
        return layout_correlation(profile_of(canvases), profiles)[:, None]

    @override
    def formula(
        self, totals: Float64[Tensor, "sets columns"], count: int
    ) -> dict[str, Float64[Tensor, " sets"]]:
        return {"layout_correlation": totals[:, 0] / count}


def sky_at_top(images: UInt8[Tensor, "n 3 height width"]) -> Float64[Tensor, " n"]:
    """Returns the mean of `B - (R + G) / 2` over the top quarter less that over the bottom one.

    Of a height that is no multiple of 4, the row at the edge of a quarter counts in part.
    """
    height, width = images.shape[-2:]
    red, green, blue = images.sum(3, dtype=torch.int64).unbind(1)
    quarters = area_sums(2 * blue - red - green, 4)
    return (quarters[:, 0] - quarters[:, -1]).double() / (2 * WHITE * height * width)


def profile_of(images: UInt8[Tensor, "n 3 height width"]) -> Float64[Tensor, "n 3 rows"]:
    """Returns how far the mean colour of 16 equal bands, from the top, is from the image's own."""
    height, width = images.shape[-2:]
    bands = area_sums(images.sum(3, dtype=torch.int64), ROWS)
    apart = ROWS * bands - bands.sum(2, keepdim=True)
    return apart.double() / (ROWS * WHITE * height * width)


def layout_correlation(
    a: Float64[Tensor, "n channels rows"], b: Float64[Tensor, "n channels rows"]
) -> Float64[Tensor, " n"]:
    """Returns the correlation of profiles over bands and channels, pair by pair.

    Every channel has lost its own mean, so that the palette plays no part. 0 where a profile is
    constant: what has no order keeps none.
    """
    return F.cosine_similarity(a.flatten(1), b.flatten(1))


def area_sums(values: Int64[Tensor, "... steps"], cells: int) -> Int64[Tensor, "... {cells}"]:
    """Returns `steps` times the mean over each of `cells` equal parts of the axis: integers.

    The values are a step function with steps of equal width; one that lies in two cells counts in
    each by its share.

    >>> area_sums(torch.tensor([0, 6, 9]), 2)  # the means are (0 + 6 / 2) / 1.5 and 8
    tensor([ 6, 24])
    """
    steps = values.shape[-1]
    edges = torch.arange(cells + 1, device=values.device) * steps
    whole, part = edges // cells, edges % cells
    totals = F.pad(values.cumsum(-1), (1, 0))
    # At the last edge no part of a step is left.
    begun = values[..., whole.clamp(max=steps - 1)]
    return (cells * totals[..., whole] + part * begun).diff()


def of_samples(
    rows: Float64[Tensor, "seeds ..."], indices: Int64[Tensor, " n"]
) -> Float64[Tensor, "n ..."]:
    """Returns what belongs to the seed image of every sample.

    Raises:
        ValueError: If a sample has none.
    """
    indices = indices.to(rows.device)
    without = indices[(indices < 0) | (indices >= len(rows))]
    if len(without):
        raise ValueError(
            f"seed image k is that of sample k: with {len(rows)} of them sample indices must be "
            f"from 0 to {len(rows) - 1}, got {without[0].item()}."
        )
    return rows[indices]
