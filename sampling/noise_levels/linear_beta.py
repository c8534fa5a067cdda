"""The levels of an ordinary DDPM: a thousand steps whose betas grow in a straight line.

References:
    [DDPM] Ho, Jain, Abbeel: Denoising Diffusion Probabilistic Models, 2020, Sec. 4.
    arXiv:2006.11239
"""

import dataclasses

import torch
from jaxtyping import Float, Float64
from torch import Generator, Tensor
from typing_extensions import override

from denoisers.contract import Sigma
from sampling.noise_levels.base import Levels, NoiseLevels

__all__ = ["LinearBeta"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearBeta(NoiseLevels):
    """One level a sample, evenly among the steps of a linear-beta schedule ([DDPM] Sec. 4).

    A step t of a variance-preserving chain has the signal share alpha_bar_t; as
    variance-exploding noise that is sigma_t = sqrt((1 - alpha_bar_t) / alpha_bar_t). The chance of
    a level is the paper's; its loss is weighted as [EDM] does it.

    Args:
        p_mean: Not used: the levels are those of the schedule.
        p_std: Not used.
        sigma_min: Levels that are not 0 are at least this.
        sigma_max: Levels are at most this, as high as sampling begins.
        steps: Steps of the schedule.
        beta_first: Variance added at the first step, in (0, 1).
        beta_last: Variance added at the last step, in (0, 1).
        makes_maps: Whether the network also learns known regions at level 0, as the quadrants of
            `lightning_modules.context` are; if not, its denoiser takes no maps.
    """

    steps: int = 1000
    beta_first: float = 1e-4
    beta_last: float = 0.02
    makes_maps: bool = False  # type: ignore[misc]  # of the other kinds no setting

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 2 or not 0 < self.beta_first <= self.beta_last < 1:
            raise ValueError(
                "need at least 2 steps and 0 < beta_first <= beta_last < 1, got "
                f"{self.steps}, {self.beta_first} and {self.beta_last}."
            )

    @property
    def sigmas(self) -> Float64[Tensor, " steps"]:
        """The levels of the schedule, from low to high."""
        betas = torch.linspace(self.beta_first, self.beta_last, self.steps, dtype=torch.float64)
        alpha_bar = (1 - betas).cumprod(0)
        return ((1 - alpha_bar) / alpha_bar).sqrt()

    @override
    def sigma_of(
        self, corruption: Float[Tensor, "batch 1 height width"]
    ) -> Float[Tensor, "batch 1 height width"]:
        # A corruption that is a whole number of steps stays one whatever its rounding.
        place = (corruption.double() * self.steps - 1e-3).ceil().long().clamp(1, self.steps) - 1
        sigma = self.sigmas[place].clamp(self.sigma_min, self.sigma_max)
        return torch.where(corruption == 0, 0.0, sigma).float()

    @override
    def corruption_of(self, sigma: Sigma) -> Sigma:
        below = torch.searchsorted(self.sigmas, sigma.double().contiguous(), right=True)
        return (below / self.steps).to(sigma)

    @override
    def draw(self, batch: int, height: int, width: int, *, generator: Generator) -> Levels:
        return self.shared(batch, generator)

    @override
    def validate_fit(self, height: int, width: int) -> None:
        """Any size will do."""
