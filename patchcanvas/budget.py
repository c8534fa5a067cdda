"""What a canvas costs, counted where it costs nothing; and equal cost: how many steps it buys.

Nothing is derived: strategies are run dry, on a denoiser that costs nothing, and counted.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from denoisers.conditions import Taken
from denoisers.contract import Image, PatchDenoiser, Sigma, Variance
from patchcanvas.accounting import NFECounter
from patchcanvas.context.conditioner import NO_CONTEXT, Conditioner
from patchcanvas.model import Model
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas, Known
from strategies.latent import on_latents

__all__ = ["FreeCodec", "FreeDenoiser", "Spent", "dry_run", "free_strategy", "network_calls"]
__all__ += ["spent_on", "steps_within"]

FEWEST = 2  # steps; a noise schedule has no fewer
TRIED = 256  # steps up to which a strategy may refuse to be built: it jumps further, say

Latents = Float[Tensor, "batch latent_channels rows columns"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreeDenoiser:
    """Takes what another denoiser takes and costs next to nothing.

    It is the exact denoiser of independent pixels of unit variance, so canvases stay finite and
    gradients flow.

    Args:
        patch_size: Side of its square patches, in pixels.
        multiple: Heights and widths are multiples of this, in pixels.
        channels: Channels of the images.
        takes_noise_maps: Whether the noise level may differ from pixel to pixel.
        estimates_variance: Whether it says how far off its estimates are.
        takes: What it may be told; all of it is as good as nothing.
    """

    patch_size: int
    multiple: int
    channels: int
    takes_noise_maps: bool
    estimates_variance: bool = False
    takes: frozenset[Taken] = frozenset()

    @classmethod
    def like(cls, denoiser: PatchDenoiser) -> "FreeDenoiser":
        """Returns one that takes what `denoiser` takes."""
        names = ("patch_size", "multiple", "channels", "takes_noise_maps")
        return cls(
            **{name: getattr(denoiser, name) for name in names},
            estimates_variance=getattr(denoiser, "estimates_variance", False),
            takes=getattr(denoiser, "takes", frozenset()),
        )

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        """Returns `x0_hat`."""
        return x_t / (1 + sigma.square())

    def with_variance(
        self, x_t: Image, sigma: Sigma, context: Any = None
    ) -> tuple[Image, Variance]:
        """Returns `x0_hat` and its variance."""
        variance = sigma.square() / (1 + sigma.square())
        return self(x_t, sigma), variance.expand(len(x_t), 1, *x_t.shape[-2:])


@dataclasses.dataclass(frozen=True)
class FreeCodec:
    """Means of cells, and back; it has the sizes of an autoencoder.

    Args:
        scale: Pixels of the image along a side of a pixel of the latents.
        channels: Channels of the images.
        latent_channels: Channels of the latents.
    """

    scale: int
    channels: int
    latent_channels: int

    def encode(self, images: Image) -> Latents:
        """Returns the mean of each cell, in every channel."""
        means = F.avg_pool2d(images, self.scale).mean(1, keepdim=True)
        return means.expand(-1, self.latent_channels, -1, -1)

    def decode(self, latents: Latents) -> Image:
        """Returns cells of one colour."""
        grey = F.interpolate(latents.mean(1, keepdim=True), scale_factor=self.scale)
        return grey.expand(-1, self.channels, -1, -1)


class NoNoise(CanvasNoise):
    """Noise that costs nothing to draw: it is 0."""

    def __init__(self, count: int) -> None:
        super().__init__(0, range(count))

    @override
    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        return torch.zeros(len(self), *shape)


@dataclasses.dataclass(frozen=True)
class Spent:
    """What one canvas asks of the network.

    Args:
        evaluations: Pixels evaluated for each pixel of the canvas.
        gradients: Pixels of its backward passes for each pixel of the canvas.
    """

    evaluations: float
    gradients: float

    @classmethod
    def of(cls, metered: NFECounter, canvas: Canvas, *, canvases: int = 1) -> "Spent":
        """Returns what was counted, for each of so many canvases of the denoiser's pixels."""
        pixels = canvas.height * canvas.width * canvases
        return cls(metered.pixels / pixels, metered.backward_pixels / pixels)

    def total(self, gradient_weight: float) -> float:
        """Returns both in evaluations."""
        return self.evaluations + gradient_weight * self.gradients


def dry_run(
    strategy: Strategy,
    denoiser: PatchDenoiser,
    canvas: Canvas,
    conditioner: Conditioner = NO_CONTEXT,
    known: Known | None = None,
) -> NFECounter:
    """Returns the meter after one canvas, without asking `denoiser` for anything.

    Guidance and plans count, what a backbone does to encode an image does not. Of several canvases
    that are given different pixels, all count.

    Raises:
        ValueError: If the strategy cannot make such a canvas with such a denoiser.
    """
    metered = NFECounter(FreeDenoiser.like(denoiser))
    noise = NoNoise(1 if known is None else len(known.mask))
    conditioner.free.generate(strategy, metered, canvas, noise, known=known)
    return metered


