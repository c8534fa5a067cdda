"""Which pixels of a photograph are given."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Bool
from torch import Tensor

from sampling.noise import seed_of

__all__ = ["MASKS", "MaskName", "different_masks", "known_pixels"]

MaskName = Literal["half", "box", "random_50", "random_90"]
MASKS: tuple[MaskName, ...] = get_args(MaskName)
UNKNOWN_PERCENT = {"random_50": 50, "random_90": 90}
# Images of one mask are one batch, and those of different masks are not.
SHARED = 32


def known_pixels(
    name: MaskName, height: int, width: int, *, indices: Sequence[int], seed: int
) -> Bool[Tensor, "samples 1 height width"]:
    """Returns which pixels are known, for every image.

    `half`: the left half. `box`: all but a box in the middle, half as high and half as wide.
    `random_50`, `random_90`: all but exactly so many percent of the pixels, chosen at random; 32
    successive images share a choice, which is a function of the seed and their numbers.

    Raises:
        ValueError: If nothing would be known, or everything.
    """
    if name in UNKNOWN_PERCENT:
        known = torch.stack([_at_random(name, height, width, index, seed) for index in indices])
    else:
        known = _in_place(name, height, width).repeat(len(indices), 1, 1, 1)
    if known.all() or not known.any():
        raise ValueError(
            f"mask {name} must leave something to make and something to go by, which it does not "
            f"on {height} x {width} px."
        )
    return known


def different_masks(
    name: MaskName, height: int, width: int, *, count: int, seed: int
) -> Bool[Tensor, "masks 1 height width"]:
    """Returns the masks that so many images have, each once.

    Raises:
        ValueError: If nothing would be known, or everything.
    """
    indices = range(0, count, SHARED) if name in UNKNOWN_PERCENT else [0]
    return known_pixels(name, height, width, indices=indices, seed=seed)


def _in_place(name: str, height: int, width: int) -> Bool[Tensor, "1 height width"]:
    known = torch.zeros(1, height, width, dtype=torch.bool)
    if name == "half":
        known[..., : width // 2] = True
        return known
    high, wide = height // 2, width // 2
    top, left = (height - high) // 2, (width - wide) // 2
    known[:, top : top + high, left : left + wide] = True
    return ~known


def _at_random(
    name: str, height: int, width: int, index: int, seed: int
) -> Bool[Tensor, "1 height width"]:
    generator = torch.Generator().manual_seed(seed_of(seed, "mask", name, index // SHARED))
    unknown = round(UNKNOWN_PERCENT[name] / 100 * height * width)
    known = torch.randperm(height * width, generator=generator) >= unknown
    return known.view(1, height, width)
