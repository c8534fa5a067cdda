"""Patch completion: three true quadrants of a block are given, the fourth is made.

References:
    [T] Trio Diffusion (v2), "Patch completion"
"""

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from backbones.contract import Backbone
from datamodules.patches import PatchData, Split
from denoisers.conditions import Conditions
from denoisers.contract import Image, Mask
from denoisers.precond import EDMPrecond
from sampling.noise import CanvasNoise, seed_of
from sampling.solvers import Solver
from strategies.canvas import Canvas, Known
from strategies.context import Place, edges_of
from strategies.lshape_repaint import LShapeRepaint

__all__ = ["Completion", "completion_error"]


@dataclasses.dataclass(frozen=True)
class Completion:
    """How far completed quadrants are from the true ones, images in [-1, 1].

    Args:
        pixels: Root mean square error of a pixel. Also of a perfect model it is not 0: quadrants
            may go on in many ways.
        colour: Root mean square error of a quadrant's mean colour.
    """

    pixels: float
    colour: float


class Blocks:
    """Tells each sample the one block that is its canvas where that lies in its own view.

    Args:
        conditions: One row a sample.
    """

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions

    def at(self, places: Sequence[Place], canvas: Canvas, seen: Known, known: Mask) -> Conditions:
        """Returns the rows as they are: there is one window, the canvas."""
        assert len(places) == 1, "a block is one window"
        return dataclasses.replace(self.conditions, known=known.all(1, keepdim=True).float())

    def __getitem__(self, samples: Tensor) -> "Blocks":
        return Blocks(self.conditions[samples])


@torch.no_grad()
def completion_error(
    denoiser: EDMPrecond,
    backbone: Backbone | None,
    data: PatchData,
    split: Split,
    *,
    view: tuple[int, int],
    count: int,
    solver: Solver,
    seed: int,
    device: torch.device | str = "cpu",
) -> Completion:
    """Completes the bottom right quadrant of one block of each of `count` views.

    The backbone is shown the whole view, as in training, the quadrant to be made included. Costs
    one window a view, on `device`, where the denoiser must be.
    """
    size = denoiser.patch_size
    half = size // 2
    views = data.crops(split, count, *view).to(device).float() / 127.5 - 1
    corners = block_corners(count, view, size, seed)
    x0 = torch.stack(
        [
            image[:, top : top + size, left : left + size]
            for image, (top, left) in zip(views, corners, strict=True)
        ]
    )
    mask = torch.ones(1, 1, size, size, dtype=torch.bool, device=device)
    mask[..., half:, half:] = False
    whole = Canvas(height=view[0], width=view[1])
    edges = [edges_of(Place(top, left, size, size), whole) for top, left in corners]
    conditions = Conditions(
        place=torch.tensor(edges, device=device),
        tokens=None if backbone is None else backbone.to(device)(views),
    )
    strategy = LShapeRepaint(solver=solver, jump_n_sample=1)
    noise = CanvasNoise(seed_of(seed, "completion", split), range(count), device=device)
    made = strategy.generate(
        denoiser,
        Canvas(height=size, width=size),
        noise,
        known=Known(x0, mask),
        context=Blocks(conditions),
    )
    return error_of(made[..., half:, half:], x0[..., half:, half:])


def block_corners(count: int, view: tuple[int, int], size: int, seed: int) -> list[tuple[int, int]]:
    """Returns where blocks lie: off the first row and column, where a view has more than one."""
    generator = Generator().manual_seed(seed_of(seed, "blocks"))
    tops, lefts = (
        torch.randint(
            min(1, length - size), length - size + 1, (count,), generator=generator
        ).tolist()
        for length in view
    )
    return list(zip(tops, lefts, strict=True))


def error_of(made: Image, true: Float[Tensor, "batch channels height width"]) -> Completion:
    """Returns the errors of pixels and of mean colours."""
    error = made - true
    return Completion(
        pixels=error.square().mean().sqrt().item(),
        colour=error.mean((2, 3)).square().mean().sqrt().item(),
    )
