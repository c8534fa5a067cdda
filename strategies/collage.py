"""A canvas denoiser as a weighted sum of window estimates.

Every parallel strategy is such a sum,

    x0_hat(canvas) = sum_r w_r * x0_hat_r,    sum_r w_r = 1 on every pixel,

and differs in its regions r and weights w_r alone. Since the weights sum to 1, the same sum holds
for eps = (x_t - x0_hat) / sigma and for the score, which is how the papers write it.
"""

import dataclasses
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from denoisers.contract import Denoiser, Image, Sigma
from strategies.windows import Regions

__all__ = ["Collage", "Weighted"]

Weight = Float[Tensor, "#regions 1 1 #height #width"]


@dataclasses.dataclass(frozen=True)
class Weighted:
    """Regions of one size with the weight of their estimates.

    Args:
        regions: Where they lie.
        weight: One number for all, or a map for each region.
    """

    regions: Regions
    weight: float | Weight


class Collage:
    """A `Denoiser` of canvases made from one of windows.

    One network call for each group of regions, whatever the size of the canvas, unless
    `max_batch` splits it.

    Args:
        denoiser: Denoises the windows.
        groups: The regions and their weights.
        height: Pixels of the canvas from top to bottom.
        width: Pixels of the canvas from left to right.
        max_batch: Most windows in one network call; None for no limit.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        groups: list[Weighted],
        *,
        height: int,
        width: int,
        max_batch: int | None = None,
    ) -> None:
        self.denoiser = denoiser
        self.groups = groups
        self.max_batch = max_batch
        total = total_weight(groups, height, width)
        # Sums of at most a few dozen weights near 1, in float32: 1e-5 is rounding.
        assert torch.allclose(total, torch.ones_like(total), atol=1e-5), "weights must sum to 1"

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        """Returns `x0_hat` of the canvas."""
        x0_hat = torch.zeros_like(x_t)
        for group in self.groups:
            estimates = self._estimates(x_t, sigma, context, group.regions) * group.weight
            for (rows, columns), estimate in zip(group.regions.slices, estimates, strict=True):
                x0_hat[..., rows, columns] += estimate
        return x0_hat

    def _estimates(
        self, x_t: Image, sigma: Sigma, context: Any, regions: Regions
    ) -> Float[Tensor, "regions batch channels height width"]:
        count, samples = len(regions.corners), len(x_t)
        patches = _cut(x_t, regions).flatten(0, 1)
        if sigma.shape[-2:] != (1, 1):
            sigma = _cut(sigma.expand(samples, *sigma.shape[1:]), regions).flatten(0, 1)
        elif len(sigma) > 1:
            sigma = sigma.repeat(count, 1, 1, 1)
        if context is not None:
            context = context.repeat(count, *[1] * (context.ndim - 1))
        estimates = [
            self.denoiser(
                patches[part],
                sigma if len(sigma) == 1 else sigma[part],
                None if context is None else context[part],
            )
            for part in _parts(len(patches), self.max_batch)
        ]
        return torch.cat(estimates).unflatten(0, (count, samples))


def total_weight(groups: list[Weighted], height: int, width: int) -> Float[Tensor, "height width"]:
    """Returns the sum of the weights on every pixel of the canvas."""
    total = torch.zeros(height, width)
    for group in groups:
        size = (len(group.regions.corners), group.regions.height, group.regions.width)
        weights = torch.as_tensor(group.weight).cpu()
        maps = (weights.flatten(1, 3) if weights.ndim else weights).expand(size)
        for (rows, columns), weight in zip(group.regions.slices, maps, strict=True):
            total[rows, columns] += weight
    return total


def _cut(image: Tensor, regions: Regions) -> Float[Tensor, "regions batch channels height width"]:
    return torch.stack([image[..., rows, columns] for rows, columns in regions.slices])


def _parts(count: int, size: int | None) -> list[slice]:
    step = size or count
    return [slice(start, start + step) for start in range(0, count, step)]
