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

    Its settings are those of `NoiseLevels`.
    """

    makes_maps: ClassVar[bool] = False

    @override
    def draw(self, batch: int, height: int, width: int, *, generator: Generator) -> Levels:
        return self.shared(batch, generator)

    @override
    def validate_fit(self, height: int, width: int) -> None:
        """Any size will do."""
