"""The maps of levels that each way of sampling visits, as the denoiser sees them."""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from denoisers.contract import Image, Sigma, Variance
from denoisers.gaussian import GaussianDenoiser, GaussianField
from sampling.noise import CanvasNoise
from sampling.solvers import Heun, SingleStepSolver
from strategies.async_patch import AsyncPatch, Schedule
from strategies.canvas import Canvas
from strategies.conveyor import Conveyor

__all__ = ["CONVEYOR", "SCHEDULES", "visited_maps"]

SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
CONVEYOR: Literal["conveyor"] = "conveyor"
Way = Literal[Schedule, "conveyor"]

Maps = Float[Tensor, "maps 1 height width"]


class Watching:
    """A denoiser that keeps the maps it is asked about.

    Its variance is that of a field of independent rows, of long correlations along them, so that
    certainty spreads from what is known. Its estimate, on which no map depends, is the mean.

    Args:
        patch_size: Side of a patch, in pixels.
    """

    multiple = 8
    takes_noise_maps = True
    estimates_variance = True
    channels = 1

    def __init__(self, patch_size: int) -> None:
        self.patch_size = patch_size
        self.maps: list[Maps] = []
        field = GaussianField(columns_length=float(patch_size), variance=0.25)
        self._row = GaussianDenoiser(field, patch_size=patch_size)

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        """Returns `x0_hat`."""
        return self.with_variance(x_t, sigma, context)[0]

    def with_variance(
        self, x_t: Image, sigma: Sigma, context: Any = None
    ) -> tuple[Image, Variance]:
        """Returns `x0_hat` and its variance."""
        full = sigma.expand(len(x_t), 1, *x_t.shape[-2:])
        self.maps.append(full.clone())
        rows = full.reshape(-1, 1, 1, full.shape[-1])
        variance = self._row.variance(torch.zeros_like(rows), rows).to(x_t).view_as(full)
        return torch.zeros_like(x_t), variance


def visited_maps(
    schedule: Way, *, patch_size: int = 32, num_steps: int = 18, strips: int = 2, blocks: int = 24
) -> Maps:
    """Returns every map that a denoiser of patches is shown under a schedule.

    That of `conveyor`, or of AsyncPatch on a canvas of four patches, whose first window knows
    nothing and whose others know half.

    Args:
        schedule: One of `SCHEDULES`, or `conveyor`.
        patch_size: Side of a patch, in pixels.
        num_steps: Steps of Heun's method.
        strips: Samples.
        blocks: Blocks of columns that the conveyor finishes.
    """
    denoiser, solver = Watching(patch_size), Heun(num_steps=num_steps)
    noise = CanvasNoise(0, range(strips))
    if schedule == CONVEYOR:
        _convey(denoiser, solver, noise, blocks)
    else:
        canvas = Canvas(height=patch_size, width=4 * patch_size, channels=1)
        AsyncPatch(solver=solver, schedule=schedule).generate(denoiser, canvas, noise)
    return torch.cat(denoiser.maps)


def _convey(denoiser: Watching, solver: SingleStepSolver, noise: CanvasNoise, blocks: int) -> None:
    conveyor = Conveyor(solver=solver)
    states = conveyor.blocks(denoiser, noise, conveyor.begin(denoiser, noise))
    for _ in range(blocks):
        next(states)
