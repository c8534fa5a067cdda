"""One draw a region: what AsyncPatch finds wanting, since equal levels hardly ever meet."""

import dataclasses

from torch import Generator
from typing_extensions import override

from sampling.noise_levels.base import RegionLevels, Regions, uniform

__all__ = ["Independent"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Independent(RegionLevels):
    """Every region has a level of its own.

    The mean of d regions deviates by (12 d)^-1/2 from 1/2: a sample that is all noise, where
    sampling begins, or all but clean, where it ends, is hardly ever seen.

    Args:
        p_mean: Mean of ln(sigma) in ordinary training.
        p_std: Standard deviation of ln(sigma) in ordinary training.
        sigma_min: Levels that are not 0 are at least this.
        sigma_max: Levels are at most this, as high as sampling begins.
        region_multiple: Sides of regions are multiples of this, in pixels. Below the network's
            `patchify` its `level_channel` is needed, to tell pixels apart.
    """

    @override
    def corruptions(self, batch: int, rows: int, columns: int, generator: Generator) -> Regions:
        return uniform((batch, 1, rows, columns), generator)
