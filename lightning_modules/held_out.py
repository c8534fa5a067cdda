"""Maps of levels that validation asks about: those that sampling visits, and independent ones."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from sampling.noise_levels.base import NoiseLevels

__all__ = ["held_out_maps"]

Maps = Float[Tensor, "maps 1 1 height width"]


def held_out_maps(
    noise_levels: NoiseLevels, height: int, width: int, sigmas: Sequence[float]
) -> dict[str, Maps]:
    """Returns maps of each kind, one for each of `sigmas`; the same ones at every call.

    `outpainting`: the left half is clean, the right half at sigma. `wavefront`: of four fronts
    one is clean, one is at a tenth of sigma, one at sigma, and one still waits at the highest
    level. `independent`: every region of a quarter of a side has a level of ordinary training.

    Args:
        noise_levels: Says which levels are ordinary, and which the highest.
        height: Of the maps, in pixels.
        width: Of the maps, in pixels.
        sigmas: Levels of validation.
    """
    levels = torch.tensor(sigmas).view(-1, 1, 1, 1, 1).expand(-1, 1, 1, height, width)
    column = torch.arange(width)
    outpainting = torch.where(column < width // 2, 0.0, levels)
    front = column * 4 // width
    waiting = torch.full_like(levels, noise_levels.sigma_max)
    descending = torch.where(front == 1, 0.1 * levels, levels)
    wavefront = torch.where(front == 0, 0.0, torch.where(front == 3, waiting, descending))
    corruption = torch.rand(len(levels), 1, 4, 4, generator=Generator().manual_seed(0))
    place = (torch.arange(height) * 4 // height)[:, None], front
    independent = noise_levels.sigma_of(corruption.clamp(min=1e-6))[..., place[0], place[1]]
    return {
        "outpainting": outpainting,
        "wavefront": wavefront,
        "independent": independent[:, None],
    }
