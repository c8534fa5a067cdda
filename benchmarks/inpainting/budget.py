"""Equal cost where pixels are given: the most steps with which a completion stays in a budget.

A gradient pass is part of it, at a declared weight: a strategy that takes one with every evaluation
would otherwise get its backward passes for nothing.
"""

import bisect
import dataclasses
import functools
from collections.abc import Callable

from denoisers.contract import PatchDenoiser
from patchcanvas.accounting import Metered
from patchcanvas.budget import FEWEST, TRIED, FreeDenoiser
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas, Known

__all__ = ["Spent", "spent_on", "steps_for", "with_steps"]


@dataclasses.dataclass(frozen=True)
class Spent:
    """What one canvas asks of the network.

    Args:
        evaluations: Pixels evaluated for each pixel of the canvas.
        gradients: Pixels of its gradient passes for each pixel of the canvas.
    """

    evaluations: float
    gradients: float

    @classmethod
    def of(cls, metered: Metered, canvas: Canvas, *, canvases: int = 1) -> "Spent":
        """Returns what was counted, for each of so many canvases."""
        pixels = canvas.height * canvas.width * canvases
        return cls(metered.pixels / pixels, metered.gradient_pixels / pixels)

    def total(self, gradient_weight: float) -> float:
        """Returns both in evaluations."""
        return self.evaluations + gradient_weight * self.gradients


def with_steps(strategy: Strategy, steps: int) -> Strategy:
    """Returns the same strategy with as many solver steps.

    Raises:
        ValueError: If it cannot be built with so few.
    """
    solver = dataclasses.replace(strategy.solver, num_steps=steps)
    return dataclasses.replace(strategy, solver=solver)


def spent_on(
    strategy: Strategy, denoiser: PatchDenoiser, canvas: Canvas, known: Known | None
) -> Spent:
    """Returns what one canvas asks of `denoiser`, which is not called.

    Of several that know different pixels, the mean.

    Raises:
        ValueError: If the strategy cannot make such a canvas with such a denoiser.
    """
    count = 1 if known is None else len(known.mask)
    metered = Metered(FreeDenoiser.like(denoiser))
    strategy.generate(metered, canvas, CanvasNoise(0, range(count)), known=known)
    return Spent.of(metered, canvas, canvases=count)


def steps_for(
    make: Callable[[int], Strategy],
    denoiser: PatchDenoiser,
    canvas: Canvas,
    known: Known | None,
    *,
    budget: float,
    gradient_weight: float,
) -> int:
    """Returns the most solver steps with which a strategy stays within a budget.

    Args:
        make: Builds the strategy with as many steps.
        denoiser: What it will run on; it is not called.
        canvas: What it will make.
        known: What is given of it; where several canvases are given different pixels, their mean
            cost counts.
        budget: Most evaluated pixels for each pixel of the canvas, those of gradient passes
            included.
        gradient_weight: Evaluations that a gradient pass counts for.

    Raises:
        ValueError: If even the fewest steps exceed the budget, or more steps do not cost more; and
            if the strategy cannot make such a canvas.
    """

    @functools.cache
    def cost(steps: int) -> float:
        return spent_on(make(steps), denoiser, canvas, known).total(gradient_weight)

    steps = _fewest(make)
    if cost(steps) > budget:
        raise ValueError(
            f"budget must be at least {cost(steps):g} evaluations for each pixel of this canvas, "
            f"which are {steps} steps, the fewest there are, got {budget:g}."
        )
    while cost(2 * steps) <= budget:
        if cost(2 * steps) <= cost(steps):
            raise ValueError(f"more steps must cost more, but {2 * steps} cost what {steps} do.")
        steps *= 2
    return steps + bisect.bisect_right(range(steps + 1, 2 * steps), budget, key=cost)


def _fewest(make: Callable[[int], Strategy]) -> int:
    """Returns the fewest steps that the strategy can be built with.

    Raises:
        ValueError: What the strategy says of the fewest steps of all, if it can never be built.
    """
    refusal: ValueError | None = None
    for steps in range(FEWEST, TRIED + 1):
        try:
            make(steps)
        except ValueError as error:
            refusal = refusal or error
        else:
            return steps
    raise refusal