def spent_on(
    strategy: Strategy,
    denoiser: PatchDenoiser,
    canvas: Canvas,
    conditioner: Conditioner = NO_CONTEXT,
    known: Known | None = None,
) -> Spent:
    """Returns what one canvas asks of `denoiser`, which is not called.

    Of several that are given different pixels, the mean.

    Raises:
        ValueError: If the strategy cannot make such a canvas with such a denoiser.
    """
    canvases = 1 if known is None else len(known.mask)
    metered = dry_run(strategy, denoiser, canvas, conditioner, known)
    return Spent.of(metered, strategy.denoised(canvas), canvases=canvases)


def free_strategy(strategy: Strategy, model: Model) -> Strategy:
    """Returns a strategy that is fitted to a model, with a codec that costs nothing if any."""
    if model.scale == 1:
        return strategy
    sizes = model.scale, model.channels, model.denoiser.channels
    return on_latents(strategy.core, FreeCodec(*sizes))


def network_calls(
    strategy: Strategy,
    model: Model,
    canvas: Canvas,
    conditioner: Conditioner,
    known: Known | None = None,
) -> int:
    """Returns how often the network is called for one picture, without calling it.

    Args:
        strategy: Makes it, fitted to the model.
        model: The denoiser and what belongs to it.
        canvas: Its size, in pixels.
        conditioner: What is told.
        known: What is given of it.
    """
    free = free_strategy(strategy, model)
    return dry_run(free, model.denoiser, canvas, conditioner, known).calls


def steps_within(
    make: Callable[[int], Strategy],
    denoiser: PatchDenoiser,
    canvas: Canvas,
    budget: float,
    conditioner: Conditioner = NO_CONTEXT,
    *,
    known: Known | None = None,
    gradient_weight: float = 0.0,
) -> int:
    """Returns the most solver steps with which a strategy stays within a budget.

    More steps must not cost less, or bisection finds a number that fits but need not be the
    largest.

    Args:
        make: Builds the strategy with as many steps.
        denoiser: What it will run on, or a `FreeDenoiser` like it; it is not called.
        canvas: What it will make.
        budget: Most pixels that may be evaluated for each pixel of the canvas.
        conditioner: What it is told.
        known: What is given of the canvas; where several canvases are given different pixels, their
            mean cost counts.
        gradient_weight: Evaluations that a backward pass counts for; with 0 the budget is one of
            evaluations alone.

    Raises:
        ValueError: If the budget is not a finite number, or even the fewest steps exceed it; and if
            the strategy cannot make such a canvas.
    """
    if not math.isfinite(budget):
        raise ValueError(f"budget must be a finite number of pixels for each pixel, got {budget}.")

    @functools.cache
    def cost(steps: int) -> float:
        return spent_on(make(steps), denoiser, canvas, conditioner, known).total(gradient_weight)

    fewest = _fewest(make)
    least, more = cost(fewest), cost(2 * fewest)
    if least > budget:
        raise ValueError(
            f"budget must be at least {_upwards(least):g} evaluated pixels for each pixel of this "
            f"canvas, which are {fewest} steps, the fewest there are, got {budget:g}."
        )
    if more <= least:
        raise ValueError(
            f"more steps must cost more, or no budget says how many there are: {2 * fewest} cost "
            f"{more:g} evaluated pixels for each pixel, {fewest} cost {least:g}."
        )
    # On the line through both, where most costs lie.
    guess = fewest + math.floor((budget - least) / (more - least) * fewest)
    return _largest(lambda steps: cost(steps) <= budget, fewest, guess)


def _fewest(make: Callable[[int], Strategy]) -> int:
    """Returns the fewest steps that the strategy can be built with.

    Raises:
        ValueError: What the strategy says of the fewest steps of all, if it can never be built.
    """
    refusals = []
    for steps in range(FEWEST, TRIED + 1):
        try:
            make(steps)
        except ValueError as error:
            refusals.append(error)
        else:
            return steps
    raise refusals[0]


def _largest(fits: Callable[[int], bool], known: int, guess: int) -> int:
    """Returns the largest number that fits, where larger ones than one that does not never do.

    Args:
        fits: Tells whether one does.
        known: One that does.
        guess: Where to begin; trials go away from it in strides that double, then bisect.
    """
    too_many, trial, stride = math.inf, max(guess, known + 1), 1
    while too_many - known > 1:
        if fits(trial):
            known, trial = trial, trial + stride
        else:
            too_many, trial = trial, trial - stride
        stride *= 2
        if not known < trial < too_many:
            trial = (known + int(too_many)) // 2
    return known


def _upwards(value: float) -> float:
    """Rounds up to hundredths, so that what is printed is enough."""
    return math.ceil(value * 100) / 100
