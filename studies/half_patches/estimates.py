"""How far estimates of half-patches are from the best ones, level by level."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float64
from torch import Generator, Tensor

from benchmarks.metrics.estimates import Estimate
from datamodules.patches import PatchData
from denoisers.contract import Denoiser, Image, PatchDenoiser
from denoisers.full_size import FullSize
from denoisers.gaussian import GaussianDenoiser, GaussianField
from sampling.noise import seed_of
from strategies.batching import limited

__all__ = [
    "Asked",
    "Excess",
    "Halves",
    "Way",
    "asked",
    "excess_over_best",
    "excess_over_exact",
    "ways_of",
]

Way = Literal["own_size", "mirrored", "pure_noise", "grey"]
Asked = tuple[str, Way]  # the name of a denoiser, and how it is asked
Excess = list[Estimate]  # one a level
Errors = Float64[Tensor, " crops"]

BATCH = 128  # crops in a call


@dataclasses.dataclass(frozen=True)
class Halves:
    """Clean half-patches, and the noise that is put on them at every level.

    Args:
        x0: The half-patches.
        seed: Seeds the noise.
    """

    x0: Image
    seed: int

    @classmethod
    def of_data(cls, data: PatchData, patch_size: int, count: int, seed: int) -> "Halves":
        """Returns as many that training never saw, half as wide as a patch."""
        crops = data.crops("test", count, patch_size, patch_size // 2)
        return cls(crops.float() / 127.5 - 1, seed)

    @classmethod
    def of_field(cls, field: GaussianField, patch_size: int, count: int, seed: int) -> "Halves":
        """Returns as many samples of a field."""
        generator = Generator().manual_seed(seed_of(seed, "halves"))
        shape = (count, field.channels, patch_size, patch_size // 2)
        return cls(field.sample(torch.randn(shape, generator=generator)), seed)

    def estimates(self, denoiser: Denoiser, level: float) -> Image:
        """Returns what a denoiser makes of them at a noise level, under the same noise for all."""
        generator = Generator().manual_seed(seed_of(self.seed, "noise", f"{level:g}"))
        x_t = self.x0 + level * torch.randn(self.x0.shape, generator=generator)
        return limited(denoiser, BATCH)(x_t, self.sigma(level))

    def sigma(self, level: float) -> Tensor:
        """Returns a level as denoisers take it."""
        return self.x0.new_full((1, 1, 1, 1), level)


def ways_of(denoiser: PatchDenoiser) -> list[Way]:
    """Returns the ways in which a denoiser can be asked about half a patch."""
    return [way for way in get_args(Way) if way != "pure_noise" or denoiser.takes_noise_maps]


def asked(denoiser: PatchDenoiser, way: Way) -> PatchDenoiser:
    """Returns the denoiser as it is asked in one of the ways."""
    return denoiser if way == "own_size" else FullSize(denoiser, way)


@torch.no_grad()
def excess_over_best(
    denoisers: Mapping[Asked, Denoiser], best: Denoiser, halves: Halves, levels: Sequence[float]
) -> dict[Asked, Excess]:
    """Returns by how much the squared error to x0 is above that of the best denoiser, as a share.

    What is right is the posterior mean, whose error is the least. No network is exact, so what is
    nearer to it than the best one has a negative excess.
    """
    least = [_to_clean(best, halves, level) for level in levels]
    return {
        name: [
            _ratio(_to_clean(denoiser, halves, level), errors)
            for level, errors in zip(levels, least, strict=True)
        ]
        for name, denoiser in denoisers.items()
    }


@torch.no_grad()
def excess_over_exact(
    denoisers: Mapping[Asked, Denoiser],
    exact: GaussianDenoiser,
    halves: Halves,
    levels: Sequence[float],
) -> dict[Asked, Excess]:
    """Returns the squared distance from the exact estimate, as a share of the least error to x0.

    That is what the error to x0 is above the least, with none of the noise that x0 brings: the
    error of the posterior mean is uncorrelated with whatever is made of x_t.
    """
    right = [halves.estimates(exact, level) for level in levels]
    least = [exact.variance(halves.x0[:1], halves.sigma(level)).mean() for level in levels]
    return {
        name: [
            _interval(_squared(halves.estimates(denoiser, level) - exactly) / variance)
            for level, exactly, variance in zip(levels, right, least, strict=True)
        ]
        for name, denoiser in denoisers.items()
    }


def _to_clean(denoiser: Denoiser, halves: Halves, level: float) -> Errors:
    return _squared(halves.estimates(denoiser, level) - halves.x0)


def _squared(error: Image) -> Errors:
    return error.double().square().mean((1, 2, 3))


def _ratio(errors: Errors, least: Errors) -> Estimate:
    """Returns the ratio of two means, less 1; crops are paired, so what they share drops out."""
    ratio = errors.mean() / least.mean()
    return _interval((errors - ratio * least) / least.mean() + ratio - 1)


def _interval(values: Errors) -> Estimate:
    """Returns the mean with its 95 % interval over crops."""
    mean = values.mean().item()
    reach = 1.96 * values.std().item() / math.sqrt(len(values))
    return Estimate(mean, mean - reach, mean + reach)
