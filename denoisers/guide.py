"""Coarse pictures of a canvas: guides of its windows, and what a backbone sees of it.

All of them know which pixels are there. What is not yet painted is never black or grey paint.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from denoisers.contract import Image, Mask

__all__ = ["blurred", "coarse_guide", "filled", "guide_from_plan", "pooled"]

Share = Float[Tensor, "batch 1 height width"]
Cells = Float[Tensor, "batch channels rows columns"]
Wraps = tuple[bool, bool]

NOWHERE: Wraps = (False, False)


def pooled(
    image: Image, mask: Mask, scale: tuple[int, int]
) -> tuple[Float[Tensor, "batch channels rows columns"], Float[Tensor, "#batch 1 rows columns"]]:
    """Returns the mean over the known pixels of every cell, and which share of it is known.

    Args:
        image: Of any size; cells at the right and at the bottom may be smaller.
        mask: True where a pixel is known.
        scale: Height and width of a cell, in pixels.
    """
    weight = mask.all(1, keepdim=True).to(image.dtype)
    margins = (0, -image.shape[-1] % scale[1], 0, -image.shape[-2] % scale[0])
    inside = F.avg_pool2d(F.pad(weight.new_ones(1, 1, *image.shape[-2:]), margins), scale)
    # Where nothing is known an image may hold anything, even what is not finite.
    seen = image.where(weight > 0, 0.0)
    total = F.avg_pool2d(F.pad(seen, margins), scale)
    share = F.avg_pool2d(F.pad(weight, margins), scale)
    return total / share.clamp(min=1e-6), share / inside


def coarse_guide(
    image: Image, mask: Mask, scale: tuple[int, int], *, wraps: Wraps = NOWHERE
) -> tuple[Image, Share]:
    """Returns a picture as a plan of that scale would show it, and how much it says.

    The plan's colours are interpolated between cells, each weighted by the share that is known;
    where an axis wraps, and is a whole number of cells, over its edge too.
    """
    means, share = pooled(image, mask, scale)
    share = share.expand(len(means), -1, -1, -1)
    size = image.shape[-2:]
    guided = _enlarged(share, scale, size, wraps)
    guide = _enlarged(means * share, scale, size, wraps) / guided.clamp(min=1e-6)
    return guide.where(guided > 0, 0.0), guided


def guide_from_plan(
    plan: Cells, scale: tuple[int, int], size: tuple[int, ...], *, wraps: Wraps = NOWHERE
) -> Image:
    """Returns a plan, of which a pixel is a cell of `scale` px, enlarged to `size`.

    Raises:
        ValueError: If the plan covers less than that.
    """
    covered = tuple(length * side for length, side in zip(plan.shape[-2:], scale, strict=True))
    if covered[0] < size[0] or covered[1] < size[1]:
        raise ValueError(
            f"a plan must cover the canvas of {size[0]} x {size[1]} px, got one of "
            f"{covered[0]} x {covered[1]} px."
        )
    return _enlarged(plan, scale, size, wraps)


def blurred(image: Image, blur: float) -> Image:
    """Returns the image under a Gaussian of `blur` px; beyond its edge it is mirrored."""
    # Here, for it takes a second to import, and few denoisers are guided by blurred images.
    from torchvision.transforms.functional import gaussian_blur

    # A mirror holds no more than the image, less one line.
    sides = [2 * min(int(3 * blur + 0.5), length - 1) + 1 for length in image.shape[-2:]]
    # One axis after the other: the library's kernel for both at once costs their product.
    down = gaussian_blur(image, [1, sides[0]], [blur, blur])
    return gaussian_blur(down, [sides[1], 1], [blur, blur])


def filled(image: Image, mask: Mask) -> Image:
    """Returns the image with the mean of its known pixels where none is known.

    A backbone knows no masks: of all colours this one says least that is not so. An image of which
    nothing is known comes back as 0.
    """
    weight = mask.all(1, keepdim=True).to(image.dtype)
    seen = image.where(weight > 0, 0.0)
    count = weight.expand(len(image), -1, -1, -1).sum((2, 3), keepdim=True)
    mean = seen.sum((2, 3), keepdim=True) / count.clamp(min=1)
    return seen.where(weight > 0, mean)


def _enlarged(cells: Tensor, scale: tuple[int, int], size: tuple[int, ...], wraps: Wraps) -> Tensor:
    starts = [0, 0]
    for axis in (0, 1):
        if wraps[axis] and cells.shape[axis - 2] * scale[axis] == size[axis]:
            ends = cells.narrow(axis - 2, -1, 1), cells.narrow(axis - 2, 0, 1)
            cells = torch.cat([ends[0], cells, ends[1]], axis - 2)
            starts[axis] = scale[axis]
    whole = [length * side for length, side in zip(cells.shape[-2:], scale, strict=True)]
    enlarged = F.interpolate(cells, size=whole, mode="bilinear", align_corners=False)
    top, left = starts
    return enlarged[..., top : top + size[0], left : left + size[1]]
