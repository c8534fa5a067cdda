"""Solvers: from noise to an image along dx = (x_t - x0_hat) / sigma dsigma, on any denoiser.

A step is a function (denoiser, x_t, sigma, sigma_next) -> x_next. What changes the path wraps a
step (`churned`); the loop over the noise schedule is `solve` and nothing else.

References:
    [EDM] Karras, Aittala, Aila, Laine: Elucidating the Design Space of Diffusion-Based
    Generative Models, 2022. arXiv:2206.00364
"""

import abc
import dataclasses
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from denoisers.contract import Denoiser, Image, Levels, PatchDenoiser, Sigma
from sampling.noise import NoiseStream
from sampling.sigmas import karras_sigmas

__all__ = [
    "Euler",
    "Heun",
    "NoiseSchedule",
    "SingleStepSolver",
    "Solver",
    "Step",
    "churned",
    "euler_step",
    "heun_step",
    "solve",
]

# A level at which nothing is seen of an image in [-1, 1], nor of its mean over 1,000 pixels.
ALL_NOISE = 1e3

Step = Callable[[Denoiser, Image, Sigma, Sigma], Image]
NoiseSchedule = (
    Float[Tensor, " levels"] | Float[Tensor, "levels #batch 1 #height #width"] | Iterator[Sigma]
)


def euler_step(denoiser: Denoiser, x_t: Image, sigma: Sigma, sigma_next: Sigma) -> Image:
    """First-order step of [EDM] Alg. 1, exact as `sigma_next` reaches 0; one evaluation.

    An interpolation towards `x0_hat`: nothing is divided by `sigma_next`. Pixels that wait at their
    level, 0 or another, stay as they are to the last bit.
    """
    x0_hat = denoiser(x_t, sigma)
    x_next = x0_hat + sigma_next / _nonzero(sigma) * (x_t - x0_hat)
    return torch.where(sigma_next == sigma, x_t, x_next)


def heun_step(denoiser: Denoiser, x_t: Image, sigma: Sigma, sigma_next: Sigma) -> Image:
    """Second-order step of [EDM] Alg. 1; two evaluations.

    Pixels whose `sigma_next` is 0 take the first-order step alone (Alg. 1, line 6), and so do those
    from `ALL_NOISE` up, where a noise schedule that begins at infinity leaps to levels of the
    image's size: the estimate is the mean all the way, for which that step is exact, while the
    second slope would be multiplied by the leap.
    """
    x0_hat = denoiser(x_t, sigma)
    slope = (x_t - x0_hat) / _nonzero(sigma)
    x_euler = x_t + (sigma_next - sigma) * slope
    from_noise = sigma >= ALL_NOISE
    # Between numbers as large as these a difference would be lost to rounding.
    x_euler = torch.where(from_noise, x0_hat + sigma_next * slope, x_euler)
    slope_next = (x_euler - denoiser(x_euler, sigma_next)) / _nonzero(sigma_next)
    mean_slope = torch.where(sigma_next > 0, (slope + slope_next) / 2, slope)
    return torch.where(from_noise, x_euler, x_t + (sigma_next - sigma) * mean_slope)


def _nonzero(sigma: Sigma) -> Sigma:
    """Divisor for a difference that vanishes where `sigma` does."""
    return torch.where(sigma > 0, sigma, 1.0)


