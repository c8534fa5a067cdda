"""A ceiling on what any region of a sample may reveal.

References:
    [PF] Schusterbauer et al.: Denoising, Fast and Slow: Difficulty-Aware Adaptive Sampling for
    Image Generation (Patch Forcing), CVPR 2026. arXiv:2604.19141
"""

import dataclasses

import torch
from torch import Generator
from typing_extensions import override

from sampling.noise_levels.base import RegionLevels, Regions, uniform

__all__ = ["LogitNormalTruncatedGaussian"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogitNormalTruncatedGaussian(RegionLevels):
    """Regions lie half-normally below a ceiling of their sample, which is logit-normal ([PF]).

    In terms of t = 1 - u, which is 1 for a clean region: with the ceiling
    c = sigmoid(ceiling_mean + ceiling_std n), a region has t = c - min(c / 2, depth) |n'|, or a
    uniform one below c where that falls below 0. No region is cleaner than the ceiling, so that a
    network cannot rely on clean regions that sampling from noise does not have.

    The settings that it shares with others are those of `RegionLevels`.

    Args:
        ceiling_mean: Mean of the logit of the ceiling.
        ceiling_std: Standard deviation of the logit of the ceiling.
        depth: Standard deviation of the normal distribution below the ceiling, at most.
    """

    ceiling_mean: float = 0.7
    ceiling_std: float = 1.0
    depth: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ceiling_std <= 0 or self.depth <= 0:
            raise ValueError(
                f"ceiling_std and depth must be positive, got {self.ceiling_std}, {self.depth}."
            )

    @override
    def corruptions(self, batch: int, rows: int, columns: int, generator: Generator) -> Regions:
        logit = self.ceiling_mean + self.ceiling_std * torch.randn(
            batch, 1, 1, 1, generator=generator, dtype=torch.float64
        )
        ceiling = logit.sigmoid()
        normal = torch.randn(
            batch, 1, rows, columns, generator=generator, dtype=torch.float64
        ).abs()
        t = ceiling - (ceiling / 2).clamp(max=self.depth) * normal
        below = ceiling * uniform((batch, 1, rows, columns), generator)
        return 1 - torch.where(t < 0, below, t).clamp(1e-12, 1 - 1e-12)
