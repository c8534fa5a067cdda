"""AsyncPatch: every region of a window at a noise level of its own.

What is known is fed in clean, at level 0, while the rest descends: nothing is noised anew, nothing
is replaced, no gradient is taken ([AP]). A denoiser that takes maps of levels then estimates from
the clean pixels themselves, so growth over a canvas is exact wherever a window's overlap says all
that the rest of the canvas knows, as on a Markov field.

Input guidance sharpens the dependence on what is known,

    x0_hat = D_weak + w (D_clean - D_weak).

The weak branch sees less of the known region than the clean one, by choice:

- `current_level`: that region at the current level of the unknown one, y plus its noise. w = 1 is
  plain AsyncPatch, w = 0 is replacement, and w > 1 exaggerates what clean pixels say beyond what
  noisy ones say: much at high levels, nothing as the level reaches 0.
- `pure_noise`: in its place the noise it would start from, at `sigma_max`, so that nothing is seen
  of it. w = 1 is plain AsyncPatch, w = 0 makes the unknown region as if nothing were known, with a
  seam where it meets what is, and w > 1 exaggerates all that the known region says, at every level:
  the guidance of a conditional model by its unconditional self.

Either costs a second evaluation, but for w of 0 and 1, which cost one. Outside that of 0 and 1 no
weight samples a conditional distribution, not with an exact denoiser either.

References:
    [AP] AsyncPatch Diffusion: spatially-flexible image generation, 2026. arXiv:2606.07079
    [PF] Schusterbauer, Gui, Li, Ma, Krause, Ommer: Denoising, Fast and Slow: Difficulty-Aware
    Adaptive Sampling for Image Generation, 2026. arXiv:2604.19141
"""

import dataclasses
import math
from typing import Any, Literal, get_args

import torch
from typing_extensions import override

from denoisers.contract import Denoiser, Image, PatchDenoiser, Sigma
from denoisers.wrapper import Answer, Ask, Wrapper
from sampling.noise import CanvasNoise, WindowNoise
from sampling.solvers import NoiseSchedule, SingleStepSolver
from strategies.canvas import Canvas, Known
from strategies.conditioning import replaced
from strategies.schedules import by_certainty, distances, fast_and_slow, staggered
from strategies.sequential import Outpainting, single_step
from strategies.uncertainty import LookingAhead, Noticing, Regions

__all__ = ["AsyncPatch", "Schedule"]

Schedule = Literal["joint", "sequential", "wavefront", "uncertainty", "dual_loop"]
WeakBranch = Literal["current_level", "pure_noise"]

BY_CERTAINTY = ("uncertainty", "dual_loop")