def churned(
    step: Step,
    noise: NoiseStream,
    *,
    gamma: float,
    s_noise: float = 1.0,
    s_min: float = 0.0,
    s_max: float | None = None,
) -> Step:
    """Raises the level by a factor 1 + `gamma` with fresh noise before every step ([EDM] Alg. 2).

    Only at levels in [`s_min`, `s_max`], where None is no limit; `s_noise` is the standard
    deviation of the added noise. Pixels that wait at their level, while others of their map go
    down, are left alone: a pixel gets as much fresh noise as it has levels to go, whatever the
    number of steps.
    """
    if gamma < 0:
        raise ValueError(f"gamma must be at least 0, got {gamma}.")

    def churn_then_step(denoiser: Denoiser, x_t: Image, sigma: Sigma, sigma_next: Sigma) -> Image:
        in_range = (sigma >= s_min) & (sigma <= (math.inf if s_max is None else s_max))
        raised = in_range & (sigma_next < sigma)
        sigma_hat = torch.where(raised, (1 + gamma) * sigma, sigma)
        added = (sigma_hat.square() - sigma.square()).clamp(min=0).sqrt()
        return step(denoiser, x_t + s_noise * added * noise.like(x_t), sigma_hat, sigma_next)

    return churn_then_step


def solve(
    step: Step,
    denoiser: Denoiser,
    x_t: Image,
    sigmas: NoiseSchedule,
    *,
    last_step: Step = euler_step,
) -> Image:
    """Carries `x_t` down the noise schedule `sigmas`: numbers, maps, or maps one after another.

    Where the next level is 0 everywhere `last_step` is taken, which needs no estimate there. The
    noise schedule stays on the CPU: the choice of step never waits for the GPU. An iterator is
    asked for the next level once the step before it is done, so it may decide by what the denoiser
    has said.
    """
    if isinstance(sigmas, Tensor):
        sigmas = (sigmas if sigmas.ndim == 5 else sigmas.view(-1, 1, 1, 1, 1)).cpu()
    for sigma, sigma_next in pairwise(sigmas):
        advance = step if bool((sigma_next > 0).any()) else last_step
        here, there = (
            level.to(x_t.dtype).to(x_t.device, non_blocking=True) for level in (sigma, sigma_next)
        )
        x_t = advance(denoiser, x_t, here, there)
    return x_t


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solver(abc.ABC):
    """How a denoiser is turned into samples: a schedule of levels and a way down it.

    Args:
        num_steps: Steps down the noise schedule, at least 2.
        sigma_min: Lowest level above 0.
        sigma_max: Level of the starting noise.
        rho: Curvature of the noise schedule ([EDM] Eq. 5); higher puts more steps at low levels.
        levels: Where the levels lie. `karras` is [EDM] Eq. 5, and so is `auto` until the solver is
            `fitted` to a denoiser that has a noise schedule of its own, then it is that noise
            schedule.
    """

    num_steps: int = 40
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    levels: Literal["auto", "karras"] | Levels = "auto"

    def __post_init__(self) -> None:
        self.sigmas()

    def sigmas(self) -> Float[Tensor, " levels"]:
        """Returns the noise schedule, `num_steps` levels and a 0."""
        if isinstance(self.levels, Levels):
            return self.levels.noise_schedule(self.num_steps)
        return karras_sigmas(
            self.num_steps, sigma_min=self.sigma_min, sigma_max=self.sigma_max, rho=self.rho
        )

    def fitted(self, denoiser: PatchDenoiser) -> "Solver":
        """Returns this solver within the levels that a denoiser was trained on.

        One whose levels are `auto` goes down the denoiser's own noise schedule; one of `karras` has
        its ends moved to those of the denoiser where they lie beyond. For a denoiser that has no
        levels of its own it is the solver itself.
        """
        own: Levels | None = getattr(denoiser, "levels", None)
        if own is None or isinstance(self.levels, Levels):
            return self
        return dataclasses.replace(self, **self._within(own))

    def _within(self, own: Levels) -> dict[str, Any]:
        """Returns the settings that keep this solver within these levels."""
        if self.levels == "auto":
            return {"levels": own}
        return {
            "sigma_min": max(self.sigma_min, own.sigma_min),
            "sigma_max": min(self.sigma_max, own.sigma_max),
        }

    def started(self, eps: Image, sigma: Float[Tensor, ""]) -> Image:
        """Returns unit noise as x_t at the first level of the noise schedule."""
        scale = self.levels.start(float(sigma)) if isinstance(self.levels, Levels) else float(sigma)
        return scale * eps

    def validate_fit(self, denoiser: PatchDenoiser) -> None:
        """Checks that a denoiser knows the levels it will be asked about.

        Raises:
            ValueError: If the first one is above all that it was trained on.
        """
        own: Levels | None = getattr(denoiser, "levels", None)
        if own is None or isinstance(self.levels, Levels) or self.sigma_max <= own.sigma_max:
            return
        raise ValueError(
            f"the denoiser was trained on noise levels up to {own.sigma_max:.3g}, but the solver "
            f"starts at sigma_max={self.sigma_max:g}: take solver.fitted(denoiser)."
        )

    @abc.abstractmethod
    def __call__(self, denoiser: Denoiser, eps: Image, noise: NoiseStream) -> Image:
        """Returns the image that the unit noise `eps` becomes; `noise` feeds the way down."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleStepSolver(Solver):
    """A solver whose steps remember nothing: it may climb back, and levels may be maps.

    The settings that it shares with others are those of `Solver`.

    Args:
        num_steps: Steps down the noise schedule, at least 2; the last is an Euler step.
        churn: S_churn: fresh noise over the whole run; a step down gets churn / num_steps of it,
            at most sqrt(2) - 1.
        s_noise: Standard deviation of the fresh noise.
        s_min: Lowest level that is churned.
        s_max: Highest level that is churned; None for no limit.
    """

    churn: float = 0.0
    s_noise: float = 1.0
    s_min: float = 0.0
    s_max: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.churn < 0:
            raise ValueError(f"churn must be at least 0, got {self.churn}.")

    @override
    def _within(self, own: Levels) -> dict[str, Any]:
        """As of `Solver`; nor does churn raise a level above the highest."""
        settings = super()._within(own)
        if self.churn:
            highest = own.sigma_max / (1 + self.gamma)
            settings["s_max"] = highest if self.s_max is None else min(self.s_max, highest)
        return settings

    @property
    def gamma(self) -> float:
        """By how much of itself churn raises a level."""
        return min(self.churn / self.num_steps, 2**0.5 - 1)

    @property
    @abc.abstractmethod
    def plain_step(self) -> Step:
        """The step without churn."""

    def steps(self, noise: NoiseStream) -> tuple[Step, Step]:
        """Returns the step, and the one that reaches 0, both under this solver's churn."""
        return self.churned(self.plain_step, noise), self.churned(euler_step, noise)

    def churned(self, step: Step, noise: NoiseStream) -> Step:
        """Returns `step` under this solver's churn."""
        if not self.churn:
            return step
        return churned(
            step, noise, gamma=self.gamma, s_noise=self.s_noise, s_min=self.s_min, s_max=self.s_max
        )

    @override
    def __call__(self, denoiser: Denoiser, eps: Image, noise: NoiseStream) -> Image:
        sigmas = self.sigmas()
        return self.descend(denoiser, self.started(eps, sigmas[0]), sigmas, noise)

    def descend(
        self, denoiser: Denoiser, x_t: Image, sigmas: NoiseSchedule, noise: NoiseStream
    ) -> Image:
        """Returns the image that `x_t` becomes down a noise schedule of numbers or maps."""
        step, last_step = self.steps(noise)
        return solve(step, denoiser, x_t, sigmas, last_step=last_step)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heun(SingleStepSolver):
    """The sampler of [EDM] Algorithm 2: Heun steps with optional churn.

    Costs 2 `num_steps` - 1 evaluations. Deterministic where `churn` is 0.

    Its settings are those of `SingleStepSolver`.
    """

    @property
    @override
    def plain_step(self) -> Step:
        return heun_step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Euler(SingleStepSolver):
    """Euler steps with optional churn; without it this is DDIM. Costs `num_steps` evaluations.

    The settings that it shares with others are those of `SingleStepSolver`.

    Args:
        num_steps: Steps down the noise schedule, at least 2.
    """

    @property
    @override
    def plain_step(self) -> Step:
        return euler_step
