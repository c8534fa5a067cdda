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

    Its settings are those of `RegionLevels`.
    """

    @override
    def corruptions(self, batch: int, rows: int, columns: int, generator: Generator) -> Regions:
        return uniform((batch, 1, rows, columns), generator)
