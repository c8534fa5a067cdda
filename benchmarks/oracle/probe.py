"""What a strategy makes of a Gaussian field: the mean and covariance of its canvases.

Most strategies are affine in the noise they draw, wherever they draw it: a canvas is A z + b. The
covariance is then A A^T, which is exact and takes no samples. A comes out of the strategy as it
is, in one of two ways:

- unit vectors in place of noise, a canvas for each number that is drawn: the columns of A;
- the gradient of every pixel with respect to every number that is drawn: the rows of A. RePaint
  draws hundreds of numbers a pixel, so that this is a hundred times as fast.

Whether a strategy is affine is found out by trying, and so is whether its gradient is A. What is
not affine is sampled, in groups that can be left out again, which tells how far the figures of
samples are from those of the strategy (`benchmarks.oracle.figures.jackknife`).
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor
from typing_extensions import override

from denoisers.contract import Image
from sampling.noise import CanvasNoise, seed_of

__all__ = [
    "BulkNoise",
    "Groups",
    "Make",
    "Method",
    "Moments",
    "Outcome",
    "Recorder",
    "Units",
    "outcome",
]

Make = Callable[[CanvasNoise], Image]
Method = Literal["unit vectors", "gradient", "samples"]
# A, one matrix for each draw: what every pixel makes of every number.
Rows = dict[tuple[str, int], Float64[Tensor, "_ 1 _ _ _"]]

TRIALS = 4  # canvases on which a strategy is tried
# Of the canvases' own size. What is affine errs by 4e-15 on most fields, by 5e-7 with DPM-Solver++,
# whose state is float32, and by more where a smooth field is extrapolated far; reconstruction errs
# by 1e-2 and more. What is below it moves a W2^2 of w by less than 2e-4 w^1/2.
TOLERANCE = 1e-4
MANY = 16  # numbers a pixel from which on gradients, dearer than canvases, are cheaper by number
LARGEST = 2 * 10**8  # entries of A, of 8 bytes each
GROUPS = 10  # of samples: a standard error from them is good to a quarter


@dataclasses.dataclass(frozen=True)
class Moments:
    """The mean and the covariance of canvases, pixel by pixel, row by row."""

    mean: Float64[Tensor, " pixels"]
    covariance: Float64[Tensor, "pixels pixels"]


@dataclasses.dataclass(frozen=True)
class Groups:
    """Samples in groups of equal size, give or take one: sums over each, from the centre.

    Args:
        centre: What values are counted from.
        counts: Samples in each group.
        totals: Sums of the values.
        squares: Sums of their outer products.
    """

    centre: Float64[Tensor, " pixels"]
    counts: Float64[Tensor, " groups"]
    totals: Float64[Tensor, "groups pixels"]
    squares: Float64[Tensor, "groups pixels pixels"]

    def __len__(self) -> int:
        return len(self.counts)

    def without(self, group: int | None) -> Moments:
        """Returns the moments of all samples, or of all but those of a group."""
        kept = torch.ones_like(self.counts)
        if group is not None:
            kept[group] = 0
        share = kept / (kept @ self.counts)
        mean = share @ self.totals
        square = torch.tensordot(share, self.squares, 1)
        return Moments(self.centre + mean, square - mean.outer(mean))


@dataclasses.dataclass(frozen=True)
class Outcome(Moments):
    """What a strategy's canvases are.

    Args:
        mean: Their mean, pixel by pixel, row by row.
        covariance: Their covariance.
        method: How these were found; all but `samples` is exact.
        canvases: Unit vectors, or pixels whose gradient was taken, or samples.
        numbers: Numbers that are drawn for one canvas.
        nonlinearity: How far canvases are from affine in these numbers, over their own size.
        groups: The samples, where there are any.
    """

    method: Method
    canvases: int
    numbers: int
    nonlinearity: float
    groups: Groups | None = None

    @property
    def exact(self) -> bool:
        """Whether mean and covariance are exact, not estimated from samples."""
        return self.method != "samples"


def outcome(
    make: Make,
    *,
    samples: int,
    batch_size: int,
    seed: int,
    differentiable: Make | None = None,
    advance: Callable[[float], None] = lambda share: None,
) -> Outcome:
    """Returns the moments of what `make` makes, exact where it is affine.

    Args:
        make: Makes canvases out of noise, one for each of its samples.
        samples: Canvases to estimate from where it is not affine, and most unit vectors.
        batch_size: Canvases made at a time; other sizes give other samples.
        seed: Seeds the samples.
        differentiable: The same as `make` where gradients are wanted; None if there is no such
            thing. It is not taken at its word.
        advance: Told the share of the work that has been done.

    Raises:
        ValueError: If canvases are not finite.
    """
    recorder = Recorder()
    centre = make(recorder)
    numbers, pixels = recorder.total, centre.numel()
    many = numbers > min(samples, MANY * pixels)
    if differentiable and many and numbers * pixels <= LARGEST:
        rows = jacobian(differentiable)
        error = misfit(rows, make, centre, seed=seed)
        if error < TOLERANCE:
            products = (part.flatten(1) @ part.flatten(1).mT for part in rows.values())
            square = sum(products, centre.new_zeros(pixels, pixels))
            advance(1.0)
            return Outcome(centre.flatten(), square, "gradient", pixels, numbers, error)
    error = nonlinearity(make, centre, seed=seed)
    if error < TOLERANCE and numbers <= samples:
        square = torch.zeros(pixels, pixels, dtype=centre.dtype)
        for first, size in _batches(numbers, batch_size):
            columns = (make(Units(recorder.offsets, first, size)) - centre).flatten(1)
            square += columns.mT @ columns
            advance(size / numbers)
        return Outcome(centre.flatten(), square, "unit vectors", numbers, numbers, error)
    groups = sampled(make, centre, samples, batch_size=batch_size, seed=seed, advance=advance)
    whole = groups.without(None)
    if not whole.covariance.isfinite().all():
        raise ValueError("canvases must be finite, got some that are not.")
    return Outcome(whole.mean, whole.covariance, "samples", samples, numbers, error, groups)


def nonlinearity(make: Make, centre: Image, *, seed: int) -> float:
    """Returns how far noise added is from canvas added, over the size of what noise makes.

    Args:
        make: Makes canvases.
        centre: What it makes of no noise.
        seed: Seeds the noise.
    """
    one, two = (BulkNoise(seed_of(seed, "affine", k), 0, TRIALS) for k in (1, 2))
    whole = make(Sum(one, two)) - centre
    return _relative(whole - (make(one) - centre) - (make(two) - centre), whole)


def jacobian(differentiable: Make) -> Rows:
    """Returns the gradients of all pixels with respect to all that is drawn, at no noise.

    Nothing where gradients do not flow, or cannot be taken of all pixels at once.
    """
    noise = Leaves()
    try:
        with torch.enable_grad():
            canvas = differentiable(noise).flatten()
        rows = torch.autograd.grad(
            canvas,
            list(noise.leaves.values()),
            torch.eye(len(canvas), dtype=canvas.dtype),
            is_grads_batched=True,
            allow_unused=True,
        )
    except RuntimeError:
        return {}
    pairs = zip(noise.leaves, rows, strict=True)
    return {draw: part for draw, part in pairs if part is not None}


def misfit(rows: Rows, make: Make, centre: Image, *, seed: int) -> float:
    """Returns how far canvases are from A z + b, over the size of what noise makes.

    Args:
        rows: A.
        make: Makes canvases.
        centre: b, what it makes of no noise.
        seed: Seeds the noise.
    """
    noise = BulkNoise(seed_of(seed, "affine", 1), 0, TRIALS)
    made = (make(noise) - centre).flatten(1)
    expected = torch.zeros_like(made)
    for (purpose, step), part in rows.items():
        channels, height, width = part.shape[2:]
        drawn = noise.draw(purpose, step, (channels, height, width))
        expected += drawn.flatten(1) @ part.flatten(1).mT
    return _relative(made - expected, made)


def sampled(
    make: Make,
    centre: Image,
    samples: int,
    *,
    batch_size: int,
    seed: int,
    advance: Callable[[float], None],
) -> Groups:
    """Returns samples, dealt out to groups in turn."""
    count, pixels = min(GROUPS, samples), centre.numel()
    totals = torch.zeros(count, pixels, dtype=centre.dtype)
    squares = torch.zeros(count, pixels, pixels, dtype=centre.dtype)
    for first, size in _batches(samples, batch_size):
        values = (make(BulkNoise(seed, first, size)) - centre).flatten(1)
        for group in range(count):
            own = values[(group - first) % count :: count]
            totals[group] += own.sum(0)
            squares[group] += own.mT @ own
        advance(size / samples)
    counts = [len(range(group, samples, count)) for group in range(count)]
    return Groups(centre.flatten(), torch.tensor(counts, dtype=centre.dtype), totals, squares)


def _batches(count: int, batch_size: int) -> Iterator[tuple[int, int]]:
    for first in range(0, count, batch_size):
        yield first, min(batch_size, count - first)


def _relative(error: Tensor, whole: Tensor) -> float:
    """Returns the largest error over the largest value; 0 where there is neither."""
    scale = whole.abs().max().clamp(min=torch.finfo(whole.dtype).tiny)
    return (error.abs().max() / scale).item()


class BulkNoise(CanvasNoise):
    """Noise for tens of thousands of small canvases: one generator a draw, not one a canvas.

    So a canvas is a function of (seed, first, size, purpose, step) and of its place in the batch.
    Drawn in float32, which is five times as fast: covariances are not the worse for it.
    """

    def __init__(self, seed: int, first: int, size: int) -> None:
        super().__init__(seed, range(first, first + size), dtype=torch.float64)

    @override
    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        seed = seed_of(self.seed, self.indices[0], len(self), purpose, step)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(len(self), *shape, generator=generator, dtype=torch.float32)
        return drawn.to(self.dtype)


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


class Leaves(CanvasNoise):
    """No noise at all for one sample, and gradients lead back to it.

    Attributes:
        leaves: What was drawn.
    """

    def __init__(self) -> None:
        super().__init__(0, [0], dtype=torch.float64)
        self.leaves: dict[tuple[str, int], Image] = {}

    @override
    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        if (purpose, step) not in self.leaves:
            zeros = torch.zeros(1, *shape, dtype=self.dtype, requires_grad=True)
            self.leaves[purpose, step] = zeros
        # A copy, which may be written to.
        return self.leaves[purpose, step].clone()


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
        if -len(drawn) < begin < drawn.shape[1]:
            drawn.diagonal(begin).fill_(1.0)
        return drawn.view(len(self), *shape)


class Sum(CanvasNoise):
    """Two noises added, of which a Gaussian makes no unit noise: for trials of additivity."""

    def __init__(self, *parts: CanvasNoise) -> None:
        super().__init__(0, parts[0].indices, dtype=torch.float64)
        self.parts: Sequence[CanvasNoise] = parts

    @override
    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        return torch.stack([part.draw(purpose, step, shape) for part in self.parts]).sum(0)
