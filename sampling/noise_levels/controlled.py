"""Average corruption and spatial variability as two draws apart.

References:
    [AP] AsyncPatch Diffusion: spatially-flexible image generation, 2026. arXiv:2606.07079. Its
    summary names the two quantities that are controlled; the distributions are ours.
"""

import dataclasses

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Generator
from typing_extensions import override

from sampling.noise_levels.base import Levels, RegionLevels, Regions, numpy_generator

__all__ = ["Controlled"]

PURE_NOISE = 1 - 1e-12  # beyond `sigma_max` at any p_mean and p_std that make sense


@dataclasses.dataclass(frozen=True, kw_only=True)
class Controlled(RegionLevels):
    """Mean m and variability v of a sample's regions are drawn apart ([AP]).

    With m uniform in [0, 1] and v in [0, `max_variability`], a region's corruption is from the Beta
    distribution of mean m and variance v m (1 - m): all regions are alike at v = 0, and either all
    but clean or all but pure noise at v = 1. A share of the batches has v = 0, hence one level a
    sample, whatever the others are.

    Of the maps half are ordered: corruption rises in a random direction, as where a canvas grows.
    A share has clean regions, as many as a uniform share of them, either those that lie first in
    the order or any; in half of these maps all the others have one level, as when a given region
    is continued. A share has, likewise, regions that have yet to begin and wait at `sigma_max`:
    those that lie last in the order or any.

    Why the ends are drawn apart: near them there is little to learn. The loss of the shipped
    denoiser is 0.76 at sigma = 0.002, nearly all of it noise that nothing predicts, and 0.05 to
    0.13 from 0.05 to 1: a v up to 1, which draws such levels often, drowns what the others teach
    (docs/noise_levels.md).

    The settings that it shares with others are those of `RegionLevels`.

    Args:
        homogeneous_share: Share of the batches that have one level a sample, in [0, 1].
        clean_share: Share of the other samples that have clean regions, in [0, 1].
        waiting_share: Share of the other samples that have regions yet to begin, in [0, 1].
        max_variability: Highest v, in [0, 1].
    """

    homogeneous_share: float = 0.5
    clean_share: float = 0.5
    waiting_share: float = 0.25
    max_variability: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("homogeneous_share", "clean_share", "waiting_share", "max_variability"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}.")

    @override
    def draw(self, batch: int, height: int, width: int, *, generator: Generator) -> Levels:
        if torch.rand((), generator=generator) < self.homogeneous_share:
            return self.shared(batch, generator)
        return super().draw(batch, height, width, generator=generator)

    @override
    def corruptions(self, batch: int, rows: int, columns: int, generator: Generator) -> Regions:
        rng, regions = numpy_generator(generator), rows * columns
        has_clean = rng.random(batch) < self.clean_share
        one_level = has_clean & (rng.random(batch) < 0.5)
        variability = self.max_variability * rng.random(batch) * ~one_level
        corruption = beta_regions(rng.random(batch), variability, regions, rng)
        order = directions(batch, rows, columns, rng)
        ordered = rng.random((batch, 1)) < 0.5
        in_order = np.take_along_axis(np.sort(corruption, axis=1), order, axis=1)
        corruption = np.where(ordered, in_order, corruption)
        has_waiting = rng.random(batch) < self.waiting_share
        waiting = has_waiting[:, None] & some_regions(regions - 1 - order, rng)
        corruption = np.where(waiting, PURE_NOISE, corruption)
        clean = has_clean[:, None] & some_regions(order, rng)
        return torch.from_numpy(np.where(clean, 0.0, corruption)).view(batch, 1, rows, columns)


def beta_regions(
    mean: Float64[np.ndarray, " batch"],
    variability: Float64[np.ndarray, " batch"],
    regions: int,
    rng: np.random.Generator,
) -> Float64[np.ndarray, "batch regions"]:
    """Returns draws in (0, 1) of that mean m and of variance v m (1 - m); alike where v is 0.

    The Beta distribution of parameters k m and k (1 - m) has variance m (1 - m) / (k + 1).
    """
    m, v = mean[:, None].clip(1e-6, 1 - 1e-6), variability[:, None]
    k = 1 / v.clip(1e-3, 0.999) - 1
    drawn = rng.beta(k * m, k * (1 - m), (len(mean), regions))
    return np.where(v > 0, drawn, m).clip(1e-12, 1 - 1e-12)


def directions(
    batch: int, rows: int, columns: int, rng: np.random.Generator
) -> Int64[np.ndarray, "batch regions"]:
    """Returns the rank of every region along a random direction of its sample."""
    angle = rng.uniform(0, 2 * np.pi, (batch, 1))
    row, column = np.divmod(np.arange(rows * columns), columns)
    along = np.cos(angle) * (row + 0.5) / rows + np.sin(angle) * (column + 0.5) / columns
    return along.argsort(axis=1).argsort(axis=1)


def some_regions(
    order: Int64[np.ndarray, "batch regions"], rng: np.random.Generator
) -> Bool[np.ndarray, "batch regions"]:
    """Returns which regions are chosen: at least one, never all, the first or any of them."""
    batch, regions = order.shape
    count = 1 + (rng.random((batch, 1)) * (regions - 1)).astype(np.int64)
    shuffled = rng.random((batch, regions)).argsort(axis=1)
    rank = np.where(rng.random((batch, 1)) < 0.5, order, shuffled)
    return rank < count
