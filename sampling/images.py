"""The one place where images in [-1, 1] become bytes."""

import torch
from jaxtyping import UInt8
from torch import Tensor

from denoisers.contract import Image

__all__ = ["to_uint8"]


def to_uint8(image: Image) -> UInt8[Tensor, "batch channels height width"]:
    """Rounds to the nearest of 256 levels; what lies outside [-1, 1] is clipped.

    >>> to_uint8(torch.tensor([-2.0, -1.0, 0.0, 1.0]).view(1, 1, 1, 4)).flatten().tolist()
    [0, 0, 128, 255]
    """
    return image.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
