"""One level a sample: the ordinary diffusion model."""

import dataclasses
from typing import ClassVar

from torch import Generator
from typing_extensions import override

from sampling.noise_levels.base import Levels, NoiseLevels

__all__ = ["Shared"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shared(NoiseLevels):
    """One level a sample: ordinary diffusion. Its denoiser takes no maps.

    Args:
        p_mean: Mean of ln(sigma) in ordinary training.
        p_std: Standard deviation of ln(sigma) in ordinary training.
        sigma_min: Levels that are not 0 are at least this.
        sigma_max: Levels are at most this, as high as sampling begins.
    """

    makes_maps: ClassVar[bool] = False

    @override
    def draw(self, batch: int, height: int, width: int, *, generator: Generator) -> Levels:
        return self.shared(batch, generator)

    @override
    def refuse_misfits(self, height: int, width: int) -> None:
        """Any size will do."""
