"""What a strategy makes of a Gaussian field: the mean and covariance of its canvases.

Most strategies are affine in the noise they draw, wherever they draw it. Their canvases are then
Gaussian, and the covariance is exact: draw unit vectors in place of noise, one canvas for each
number that is drawn, and add up the squares of what comes out. Whether a strategy is affine is
found out by trying, and it knows nothing of it.
"""

import dataclasses
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor
from typing_extensions import override

from denoisers.contract import Image
from sampling.noise import CanvasNoise, seed_of

__all__ = ["Make", "Outcome", "is_affine", "outcome"]

Make = Callable[[CanvasNoise], Image]

TRIALS = 4  # canvases on which a strategy is tried


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a strategy's canvases are.

    Args:
        mean: Their mean, pixel by pixel, row by row.
        covariance: Their covariance.
        exact: Whether these are exact, not estimated from samples.
        canvases: Number of unit vectors, or of samples.
    """

    mean: Float64[Tensor, " pixels"]
    covariance: Float64[Tensor, "pixels pixels"]
    exact: bool
    canvases: int


def outcome(
    make: Make,
    *,
    samples: int,
    batch_size: int,
    seed: int,
    advance: Callable[[float], None] = lambda share: None,
) -> Outcome:
    """Returns the moments of what `make` makes: exact if that takes at most `samples` canvases.

    Args:
        make: Makes canvases out of noise, one for each of its samples.
        samples: Canvases to estimate from otherwise.
        batch_size: Canvases made at a time.
        seed: Seeds the samples.
        advance: Told the share of the work that has been done.
    """
    recorder = Recorder()
    centre = make(recorder)
    total = recorder.total
    exact = total <= samples and is_affine(make, seed=seed)
    count = total if exact else samples
    mean = torch.zeros_like(centre.flatten())
    square = mean.new_zeros(len(mean), len(mean))
    for first in range(0, count, batch_size):
        size = min(batch_size, count - first)
        noise = Units(recorder.offsets, first, size) if exact else BulkNoise(seed, first, size)
        values = (make(noise) - centre).flatten(1)
        mean += values.sum(0)
        square += values.mT @ values
        advance(size / count)
    if exact:
        return Outcome(centre.flatten(), square, True, count)
    mean /= count
    return Outcome(centre.flatten() + mean, square / count - mean.outer(mean), False, count)


def is_affine(make: Make, *, seed: int) -> bool:
    """Tells whether noise added is canvas added, on a few canvases."""
    one, two = (BulkNoise(seed_of(seed, "affine", k), 0, TRIALS) for k in (1, 2))
    nothing = make(Recorder(TRIALS))
    parts = make(one) + make(two) - nothing
    whole = make(Sum(one, two))
    # Float64, through some hundred evaluations at levels up to 80, leaves about 1e-11.
    return bool((whole - parts).abs().max() < 1e-7 * whole.abs().max())


class BulkNoise(CanvasNoise):
    """Noise for tens of thousands of small canvases: one generator a draw, not one a canvas.

    So a canvas is a function of (seed, first, size, purpose, step) and of its place in the batch.
    """

    def __init__(self, seed: int, first: int, size: int) -> None:
        super().__init__(seed, range(first, first + size), dtype=torch.float64)

    @override
    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        seed = seed_of(self.seed, self.indices[0], len(self), purpose, step)
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(len(self), *shape, generator=generator, dtype=self.dtype)


class Recorder(CanvasNoise):
    """No noise at all, and a list of what would have been drawn.

    Attributes:
        offsets: Where the numbers of each draw begin in one long list of all.
        total: The length of that list.
    """

    def __init__(self, size: int = 1) -> None:
        super().__init__(0, range(size), dtype=torch.float64)
        self.offsets: dict[tuple[str, int], int] = {}
        self.total = 0

    @override
    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        if (purpose, step) not in self.offsets:
            self.offsets[purpose, step] = self.total
            self.total += torch.Size(shape).numel()
        return torch.zeros(len(self), *shape, dtype=self.dtype)


class Units(CanvasNoise):
    """Unit vectors: sample k draws a 1 in place of number `first` + k of all, and else zeros.

    Args:
        offsets: Where the numbers of each draw begin, as recorded.
        first: Number that is 1 in the first sample.
        size: Samples.
    """

    def __init__(self, offsets: dict[tuple[str, int], int], first: int, size: int) -> None:
        super().__init__(0, range(first, first + size), dtype=torch.float64)
        self.offsets = offsets

    @override
    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        drawn = torch.zeros(len(self), torch.Size(shape).numel(), dtype=self.dtype)
        # Sample k has its 1 in column first + k - offset of this draw, if it lies here.
        begin = self.indices[0] - self.offsets[purpose, step]
        drawn.diagonal(begin).fill_(1.0) if -len(drawn) < begin < drawn.shape[1] else None
        return drawn.view(len(self), *shape)


class Sum(CanvasNoise):
    """Two noises added, of which a Gaussian makes no unit noise: for tests of additivity."""

    def __init__(self, *parts: CanvasNoise) -> None:
        super().__init__(0, parts[0].indices, dtype=torch.float64)
        self.parts: Sequence[CanvasNoise] = parts

    @override
    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        return torch.stack([part.draw(purpose, step, shape) for part in self.parts]).sum(0)
