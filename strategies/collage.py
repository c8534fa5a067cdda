"""A canvas denoiser as a weighted sum of window estimates.

Every parallel strategy is such a sum,

    x0_hat(canvas) = sum_r w_r * x0_hat_r,    sum_r w_r = 1 on every pixel,

and differs in its regions r and weights w_r alone. Since the weights sum to 1, the same sum holds
for eps = (x_t - x0_hat) / sigma and for the score, which is how the papers write it.

Regions may reach over an edge where the canvas wraps. They are cut from the canvas unrolled as far
as they reach, and what is added out there is folded back: the same sums in the same order every
time, and where nothing wraps neither copy nor sum.
"""

import copy
import dataclasses
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Shaped
from torch import Tensor

from denoisers.contract import Denoiser, Image, Sigma
from strategies.batching import limited
from strategies.canvas import Canvas
from strategies.context import RegionContext
from strategies.windows import Regions

__all__ = ["Collage", "Weighted", "cut", "folded", "total_weight", "unrolled"]

Weight = Float64[Tensor, "#regions 1 1 #height #width"]
Asked = Bool[Tensor, "_ #samples"]  # by region of a group


@dataclasses.dataclass(frozen=True)
class Weighted:
    """Regions of one size with the weight of their estimates.

    Args:
        regions: Where they lie.
        weight: One number for all, or a map for each region; maps are float64, so that they sum
            to 1 in whatever precision the canvas has.
    """

    regions: Regions
    weight: float | Weight

    def only(self, kept: Bool[Tensor, " regions"]) -> "Weighted":
        """Returns some of the regions, at least one of them."""
        weight = self.weight
        if isinstance(weight, Tensor) and len(weight) > 1:
            weight = weight[kept]
        return Weighted(self.regions.only(kept.nonzero()[:, 0].tolist()), weight)


class Collage:
    """A `Denoiser` of canvases made from one of windows.

    One network call for each group of regions, whatever the size of the canvas, unless
    `max_batch` splits it.

    Args:
        denoiser: Denoises the windows.
        groups: The regions and their weights.
        canvas: The size of what is denoised, and which of its edges the regions may reach over.
        max_batch: Most windows in one network call, those of all samples together; None for no
            limit.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        groups: list[Weighted],
        canvas: Canvas,
        *,
        max_batch: int | None = None,
    ) -> None:
        self.denoiser = limited(denoiser, max_batch)
        self.groups = groups
        self.canvas = canvas
        self._asked: list[Asked | None] = [None] * len(groups)
        self._moved: dict[tuple[torch.device, torch.dtype], list[float | Tensor]] = {}
        total = total_weight(groups, canvas)
        # Float64 leaves about 1e-13 on a sum of a thousand weights; a pixel missed leaves 1.
        assert torch.allclose(total, torch.ones_like(total), atol=1e-9), "weights must sum to 1"

    def asking(self, asked: list[Asked]) -> "Collage":
        """Returns the same that asks about some windows alone.

        Pixels in one of the others have an estimate of no meaning.

        Args:
            asked: For every group, which of its regions are asked about, for all samples alike or
                for each of them.
        """
        chosen = [
            (group.only(kept), rows[kept])
            for group, rows in zip(self.groups, asked, strict=True)
            if (kept := rows.any(1)).any()
        ]
        some = copy.copy(self)
        some.groups = [group for group, _ in chosen]
        some._asked = [None if rows.all() else rows for _, rows in chosen]
        some._moved = {}
        return some

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        """Returns `x0_hat` of the canvas; a tensor as `context` has one row a sample."""
        assert x_t.shape[-2:] == (self.canvas.height, self.canvas.width), "not this canvas"
        x0_hat = x_t.new_zeros(*x_t.shape[:2], *_unrolled_size(self.groups, self.canvas))
        for group, asked, weight in zip(
            self.groups, self._asked, self._weights_like(x_t), strict=True
        ):
            estimates = self._estimates(x_t, sigma, context, group.regions, asked) * weight
            for (rows, columns), estimate in zip(group.regions.slices, estimates, strict=True):
                x0_hat[..., rows, columns] += estimate
        return folded(x0_hat, self.canvas)

    def _weights_like(self, image: Image) -> list[float | Tensor]:
        """Returns the weights on the image's device, moved there once and not at every level."""
        key = image.device, image.dtype
        if key not in self._moved:
            weights = [group.weight for group in self.groups]
            self._moved[key] = [w.to(*key) if isinstance(w, Tensor) else w for w in weights]
        return self._moved[key]

    def _estimates(
        self,
        x_t: Image,
        sigma: Sigma,
        context: Any,
        regions: Regions,
        asked: Asked | None,
    ) -> Float[Tensor, "regions batch channels rows columns"]:
        count, samples = len(regions.corners), len(x_t)
        patches = cut(x_t, regions).flatten(0, 1)
        if sigma.shape[-2:] != (1, 1):
            sigma = cut(sigma.expand(samples, 1, *x_t.shape[-2:]), regions).flatten(0, 1)
        elif len(sigma) > 1:
            sigma = sigma.repeat(count, 1, 1, 1)
        if isinstance(context, RegionContext):
            context = context.rows(regions)
        elif context is not None:
            context = context.repeat(count, *[1] * (context.ndim - 1))
        estimates = self._asked_about(patches, sigma, context, asked)
        return estimates.unflatten(0, (count, samples))

    def _asked_about(
        self, patches: Image, sigma: Sigma, context: Any, asked: Asked | None
    ) -> Image:
        """Returns estimates of the windows that are asked about, and 0 for the others."""
        if asked is None:
            return self.denoiser(patches, sigma, context)
        rows = asked.flatten().to(patches.device)
        estimates = torch.zeros_like(patches)
        estimates[rows] = self.denoiser(
            patches[rows],
            sigma if len(sigma) == 1 else sigma[rows],
            None if context is None else context[rows],
        )
        return estimates


