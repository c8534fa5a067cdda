"""What a map of levels is summed up by, and how far training is from sampling."""

import torch
from jaxtyping import Float64
from torch import Generator, Tensor

from sampling.noise_levels.base import NoiseLevels

__all__ = ["FIGURES", "figures_of", "seen_share", "trained_maps"]

FIGURES = ("mean", "spread", "cleanest", "noisiest")
ALIKE = 0.1
RARE = 1e-2

Figures = Float64[Tensor, "maps figures"]


def figures_of(levels: NoiseLevels, sigma: Tensor) -> Figures:
    """Returns mean, standard deviation, least and highest corruption of each map, all in [0, 1].

    Args:
        levels: Says which corruption a level is.
        sigma: (maps, 1, height, width), or one level a map.
    """
    corruption = levels.corruption_of(sigma.double()).flatten(1)
    return torch.stack(
        [
            corruption.mean(1),
            corruption.std(1, correction=0),
            corruption.amin(1),
            corruption.amax(1),
        ],
        dim=1,
    )


def trained_maps(
    levels: NoiseLevels, count: int, *, patch_size: int = 32, seed: int = 0
) -> Figures:
    """Returns the figures of `count` samples of patches, 16 to a batch."""
    generator = Generator().manual_seed(seed)
    drawn = [
        figures_of(levels, levels.draw(16, patch_size, patch_size, generator=generator).sigma)
        for _ in range(-(-count // 16))
    ]
    return torch.cat(drawn)[:count]


def seen_share(
    visited: Float64[Tensor, "visits figures"], trained: Float64[Tensor, "samples figures"]
) -> float:
    """Returns the share of visited maps the like of which training shows.

    Alike are maps whose figures all differ by at most `ALIKE`; shown is what at least `RARE` of
    the trained maps are like.
    """
    near = [((trained - figures).abs().amax(1) <= ALIKE).double().mean() for figures in visited]
    return (torch.stack(near) >= RARE).double().mean().item()