class NeedsNoiseMapsError(ValueError):
    """A denoiser takes one noise level an image, and a strategy gives it several."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AsyncPatch(Outpainting):
    """Windows grow outwards from the middle; within a window levels follow the schedule.

    With T = solver.num_steps a window takes

        joint          T steps;
        sequential     T n, for n fronts, `region` px deep, by their distance from what is known
                       (from the window's middle where nothing is);
        wavefront      T + (n - 1) lag T, where each front starts lag T steps after the last;
        uncertainty    ceil(stretch T), whatever the window;
        dual_loop      (1 + inner_steps) T,

    and a step takes two evaluations with `heun`, but for the last one, and one with `euler`.
    `look_ahead` doubles all of them. Guidance, but for weights of 0 and 1, adds its weak branch in
    windows that know something: as many evaluations again as there are without `look_ahead`.

    `uncertainty`, `dual_loop` and `look_ahead` need a denoiser that says how far off it is. Their
    regions are squares of `region` px, and each sample has an order of its own. The choice is made
    on the CPU, which waits for the device once a step.

    Under churn a pixel gets fresh noise where it goes down a level and nowhere else, so that every
    schedule gives it what `joint` does. The levels of `dual_loop` are inner_steps T, each with its
    share of the churn: certain regions leap over most of them and get 1 / inner_steps as much.

    The settings that it shares with others are those of `Outpainting`.

    Args:
        schedule: `joint`: the unknown pixels descend together. `sequential`: one front after
            another. `wavefront`: a front starts when the one before it is `lag` of the way down.
            `uncertainty`: the most certain regions descend first. `dual_loop`: the certain regions
            descend by leaps, the others follow in smaller steps and see where they went.
        region: Depth of a front, or side of a region, in pixels; None for a quarter of the window's
            longer side.
        lag: Share of the noise schedule, in (0, 1]: between the starts of two fronts of a
            `wavefront`; and the most by which a region may lead another under `uncertainty`, where
            1 is no bound.
        stretch: Steps of `uncertainty` for each level of the noise schedule, at least 1, which is
            `joint`. Of n regions n / stretch descend at a step: with n it is one region at a time,
            and with more there are steps at which none does.
        certain: Share of the regions, in (0, 1), that are certain to `dual_loop` and `look_ahead`:
            rounded down, but at least one where there are two or more.
        inner_steps: Steps of `dual_loop` in which the uncertain regions descend what the certain
            ones do at one, at least 1. T counts these leaps.
        look_ahead: Share of the way to level 0, in [0, 1], that certain regions are carried ahead
            to be seen by the others; 0 is off.
        guidance: Weight w of input guidance, at least 0; 1 is none.
        weak_branch: What guidance leads away from: `current_level` sees the known region at the
            level of the unknown one, `pure_noise` sees nothing of it.
        clean_level: Level that clean pixels are said to have: 0, or the smallest that a denoiser
            was trained on, for one that never saw a 0.
    """

    schedule: Schedule = "joint"
    region: int | None = None
    lag: float = 0.5
    stretch: float = 2.0
    certain: float = 0.5
    inner_steps: int = 2
    look_ahead: float = 0.0
    guidance: float = 1.0
    weak_branch: WeakBranch = "current_level"
    clean_level: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (("schedule", Schedule), ("weak_branch", WeakBranch)):
            value = getattr(self, name)
            if value not in get_args(choices):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(choices))}, got {value!r}."
                )
        if self.region is not None and self.region < 1:
            raise ValueError(f"region must be at least 1 px, got {self.region}.")
        if not 0 < self.lag <= 1:
            raise ValueError(f"lag must be in (0, 1], got {self.lag}.")
        if not 1 <= self.stretch < math.inf:
            raise ValueError(f"stretch must be at least 1 and finite, got {self.stretch}.")
        if not 0 < self.certain < 1:
            raise ValueError(f"certain must be in (0, 1), got {self.certain}.")
        if self.inner_steps < 1:
            raise ValueError(f"inner_steps must be at least 1, got {self.inner_steps}.")
        if not 0 <= self.look_ahead <= 1:
            raise ValueError(f"look_ahead must be in [0, 1], got {self.look_ahead}.")
        if self.guidance < 0 or self.clean_level < 0:
            raise ValueError(
                "guidance and clean_level must be at least 0, got "
                f"{self.guidance} and {self.clean_level}."
            )

    @override
    def validate_fit(
        self, denoiser: PatchDenoiser, canvas: Canvas, noise: CanvasNoise, known: Known | None
    ) -> None:
        if self.schedule != "joint":
            self._single_step()
        super().validate_fit(denoiser, canvas, noise, known)

    @override
    def validate_denoiser(self, denoiser: PatchDenoiser) -> None:
        super().validate_denoiser(denoiser)
        if not denoiser.takes_noise_maps:
            raise NeedsNoiseMapsError(
                "async_patch gives every region a noise level of its own, but this denoiser was "
                "trained on one level an image (takes_noise_maps is False): take one trained with "
                "noise maps, or another strategy."
            )
        if self._by_certainty and not getattr(denoiser, "estimates_variance", False):
            what = "look_ahead" if self.look_ahead else f"the {self.schedule} schedule"
            raise ValueError(
                f"{what} goes by how certain the denoiser is, but this one does not say how far "
                "off its estimates are (estimates_variance is False): take one trained with a "
                "variance head, or schedule=joint, sequential or wavefront and look_ahead=0."
            )

    @override
    def fill(self, denoiser: Denoiser, known: Known, noise: WindowNoise) -> Image:
        eps = noise.stream("start").like(known.y)
        churn = noise.stream("churn")
        if self.clean_level:
            denoiser = never_clean(denoiser, self.clean_level)
        followed, sigmas = self._scheduled(denoiser, known)
        if known.mask.any():
            # Without a clean branch the weak one is all there is to go by.
            weak = denoiser if self.guidance else followed
            if self.weak_branch == "pure_noise":
                weak = unaware(weak, known, eps=eps, sigma_max=self.solver.sigma_max)
            followed = given_clean(followed, known, guidance=self.guidance, weak=weak)
            # So that they are y plus noise of their level, all the way down.
            eps = Known(known.y / self.solver.sigma_max + eps, known.mask).pasted(eps)
        if sigmas is None:
            return self.solver(followed, eps, churn)
        x_t = float(self.solver.sigmas()[0]) * eps
        return self._descending().descend(followed, x_t, sigmas, churn)

    def _scheduled(self, denoiser: Denoiser, known: Known) -> tuple[Denoiser, NoiseSchedule | None]:
        """Returns the denoiser that follows the schedule, and its sigmas; None for the solver's."""
        if self.schedule == "joint" and not self.look_ahead:
            return denoiser, None
        mask = known.mask.all(1, keepdim=True)
        side = self.region or max(1, max(mask.shape[-2:]) // 4)
        fronts = distances(mask, side)
        regions = Regions(mask, side, fronts)
        if self.look_ahead:
            denoiser = LookingAhead(denoiser, regions, share=self.certain, ahead=self.look_ahead)
        at_once = self.schedule == "uncertainty" and self._steps == self.solver.num_steps
        if at_once or self.schedule == "joint":
            return denoiser, None
        if self.schedule in ("sequential", "wavefront"):
            return denoiser, staggered(self.solver.sigmas(), fronts, self._lag_steps)
        noticing = Noticing(denoiser)
        return noticing, self._by_what_is_noticed(regions, noticing)

    def _by_what_is_noticed(self, regions: Regions, noticing: Noticing) -> NoiseSchedule:
        solver = self.solver
        if self.schedule == "uncertainty":
            return by_certainty(
                solver.sigmas(), regions, noticing, steps=self._steps, lead=self._lag_steps
            )
        sigmas = self._descending().sigmas()
        return fast_and_slow(sigmas, regions, noticing, inner=self.inner_steps, share=self.certain)

    @property
    def _by_certainty(self) -> bool:
        return self.schedule in BY_CERTAINTY or self.look_ahead > 0

    def _single_step(self) -> SingleStepSolver:
        return single_step(self.solver, why=f"the {self.schedule} schedule needs maps of levels")

    def _descending(self) -> SingleStepSolver:
        """Returns the solver of the levels that regions go down, which sets their churn."""
        solver = self._single_step()
        if self.schedule != "dual_loop":
            return solver
        return dataclasses.replace(solver, num_steps=self.inner_steps * solver.num_steps)

    @property
    def _steps(self) -> int:
        """Steps of `uncertainty`."""
        # 1.1 * 10 is a little more than 11.
        return math.ceil(round(self.stretch * self.solver.num_steps, 6))

    @property
    def _lag_steps(self) -> int:
        steps = self.solver.num_steps
        return steps if self.schedule == "sequential" else max(1, round(self.lag * steps))


def given_clean(
    denoiser: Denoiser, known: Known, *, guidance: float = 1.0, weak: Denoiser | None = None
) -> Denoiser:
    """Feeds known pixels in clean, whatever `x_t` holds there, and says so in the map of levels.

    The estimate of a known pixel is its value, so the solver carries it along as y plus noise of
    its level if it starts as that. Pixels of which some channels are known are fed in as they come,
    to either branch.

    Args:
        denoiser: Is shown the known pixels clean.
        known: What is given.
        guidance: Weight of the clean branch; at 1 there is no other, at 0 there is only the other.
        weak: The weak branch, which is shown `x_t` as it comes; None for the same denoiser.
    """
    weak = weak or denoiser
    if guidance == 0:
        return replaced(weak, known)
    clean = known.mask.all(1, keepdim=True)

    def with_known(x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        levels = torch.where(clean, 0.0, sigma.expand(len(x_t), 1, *x_t.shape[-2:]))
        x0_hat = denoiser(known.y.where(clean, x_t), levels, context)
        if guidance != 1:
            x0_weak = weak(x_t, sigma, context)
            x0_hat = x0_weak + guidance * (x0_hat - x0_weak)
        return known.pasted(x0_hat)

    return with_known


def unaware(denoiser: Denoiser, known: Known, *, eps: Image, sigma_max: float) -> Denoiser:
    """Shows noise in place of known pixels: what starts at `sigma_max` before anything is known.

    Blind to them but for (deviation of a pixel / `sigma_max`)^2, the weight of such noise.
    """
    clean = known.mask.all(1, keepdim=True)

    def blind(x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        levels = torch.where(clean, sigma_max, sigma.expand(len(x_t), 1, *x_t.shape[-2:]))
        return denoiser(torch.where(clean, sigma_max * eps, x_t), levels, context)

    return blind


def never_clean(denoiser: Denoiser, clean_level: float) -> Denoiser:
    """Tells a denoiser that never saw a 0 that clean pixels are at `clean_level`."""
    return NeverClean(denoiser, clean_level)


class NeverClean(Wrapper):
    """Tells a denoiser that never saw a 0 that clean pixels are at `clean_level`.

    Args:
        denoiser: The denoiser.
        clean_level: The lowest level it takes.
    """

    def __init__(self, denoiser: Denoiser, clean_level: float) -> None:
        super().__init__(denoiser)
        self.clean_level = clean_level

    @override
    def answer(self, ask: Ask, x_t: Image, sigma: Sigma, context: Any) -> Answer:
        noisy = sigma > 0
        x0_hat, *variance = ask(x_t, sigma.where(noisy, self.clean_level), context)
        return x0_hat.where(noisy, x_t), *(values.where(noisy, 0.0) for values in variance)
