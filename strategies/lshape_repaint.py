"""L-shape RePaint: block after block, the known quadrants noised anew at every step.

Trio Diffusion ([T], "Spatial inpainting", "RePaint conditioning"): blocks of one patch on a
lattice of half-patches, in raster order. A block inside the canvas knows its top left, top right
and bottom left quadrants; the first row and the first column know fewer, and what is not painted
yet is unknown. At every step the known quadrants are noised to the current level with fresh noise
and put back, and [R]'s resampling walks the noise schedule back and forth so that the rest can
follow.

References:
    [T] Trio Diffusion (v2): autoregressive infinite image generation with diffusion models
    [R] Lugmayr, Danelljan, Romero, Yu, Timofte, Van Gool: RePaint: Inpainting using Denoising
    Diffusion Probabilistic Models, 2022. arXiv:2201.09865
"""

import dataclasses
from itertools import pairwise

from typing_extensions import override

from denoisers.contract import Denoiser, Image, PatchDenoiser
from sampling.noise import CanvasNoise, WindowNoise
from strategies.canvas import Canvas, Known
from strategies.sequential import SequentialStrategy, single_step

__all__ = ["LShapeRepaint"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LShapeRepaint(SequentialStrategy):
    """Half-overlapping blocks from the top left corner on, with resampling.

    With T = solver.num_steps, j = `jump_length` and r = `jump_n_sample` a block takes
    T + ceil((T - j) / j) (r - 1) j steps: one network call each with Euler, two with Heun but for
    the last. Blocks of one anti-diagonal know nothing of each other: a canvas of H x W blocks
    takes H + W - 1 turns as a `wavefront`, and H W as a `raster`.

    The settings that it shares with others are those of `SequentialStrategy`.

    Args:
        solver: Carries noise to images, step by step: heun or euler.
        window: Side of the square blocks, in pixels, even, or their height and width; None for
            the denoiser's patch size.
        jump_length: Levels climbed back in one jump; [R] takes 10 on a noise schedule of 250.
        jump_n_sample: Times each of these stretches is walked down; 1 for no resampling. [R]
            takes 10.
    """

    jump_length: int = 1
    jump_n_sample: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("jump_length", "jump_n_sample"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if self.jump_n_sample > 1 and self.jump_length >= self.solver.num_steps:
            raise ValueError(
                f"jump_length must be below solver.num_steps={self.solver.num_steps}, or there is "
                f"no level to jump from, got {self.jump_length}."
            )

    @override
    def validate_fit(
        self, denoiser: PatchDenoiser, canvas: Canvas, noise: CanvasNoise, known: Known | None
    ) -> None:
        single_step(self.solver, why="lshape_repaint walks up and down the levels")
        super().validate_fit(denoiser, canvas, noise, known)

    @property
    @override
    def from_the_middle(self) -> bool:
        return False

    @override
    def overlap_of(self, denoiser: PatchDenoiser, window: int) -> int:
        if window % 2:
            raise ValueError(f"window must be even, a block has four quadrants, got {window}.")
        return window // 2

    @override
    def fill(self, denoiser: Denoiser, known: Known, noise: WindowNoise) -> Image:
        solver = single_step(self.solver, why="lshape_repaint walks up and down the levels")
        step, last_step = solver.steps(noise.stream("churn"))
        fresh, climb = noise.stream("repaint"), noise.stream("climb")
        eps = noise.stream("start").like(known.y)
        levels = [eps.new_full((1, 1, 1, 1), sigma) for sigma in solver.sigmas().tolist()]
        x_t = known.noised(levels[0], eps).pasted(levels[0] * eps)
        for here, there in pairwise(walk(solver.num_steps, self.jump_length, self.jump_n_sample)):
            sigma, sigma_next = levels[here], levels[there]
            if there < here:
                x_t = x_t + (sigma_next.square() - sigma.square()).sqrt() * climb.like(x_t)
                continue
            advance = last_step if there == solver.num_steps else step
            x_t = advance(denoiser, x_t, sigma, sigma_next)
            x_t = known.noised(sigma_next, fresh.like(x_t)).pasted(x_t)
        return x_t


def walk(num_steps: int, jump_length: int, jump_n_sample: int) -> list[int]:
    """Returns the indices of a descent of `num_steps` steps, with [R]'s jumps back up.

    From every `jump_length`-th level, counted from the last above 0, up to `jump_length` below the
    first, it climbs back that many levels `jump_n_sample` - 1 times.

    >>> walk(4, jump_length=2, jump_n_sample=2)
    [0, 1, 2, 3, 1, 2, 3, 4]
    >>> walk(3, jump_length=1, jump_n_sample=3)
    [0, 1, 0, 1, 0, 1, 2, 1, 2, 1, 2, 3]
    """
    heights = range(0, num_steps - jump_length, jump_length)
    jumps = {num_steps - 1 - height: jump_n_sample - 1 for height in heights}
    path = [0]
    while path[-1] < num_steps:
        path.append(path[-1] + 1)
        if jumps.get(path[-1], 0):
            jumps[path[-1]] -= 1
            path.append(path[-1] - jump_length)
    return path
