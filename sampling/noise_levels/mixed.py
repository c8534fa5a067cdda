"""A share of batches with maps, half of them with clean regions: what the first weights saw."""

import dataclasses

import torch
from torch import Generator
from typing_extensions import override

from sampling.noise_levels.base import Levels, RegionLevels, Regions, uniform

__all__ = ["Mixed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixed(RegionLevels):
    """One level a sample, but for a share of the batches one for each region.

    In half of the maps each region has a level of its own; in the other half each is clean with
    probability 1/2 and the rest of the sample shares one level, as when a given region is
    continued.

    The settings that it shares with others are those of `RegionLevels`.

    Args:
        map_share: Share of the batches with a level for each region, in (0, 1].
    """

    map_share: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.map_share <= 1:
            raise ValueError(f"map_share must be in (0, 1], got {self.map_share}.")

    @override
    def draw(self, batch: int, height: int, width: int, *, generator: Generator) -> Levels:
        if torch.rand((), generator=generator) >= self.map_share:
            return self.shared(batch, generator)
        return super().draw(batch, height, width, generator=generator)

    @override
    def corruptions(self, batch: int, rows: int, columns: int, generator: Generator) -> Regions:
        regions = (batch, 1, rows, columns)
        if torch.rand((), generator=generator) >= 0.5:
            return uniform(regions, generator)
        clean = torch.rand(regions, generator=generator) < 0.5
        return torch.where(clean, 0.0, uniform((batch, 1, 1, 1), generator))
