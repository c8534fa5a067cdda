"""Paths of maps of noise levels: every pixel from `sigma_max` to `sigma_min`, each in its time.

A path says where every pixel of a patch stands at a time t in [0, 1], in log_gamma = ln(1/sigma^2),
the logarithm of the precision: it rises monotonically from -2 ln sigma_max to -2 ln sigma_min. The
ELBO of a denoiser with region-wise noise is an integral along such a path (sampling/elbo.py).

A region has its turn: from `start` to `end` it goes all the way, evenly in log_gamma or bent, and
it rests before and after. `sequential` and `wavefront` are the schedules of
strategies/async_patch.py in continuous time.
"""

import abc
import dataclasses
import math
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Generator, Tensor
from typing_extensions import override

from sampling.noise import seed_of

__all__ = ["Joint", "LevelPath", "Levels", "Random", "Sequential", "Turns", "Wavefront"]

# Of the slope of an even turn; 1 would let a turn begin or end at rest.
STRONGEST_BEND = 0.9


class Levels(NamedTuple):
    """Where a path stands at some times, one level an image where all pixels share it."""

    log_gamma: Float64[Tensor, "times 1 rows columns"]
    slope: Float64[Tensor, "times 1 rows columns"]
    """d log_gamma / dt, at least 0."""

    @property
    def sigma(self) -> Float64[Tensor, "times 1 rows columns"]:
        """Returns the noise levels, gamma^-1/2."""
        return (-self.log_gamma / 2).exp()


class Turns(NamedTuple):
    """When every pixel starts and ends, and how its way is bent.

    At a share u of its time a pixel is u + bend u (1 - u) of the way: quick first where the bend is
    positive.
    """

    start: Float64[Tensor, "1 1 rows columns"]
    end: Float64[Tensor, "1 1 rows columns"]
    bend: Float64[Tensor, "1 1 rows columns"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LevelPath(abc.ABC):
    """A monotone path of maps; a new one says only the turns of its pixels.

    Args:
        sigma_min: Where every pixel ends.
        sigma_max: Where every pixel starts.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(
                f"need 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}."
            )

    @abc.abstractmethod
    def turns(self, height: int, width: int) -> Turns:
        """Returns the turns of the pixels of a patch, (1, 1, 1, 1) if all have the same."""

    def __call__(self, t: Float64[Tensor, " times"], height: int, width: int) -> Levels:
        """Returns the levels at times in [0, 1], and how fast they change."""
        start, end, bend = self.turns(height, width)
        t = t.view(-1, 1, 1, 1)
        u = ((t - start) / (end - start)).clamp(0, 1)
        moving = (start <= t) & (t < end)
        low, high = -2 * math.log(self.sigma_max), -2 * math.log(self.sigma_min)
        share = u + bend * u * (1 - u)
        speed = torch.where(moving, (1 + bend * (1 - 2 * u)) / (end - start), 0.0)
        return Levels(low + (high - low) * share, (high - low) * speed)

    def joins(self, height: int, width: int) -> list[float]:
        """Returns the times, from 0 to 1, between which every pixel's way is a polynomial."""
        turns = self.turns(height, width)
        times = torch.cat([turns.start.flatten(), turns.end.flatten()])
        return sorted({0.0, 1.0, *times.tolist()})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joint(LevelPath):
    """All pixels together: the ordinary diffusion model, one level an image."""

    @override
    def turns(self, height: int, width: int) -> Turns:
        zero = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
        return Turns(zero, zero + 1, zero)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regional(LevelPath):
    """A path whose regions are equal rectangles, those at the far edges perhaps smaller.

    Args:
        sigma_min: Where every pixel ends.
        sigma_max: Where every pixel starts.
        region: Height and width of a region, in pixels; None for what the path says.
    """

    region: tuple[int, int] | None = None

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.region is not None and min(self.region) < 1:
            raise ValueError(f"region must be at least 1 x 1 px, got {self.region}.")

    def region_of(self, height: int, width: int) -> tuple[int, int]:
        """Returns the size of a region: by default, columns of a quarter of the width."""
        return self.region or (height, _quarter(width))

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Returns how many rows and columns of regions a patch has."""
        rows, columns = self.region_of(height, width)
        return -(-height // rows), -(-width // columns)

    def spread(
        self, values: Float64[Tensor, " regions"], height: int, width: int
    ) -> Float64[Tensor, "1 1 height width"]:
        """Gives every pixel the value of its region, regions counted row by row."""
        rows, columns = self.region_of(height, width)
        field = values.view(1, 1, *self.grid(height, width))
        pixels = field.repeat_interleave(rows, 2).repeat_interleave(columns, 3)
        return pixels[..., :height, :width]

    def staggered(self, height: int, width: int, *, lag: float) -> Turns:
        """Equal turns row by row: each starts when the one before is `lag` of the way."""
        count = math.prod(self.grid(height, width))
        duration = 1 / (1 + lag * (count - 1))
        start = lag * duration * torch.arange(count, dtype=torch.float64)
        end = (start + duration).clamp(max=1.0)  # the last one is 1 but for rounding
        turns = (self.spread(values, height, width) for values in (start, end, 0 * start))
        return Turns(*turns)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequential(Regional):
    """One region after another, each given the clean ones before it."""

    @override
    def turns(self, height: int, width: int) -> Turns:
        return self.staggered(height, width, lag=1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wavefront(Regional):
    """A region starts when the one before it is a given share of the way down.

    Args:
        sigma_min: Where every pixel ends.
        sigma_max: Where every pixel starts.
        region: Height and width of a region, in pixels; None for columns of a quarter of the width.
        lag: That share, in (0, 1]; 1 is `Sequential`.
    """

    lag: float = 0.5

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.lag <= 1:
            raise ValueError(f"lag must be in (0, 1], got {self.lag}.")

    @override
    def turns(self, height: int, width: int) -> Turns:
        return self.staggered(height, width, lag=self.lag)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Random(Regional):
    """Every region starts, ends and is bent as it likes: a path for each seed.

    Args:
        sigma_min: Where every pixel ends.
        sigma_max: Where every pixel starts.
        region: Height and width of a region, in pixels; None for a quarter of each side.
        seed: Which path.
        shortest: Shortest turn, as a share of the path, in (0, 1].
    """

    seed: int = 0
    shortest: float = 0.25

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.shortest <= 1:
            raise ValueError(f"shortest must be in (0, 1], got {self.shortest}.")

    @override
    def region_of(self, height: int, width: int) -> tuple[int, int]:
        return self.region or (_quarter(height), _quarter(width))

    @override
    def turns(self, height: int, width: int) -> Turns:
        grid = self.grid(height, width)
        generator = Generator().manual_seed(seed_of(self.seed, "level path", *grid))
        draws = torch.rand(3, math.prod(grid), generator=generator, dtype=torch.float64)
        duration = self.shortest + (1 - self.shortest) * draws[0]
        start = (1 - duration) * draws[1]
        bend = STRONGEST_BEND * (2 * draws[2] - 1)
        turns = (self.spread(values, height, width) for values in (start, start + duration, bend))
        return Turns(*turns)


def _quarter(length: int) -> int:
    """Returns a quarter of `length`, rounded up."""
    return -(-length // 4)
