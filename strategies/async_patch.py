"""AsyncPatch: every region of a window at a noise level of its own.

What is known is fed in clean, at level 0, while the rest descends: nothing is noised anew, nothing
is replaced, no gradient is taken ([AP]). A denoiser that takes maps of levels then estimates from
the clean pixels themselves, so growth over a canvas is exact wherever a window's overlap says all
that the rest of the canvas knows, as on a Markov field.

Input guidance sharpens the dependence on what is known,

    x0_hat = D_weak + w (D_clean - D_weak),

where the weak branch sees the known region at the current level of the unknown one; w = 1 is plain
AsyncPatch, w = 0 is replacement.

References:
    [AP] AsyncPatch Diffusion: spatially-flexible image generation, 2026. arXiv:2606.07079
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from denoisers.contract import Denoiser, Image, Mask, PatchDenoiser, Sigma
from sampling.noise import CanvasNoise, WindowNoise
from strategies.canvas import Canvas, Known
from strategies.conditioning import replaced
from strategies.sequential import Outpainting, single_step

__all__ = ["AsyncPatch"]

Schedule = Literal["joint", "sequential", "wavefront"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AsyncPatch(Outpainting):
    """Windows grow outwards from the middle; within a window levels follow the schedule.

    With T = solver.num_steps a window takes T steps under `joint`. Otherwise its unknown pixels
    are fronts, `region` px deep, by their distance from what is known (from the window's middle
    where nothing is), and each front starts `lag` T steps after the one before it: a window of
    n fronts takes T + (n - 1) lag T steps. Guidance, but for weights of 0 and 1, doubles the
    evaluations of every window that knows something.

    Args:
        solver: Carries noise to images; the same for all strategies of a comparison.
        window: Side of the square windows, in pixels, or their height and width; None for the
            denoiser's patch size.
        max_batch: Most windows in one network call, those of all samples together; None for no
            limit.
        order: `raster` fills one window after another, row by row; `wavefront` fills windows that
            know nothing of each other in one batch. The images are the same.
        overlap: What a window knows of its neighbour, in pixels: at most half a window; None for
            half a window.
        schedule: `joint`: the unknown pixels descend together. `sequential`: one front after
            another. `wavefront`: a front starts when the one before it is `lag` of the way down.
        region: Depth of a front, in pixels; None for a quarter of the window's longer side.
        lag: Share of the ladder between the starts of two fronts of a `wavefront`, in (0, 1].
        guidance: Weight w of input guidance, at least 0; 1 is none.
        clean_level: Level that clean pixels are said to have: 0, or the smallest that a denoiser
            was trained on, for one that never saw a 0.
    """

    schedule: Schedule = "joint"
    region: int | None = None
    lag: float = 0.5
    guidance: float = 1.0
    clean_level: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule not in get_args(Schedule):
            raise ValueError(
                f"schedule must be one of {', '.join(get_args(Schedule))}, got {self.schedule!r}."
            )
        if self.region is not None and self.region < 1:
            raise ValueError(f"region must be at least 1 px, got {self.region}.")
        if not 0 < self.lag <= 1:
            raise ValueError(f"lag must be in (0, 1], got {self.lag}.")
        if self.guidance < 0 or self.clean_level < 0:
            raise ValueError(
                "guidance and clean_level must be at least 0, got "
                f"{self.guidance} and {self.clean_level}."
            )

    @override
    def refuse_misfits(
        self, denoiser: PatchDenoiser, canvas: Canvas, noise: CanvasNoise, known: Known | None
    ) -> None:
        if not denoiser.takes_noise_maps:
            raise ValueError(
                "async_patch gives every region a noise level of its own, but this denoiser was "
                "trained on one level an image (takes_noise_maps is False): take one trained with "
                "noise maps, or another strategy."
            )
        if self.schedule != "joint":
            single_step(self.solver, why=f"the {self.schedule} schedule needs maps of levels")
        super().refuse_misfits(denoiser, canvas, noise, known)

    @override
    def fill(self, denoiser: Denoiser, known: Known, noise: WindowNoise) -> Image:
        eps = noise.draw("start", 0, tuple(known.y.shape[1:]))
        churn = noise.stream("churn")
        if self.clean_level:
            denoiser = never_clean(denoiser, self.clean_level)
        if known.mask.any():
            denoiser = given_clean(denoiser, known, guidance=self.guidance)
            # So that they are y plus noise of their level, all the way down.
            eps = Known(known.y / self.solver.sigma_max + eps, known.mask).pasted(eps)
        if self.schedule == "joint":
            return self.solver(denoiser, eps, churn)
        solver = single_step(self.solver, why=f"the {self.schedule} schedule needs maps of levels")
        sigmas = solver.sigmas()
        ladder = staggered(sigmas, self._fronts(known), self._lag_steps)
        return solver.descend(denoiser, float(sigmas[0]) * eps, ladder, churn)

    @property
    def _lag_steps(self) -> int:
        steps = self.solver.num_steps
        return steps if self.schedule == "sequential" else max(1, round(self.lag * steps))

    def _fronts(self, known: Known) -> Int64[Tensor, "samples 1 rows columns"]:
        region = self.region or max(1, max(known.mask.shape[-2:]) // 4)
        return distances(known.mask.all(1, keepdim=True), region)


def given_clean(denoiser: Denoiser, known: Known, *, guidance: float = 1.0) -> Denoiser:
    """Feeds known pixels in clean, whatever `x_t` holds there, and says so in the map of levels.

    The estimate of a known pixel is its value, so the solver carries it along as y plus noise of
    its level if it starts as that: what the weak branch of guidance is to see there is `x_t` as it
    comes. Pixels of which some channels are known are fed in as they come too.
    """
    if guidance == 0:
        return replaced(denoiser, known)
    clean = known.mask.all(1, keepdim=True)

    def with_known(x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        levels = torch.where(clean, 0.0, sigma.expand(len(x_t), 1, *x_t.shape[-2:]))
        x0_hat = denoiser(known.y.where(clean, x_t), levels, context)
        if guidance != 1:
            weak = denoiser(x_t, sigma, context)
            x0_hat = weak + guidance * (x0_hat - weak)
        return known.pasted(x0_hat)

    return with_known


def never_clean(denoiser: Denoiser, clean_level: float) -> Denoiser:
    """Tells a denoiser that never saw a 0 that clean pixels are at `clean_level`."""

    def at_least(x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        noisy = sigma > 0
        return denoiser(x_t, sigma.where(noisy, clean_level), context).where(noisy, x_t)

    return at_least


def distances(known: Mask, region: int) -> Int64[Tensor, "samples 1 rows columns"]:
    """Returns how many fronts of `region` px lie between a pixel and what is known.

    0 for the front next to it, measured along the longer axis. From the middle of the window
    where nothing is known. Known pixels belong to the last front: guidance shows them to its weak
    branch at the highest level that is still there.
    """
    height, width = known.shape[-2:]
    middle = torch.zeros_like(known)
    middle[..., (height - 1) // 2 : height // 2 + 1, (width - 1) // 2 : width // 2 + 1] = True
    nothing = ~known.any(-1, keepdim=True).any(-2, keepdim=True)
    reached = (known | (nothing & middle)).float()
    fronts, front = torch.zeros_like(known, dtype=torch.int64), 0
    while not reached.all():
        grown = F.max_pool2d(reached, 2 * region + 1, stride=1, padding=region)
        fronts[grown > reached] = front
        reached, front = grown, front + 1
    return torch.where(known, fronts.amax((1, 2, 3), keepdim=True), fronts)


def staggered(
    sigmas: Float[Tensor, " levels"], fronts: Int64[Tensor, "samples 1 rows columns"], lag: int
) -> Iterator[Float[Tensor, "samples 1 rows columns"]]:
    """Yields a ladder of maps: front k goes down `sigmas`, `k lag` steps after front 0.

    Before its start a front waits at the first level, after its end at the last.
    """
    fronts, last = fronts.cpu(), len(sigmas) - 1
    for step in range(last + int(fronts.max()) * lag + 1):
        yield sigmas[(step - lag * fronts).clamp(0, last)]
