"""Regions whose mean corruption is uniform, exactly.

References:
    [SRM] Wewer, Pogodzinski, Schiele, Lenssen: Spatial Reasoning with Denoising Models, ICML 2025.
    arXiv:2502.21075, Appendix C.1 (uniform t-bar sampling).
"""

import dataclasses
import functools

import numpy as np
import torch
from jaxtyping import Float64
from torch import Generator
from typing_extensions import override

from sampling.noise_levels.base import RegionLevels, Regions, numpy_generator

__all__ = ["MeanBeta", "shares_of_sum"]

BINS = 64  # of the density of one region's corruption


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanBeta(RegionLevels):
    """The mean of a sample's regions is uniform in [0, 1]; it is split among them at random.

    One region's corruption is then not uniform: its errors are weighted by the inverse of its
    density, so that every level counts as much as in ordinary training ([SRM] Sec. 3).

    The settings that it shares with others are those of `RegionLevels`.

    Args:
        sharpness: Factor of the parameters of the Beta distributions; higher draws regions
            together.
    """

    sharpness: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sharpness <= 0:
            raise ValueError(f"sharpness must be positive, got {self.sharpness}.")

    @override
    def corruptions(self, batch: int, rows: int, columns: int, generator: Generator) -> Regions:
        rng = numpy_generator(generator)
        shares = shares_of_sum(rng.random(batch), rows * columns, self.sharpness, rng)
        # A true 0 would be clean, and 1 is of no finite level.
        return torch.from_numpy(shares).clamp(1e-12, 1 - 1e-12).view(batch, 1, rows, columns)

    @override
    def weights(self, corruption: Regions) -> Regions:
        density = _density(corruption[0].numel(), self.sharpness)
        bins = (corruption * BINS).long().clamp(max=BINS - 1)
        return (1 / torch.from_numpy(density)[bins]).float()


def shares_of_sum(
    mean: Float64[np.ndarray, " batch"], regions: int, sharpness: float, rng: np.random.Generator
) -> Float64[np.ndarray, "batch regions"]:
    """Returns numbers in [0, 1] of that mean, exactly but for rounding, in random order.

    A sum s over d regions is split between halves of d1 and d2: the first has
    lo + (hi - lo) Beta(a, a) with hi = min(s, d1), lo = max(0, s - min(s, d2)) and
    a = (d - 1 - (d mod 2))^1.05 sharpness; and so on down to single regions ([SRM] Alg. 1).
    """
    sums, sizes = mean[:, None] * regions, np.array([regions])
    while sizes.max() > 1:
        first, second = sizes // 2, sizes - sizes // 2
        highest = np.minimum(sums, first)
        lowest = np.maximum(0.0, sums - np.minimum(sums, second))
        # A single region beside one that is split is its own second half, and its first is empty.
        spread = np.maximum(sizes - 1 - sizes % 2, 1) ** 1.05 * sharpness
        left = lowest + (highest - lowest) * rng.beta(spread, spread, sums.shape)
        sums = np.stack([left, sums - left], axis=2).reshape(len(sums), -1)
        sizes = np.stack([first, second], axis=1).reshape(-1)
        sums, sizes = sums[:, sizes > 0], sizes[sizes > 0]
    return rng.permuted(sums.clip(0.0, 1.0), axis=1)


@functools.cache
def _density(regions: int, sharpness: float) -> Float64[np.ndarray, " bins"]:
    """Density of one region's corruption, by a histogram over evenly spread means."""
    count = max(2048, 2**18 // regions)
    mean = (np.arange(count) + 0.5) / count
    shares = shares_of_sum(mean, regions, sharpness, np.random.default_rng(0))
    return np.histogram(shares, bins=BINS, range=(0, 1), density=True)[0]