def total_weight(groups: list[Weighted], canvas: Canvas) -> Float64[Tensor, "height width"]:
    """Returns the sum of the weights on every pixel of the canvas."""
    total = torch.zeros(*_unrolled_size(groups, canvas), dtype=torch.float64)
    for group in groups:
        regions = group.regions
        weight = torch.as_tensor(group.weight, dtype=torch.float64)
        maps = weight.expand(len(regions.corners), 1, 1, regions.height, regions.width)
        for (rows, columns), share in zip(regions.slices, maps[:, 0, 0], strict=True):
            total[rows, columns] += share
    return folded(total, canvas)


def cut(image: Tensor, regions: Regions) -> Shaped[Tensor, "regions batch ... height width"]:
    """Returns the regions of an image, modulo its size."""
    image = unrolled(image, *regions.reach)
    return torch.stack([image[..., rows, columns] for rows, columns in regions.slices])


def _unrolled_size(groups: list[Weighted], canvas: Canvas) -> tuple[int, int]:
    """Returns the height and width of the canvas, extended as far as the regions reach."""
    reaches = [group.regions.reach for group in groups]
    height = max([canvas.height, *(bottom for bottom, _ in reaches)])
    width = max([canvas.width, *(right for _, right in reaches)])
    assert height == canvas.height or canvas.wrap_height, "regions must lie on the canvas"
    assert width == canvas.width or canvas.wrap_width, "regions must lie on the canvas"
    return height, width


def unrolled(image: Tensor, height: int, width: int) -> Tensor:
    """Returns the image, continued with its own beginning up to that size if it is smaller."""
    for axis, size in ((-2, height), (-1, width)):
        copies = -(-size // image.shape[axis])
        if copies > 1:
            image = torch.cat([image] * copies, axis).narrow(axis, 0, size)
    return image


def folded(image: Tensor, canvas: Canvas) -> Tensor:
    """Adds what lies beyond the canvas to where it belongs, and returns the canvas."""
    for axis, length in ((-2, canvas.height), (-1, canvas.width)):
        beyond = image.shape[axis]
        for start in range(length, beyond, length):
            part = image.narrow(axis, start, min(length, beyond - start))
            image.narrow(axis, 0, part.shape[axis]).add_(part)
        image = image.narrow(axis, 0, length)
    return image
