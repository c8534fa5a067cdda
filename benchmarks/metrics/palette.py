"""How far the colours of a canvas are from those of the image that it was seeded with.

The sliced 2-Wasserstein distance ([SLICED]) between two sets of colours in [-1, 1]^3,

    palette_distance^2 = mean over directions of integral_0^1 (F^-1(u) - G^-1(u))^2 du,

with F and G the distributions of the colours' components along a direction. Where which colour is
plays no part, nor does the number of pixels.

The directions are those of the 61 integer vectors, up to their sign, whose squared length is at
most 10. As a set they are unchanged where channels are exchanged or reversed, so that their second
moments are those of the sphere: the distance of a palette to itself shifted by `v` is
`|v| / sqrt(3)`, the unit of `colour_drift`. Quantile functions are means over 64 equal cells of
probability, which keeps mean colours and can only bring palettes nearer.

References:
    [SLICED] Rabin, Peyre, Delon and Bernot, Wasserstein Barycenter and its Application to Texture
    Mixing, 2011. Scale Space and Variational Methods in Computer Vision.
"""

import itertools
import math

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor
from typing_extensions import override

from benchmarks.metrics.layout import area_sums, of_samples
from benchmarks.metrics.state import Canvases, SumMetric, chunks

__all__ = ["DIRECTIONS", "PaletteDistance", "palette_distance", "palette_of"]

# One of v and -v: they have the same distances. Multiples of a shorter vector are left out.
DIRECTIONS = tuple(
    vector
    for vector in itertools.product(range(-3, 4), repeat=3)
    if vector > (0, 0, 0) and sum(c * c for c in vector) <= 10 and math.gcd(*vector) == 1
)
QUANTILES = 64  # distances of landscapes are then within 1 % of those of all quantiles


class PaletteDistance(SumMetric):
    """`palette_distance`: how far colours are from the seed image's, black and white being 2 apart.

    The root mean square of `palette_distance` over canvases, each with the image that it was
    seeded with, as `colour_drift` is one; 0 where every canvas has the very colours of its image.

    Args:
        palettes: `palette_of` the seed images, 31 KB each; row k is that of sample k.
        seed: Seeds the resampling.
        limit: Only canvases whose sample index is below it are looked at; None for all.

    Raises:
        ValueError: If palettes are of another shape, or, later, a sample has none.
    """

    def __init__(
        self,
        *,
        palettes: Float64[Tensor, "seeds directions quantiles"],
        seed: int = 0,
        limit: int | None = None,
    ) -> None:
        super().__init__(columns=1, seed=seed, limit=limit)
        if palettes.shape[1:] != (len(DIRECTIONS), QUANTILES):
            raise ValueError(
                f"palettes must be those of `palette_of`, {len(DIRECTIONS)} x {QUANTILES} each, "
                f"got {palettes.shape[1]} x {palettes.shape[2]}."
            )
        self.palettes = palettes

    @override
    def statistics(
        self, canvases: Canvases, indices: Int64[Tensor, " n"]
    ) -> Float64[Tensor, "n 1"]:
        palettes = of_samples(self.palettes, indices).to(canvases.device)
        return palette_distance(palette_of(canvases), palettes).square()[:, None]

    @override
    def formula(
        self, totals: Float64[Tensor, "sets columns"], count: int
    ) -> dict[str, Float64[Tensor, " sets"]]:
        return {"palette_distance": (totals[:, 0] / count).sqrt()}


def palette_of(
    images: UInt8[Tensor, "n 3 height width"],
) -> Float64[Tensor, "n directions quantiles"]:
    """Returns the quantile functions of every image's colours along all directions."""
    values = len(DIRECTIONS) * images[:1, 0].numel()
    parts = [_quantiles(images[part].cpu()) for part in chunks(len(images), values)]
    nothing = torch.empty(0, len(DIRECTIONS), QUANTILES, dtype=torch.float64)
    return torch.cat([nothing, *parts]).to(images.device)


def palette_distance(
    a: Float64[Tensor, "n directions quantiles"], b: Float64[Tensor, "n directions quantiles"]
) -> Float64[Tensor, " n"]:
    """Returns the distance of two palettes, pair by pair."""
    return (a - b).square().mean((1, 2)).sqrt()


def _quantiles(
    images: UInt8[Tensor, "n 3 height width"],
) -> Float64[Tensor, "n directions quantiles"]:
    vectors = torch.tensor(DIRECTIONS)
    along = _sorted_components(images.flatten(2), vectors)
    levels = area_sums(along, QUANTILES).double() / along.shape[-1]
    lengths = vectors.square().sum(1).double().sqrt()
    # A level is 127.5 (x + 1), and so its component holds that of the vector (1, 1, 1).
    return (levels / 127.5 - vectors.sum(1)[:, None]) / lengths[:, None]


def _sorted_components(
    colours: UInt8[Tensor, "n 3 pixels"], vectors: Int64[Tensor, "directions 3"]
) -> Int64[Tensor, "n directions pixels"]:
    """Integers between -1,275 and 1,275, in levels, whose sums are exact in any order."""
    red, green, blue = colours.to(torch.int16)[:, None].unbind(2)
    r, g, b = vectors.to(torch.int16)[..., None].unbind(1)
    components = r * red + g * green + b * blue
    # NumPy sorts 16-bit integers by radix, twenty times as fast as torch.
    return torch.from_numpy(np.sort(components.numpy(), kind="stable")).long()
