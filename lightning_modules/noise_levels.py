"""Which noise levels the denoiser is trained on."""

import dataclasses

import torch
from torch import Generator

from denoisers.contract import Sigma

__all__ = ["NoiseLevels"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseLevels:
    """Log-normal levels ([EDM] Table 1), for a share of the batches one for each region.

    A region map cuts every sample of a batch into equal rectangles. In half of the maps each
    rectangle has a level of its own; in the other half each is clean with probability 1/2 and the
    rest of the sample shares one level, as when a given region is continued.

    Args:
        p_mean: Mean of ln(sigma).
        p_std: Standard deviation of ln(sigma).
        map_share: Share of the batches with a level for each region, in [0, 1].
        region_multiple: Sides of regions are multiples of this, in pixels: the network's
            `multiple`, so that no coarse feature straddles two levels.

    References:
        [EDM] Karras, Aittala, Aila, Laine, 2022. arXiv:2206.00364
    """

    p_mean: float = -1.2
    p_std: float = 1.2
    map_share: float = 0.25
    region_multiple: int = 8

    def __post_init__(self) -> None:
        if self.p_std <= 0 or not 0 <= self.map_share <= 1 or self.region_multiple < 1:
            raise ValueError(
                "need p_std > 0, map_share in [0, 1] and region_multiple >= 1, got "
                f"{self.p_std}, {self.map_share} and {self.region_multiple}."
            )

    def draw(self, batch: int, height: int, width: int, *, generator: Generator) -> Sigma:
        """Returns (batch, 1, 1, 1), or for a share of the calls (batch, 1, height, width)."""
        if torch.rand((), generator=generator) >= self.map_share:
            return self._levels((batch, 1, 1, 1), generator)
        sides = self._region_sides(height, width, generator)
        grid = (batch, 1, height // sides[0], width // sides[1])
        sigma = self._levels(grid, generator)
        if torch.rand((), generator=generator) < 0.5:
            clean = torch.rand(grid, generator=generator) < 0.5
            sigma = torch.where(clean, 0.0, self._levels((batch, 1, 1, 1), generator))
        return sigma.repeat_interleave(sides[0], 2).repeat_interleave(sides[1], 3)

    def _levels(self, shape: tuple[int, int, int, int], generator: Generator) -> Sigma:
        return (self.p_mean + self.p_std * torch.randn(shape, generator=generator)).exp()

    def _region_sides(self, height: int, width: int, generator: Generator) -> tuple[int, int]:
        """Returns the sides of one region; never the whole sample's, which is no map."""
        choices = [
            (rows, columns)
            for rows in _divisors(height, self.region_multiple)
            for columns in _divisors(width, self.region_multiple)
            if (rows, columns) != (height, width)
        ]
        if not choices:
            raise ValueError(
                f"a sample of {height} x {width} px cannot be cut into regions whose sides are "
                f"multiples of {self.region_multiple} px; lower region_multiple."
            )
        return choices[torch.randint(len(choices), (), generator=generator)]


def _divisors(length: int, multiple: int) -> list[int]:
    """Multiples of `multiple` that divide `length`.

    >>> _divisors(32, 8)
    [8, 16, 32]
    """
    return [side for side in range(multiple, length + 1, multiple) if length % side == 0]
