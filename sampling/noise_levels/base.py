"""What a sampler of training levels is.

All samplers draw corruptions: numbers u in [0, 1] that say which share of the levels that an
ordinary diffusion model trains on is lower. With the log-normal levels of [EDM] Table 1,

    sigma(u) = exp(p_mean + p_std Phi^-1(u)),

so that u is uniform in ordinary training, and samplers differ in nothing but how the u of the
regions of a sample belong together. A region at u = 0 exactly is clean.

References:
    [EDM] Karras, Aittala, Aila, Laine, 2022. arXiv:2206.00364
"""

import abc
import dataclasses
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor
from typing_extensions import override

from denoisers.contract import Sigma

__all__ = ["Levels", "NoiseLevels", "RegionLevels", "Regions", "numpy_generator"]

Regions = Float[Tensor, "batch 1 rows columns"]


@dataclasses.dataclass(frozen=True)
class Levels:
    """Levels of a batch, and what their squared errors count for.

    Args:
        sigma: One level a sample, or one a pixel.
        weight: Factor of the loss, of mean 1 over what the sampler draws.
    """

    sigma: Sigma
    weight: Sigma


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseLevels(abc.ABC):
    """Draws the levels of a batch.

    Args:
        p_mean: Mean of ln(sigma) in ordinary training.
        p_std: Standard deviation of ln(sigma) in ordinary training.
        sigma_min: Levels that are not 0 are at least this.
        sigma_max: Levels are at most this, as high as sampling begins.
    """

    p_mean: float = -1.2
    p_std: float = 1.2
    sigma_min: float = 0.002
    sigma_max: float = 80.0

    makes_maps: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.p_std <= 0 or not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                "need p_std > 0 and 0 < sigma_min < sigma_max, got "
                f"{self.p_std}, {self.sigma_min} and {self.sigma_max}."
            )

    @abc.abstractmethod
    def draw(self, batch: int, height: int, width: int, *, generator: Generator) -> Levels:
        """Returns levels for `batch` samples of height x width px.

        Raises:
            ValueError: If a sample of that size cannot be cut into the regions asked for.
        """

    @abc.abstractmethod
    def validate_fit(self, height: int, width: int) -> None:
        """Checks that samples of height x width px can be drawn for.

        Raises:
            ValueError: If they cannot.
        """

    def sigma_of(
        self, corruption: Float[Tensor, "batch 1 height width"]
    ) -> Float[Tensor, "batch 1 height width"]:
        """Returns the level of each corruption; 0 where that is 0."""
        z = torch.special.ndtri(corruption.double())
        sigma = (self.p_mean + self.p_std * z).exp().clamp(self.sigma_min, self.sigma_max)
        return torch.where(corruption == 0, 0.0, sigma).float()

    def corruption_of(self, sigma: Sigma) -> Sigma:
        """Returns which share of the levels of ordinary training is below each level."""
        return torch.special.ndtr((sigma.double().log() - self.p_mean) / self.p_std).to(sigma)

    def shared(self, batch: int, generator: Generator) -> Levels:
        """Returns one level a sample, as in ordinary training."""
        sigma = self.sigma_of(uniform((batch, 1, 1, 1), generator))
        return Levels(sigma, torch.ones(1, 1, 1, 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionLevels(NoiseLevels):
    """Cuts every sample of a batch into equal rectangles, and gives each a level.

    The rectangles' sides are drawn for each batch, among those that divide the sample's.

    The settings that it shares with others are those of `NoiseLevels`.

    Args:
        region_multiple: Sides of regions are multiples of this, in pixels. Below the network's
            `patchify` its `level_channel` is needed, to tell pixels apart.
    """

    region_multiple: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.region_multiple < 1:
            raise ValueError(f"region_multiple must be at least 1, got {self.region_multiple}.")

    @abc.abstractmethod
    def corruptions(self, batch: int, rows: int, columns: int, generator: Generator) -> Regions:
        """Returns the corruption of each of rows x columns regions."""

    def weights(self, corruption: Regions) -> Regions | Float[Tensor, "1 1 1 1"]:
        """Returns what the error of each region counts for, of mean 1."""
        return torch.ones(1, 1, 1, 1)

    @override
    def draw(self, batch: int, height: int, width: int, *, generator: Generator) -> Levels:
        sides = self.region_sides(height, width, generator)
        corruption = self.corruptions(batch, height // sides[0], width // sides[1], generator)
        weight = self.weights(corruption)
        if weight.numel() > 1:
            weight = enlarged(weight, sides)
        return Levels(enlarged(self.sigma_of(corruption), sides), weight)

    @override
    def validate_fit(self, height: int, width: int) -> None:
        self._choices(height, width)

    def region_sides(self, height: int, width: int, generator: Generator) -> tuple[int, int]:
        """Returns the sides of one region; never the whole sample's, which is no map."""
        choices = self._choices(height, width)
        return choices[torch.randint(len(choices), (), generator=generator)]

    def _choices(self, height: int, width: int) -> list[tuple[int, int]]:
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
        return choices


def uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Returns numbers uniform in (0, 1): 0 would be clean, and 1 of no finite level."""
    return torch.rand(shape, generator=generator, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)


def enlarged(regions: Regions, sides: tuple[int, int]) -> Float[Tensor, "batch 1 height width"]:
    """Returns the map of the pixels of regions of that size."""
    return regions.repeat_interleave(sides[0], 2).repeat_interleave(sides[1], 3)


def numpy_generator(generator: Generator) -> np.random.Generator:
    """Returns a generator that follows from the next number of `generator`.

    NumPy draws from distributions, as the Beta, for which torch takes no generator.
    """
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))


def _divisors(length: int, multiple: int) -> list[int]:
    """Multiples of `multiple` that divide `length`.

    >>> _divisors(32, 8)
    [8, 16, 32]
    """
    return [side for side in range(multiple, length + 1, multiple) if length % side == 0]
