"""How certain a denoiser is of the regions of a window, and what can be made of it.

The certainty of a region is its mean posterior variance over the pixels that are to be made,
E[(x0 - x0_hat)^2 | x_t], at whatever levels the window then has: less is more certain.

References:
    [PF] Schusterbauer, Gui, Li, Ma, Krause, Ommer: Denoising, Fast and Slow: Difficulty-Aware
    Adaptive Sampling for Image Generation, 2026. arXiv:2604.19141
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from denoisers.contract import Denoiser, Image, Mask, Sigma, UncertainDenoiser, Variance

__all__ = ["LookingAhead", "Noticing", "Regions", "first_ones", "part_of", "resolved"]

# Variances are compared in steps of this: a denoiser knows its own no better. What differs by
# rounding alone, as on either side of a symmetry, then hardly ever decides; it still does where a
# step's boundary lies between the two.
RESOLUTION = 1e-3

PerRegion = Int64[Tensor, "samples regions"]


class Regions:
    """The squares of a window, from left to right and from top to bottom.

    Args:
        known: True for the pixels that are known.
        side: Of the squares, in pixels; those at the right and at the bottom may be smaller.
        fronts: How far away each pixel is from what is known, in any unit.

    Attributes:
        active: Which squares have pixels to make; of a window that has none, all.
        nearness: The least distance in each square, on the CPU; lower is nearer.
    """

    def __init__(
        self, known: Mask, side: int, fronts: Int64[Tensor, "samples 1 rows columns"]
    ) -> None:
        self.side = side
        self.size = known.shape[-2:]
        # A window that is known all over goes down like any other, for its batch's sake.
        self.unknown = ~known | known.all(-1, keepdim=True).all(-2, keepdim=True)
        self._unknown = self.unknown.cpu()  # noise schedules are made there
        self.counts = self._sums(self.unknown.float())
        self.active: Bool[Tensor, "samples regions"] = (self.counts > 0).cpu()
        near = torch.where(self.unknown, -fronts, -fronts.max() - 1).float()
        padded = F.pad(near, self._margins(), value=-torch.inf)
        self.nearness: PerRegion = -F.max_pool2d(padded, side).flatten(1).long().cpu()

    def means(self, values: Variance) -> Float[Tensor, "samples regions"]:
        """Returns the means over the unknown pixels of each square; 0 where there are none."""
        return self._sums(values.where(self.unknown, 0.0)) / self.counts.clamp(min=1)

    def spread(self, values: Tensor) -> Tensor:
        """Returns a map of what each square has."""
        rows, columns = (-(-length // self.side) for length in self.size)
        grid = values.view(len(values), 1, rows, columns)
        grid = grid.repeat_interleave(self.side, -2).repeat_interleave(self.side, -1)
        return grid[..., : self.size[0], : self.size[1]]

    def map(
        self, sigmas: Float[Tensor, " levels"], places: PerRegion
    ) -> Float[Tensor, "samples 1 rows columns"]:
        """Returns the levels of a window whose squares are so many levels down the noise schedule.

        Known pixels are at the highest level there is: guidance shows them to its weak branch so.
        """
        highest = places.where(self.active, len(sigmas) - 1).amin(1).view(-1, 1, 1, 1)
        return sigmas[torch.where(self._unknown, self.spread(places), highest)]

    def _margins(self) -> tuple[int, int, int, int]:
        height, width = self.size
        return 0, -width % self.side, 0, -height % self.side

    def _sums(self, values: Float[Tensor, "samples 1 rows columns"]) -> Tensor:
        """Pooled, not scattered: what a region gets must not depend on the order of additions."""
        pooled = F.avg_pool2d(F.pad(values, self._margins()), self.side, divisor_override=1)
        return pooled.flatten(1)


class Noticing:
    """Hands a denoiser's estimates on and keeps their variances.

    Args:
        denoiser: Says how far off it is.

    Attributes:
        heard: The variances of all evaluations since somebody cleared this.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = cast(UncertainDenoiser, denoiser)
        self.heard: list[Variance] = []

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        """Returns `x0_hat`."""
        x0_hat, variance = self.denoiser.with_variance(x_t, sigma, context)
        self.heard.append(variance)
        return x0_hat


class LookingAhead:
    """Shows uncertain regions where the certain ones are going ([PF] look-ahead).

    The most certain regions, floor(`share` n) of the n that are still noisy but at least one of two
    or more, are carried to (1 - `ahead`) of their level along the line to their estimate,

        x_ahead = x0_hat + (1 - ahead) (x_t - x0_hat),

    and the uncertain ones take a second estimate, made with these as their neighbours; certain
    regions keep the first. Two evaluations for each. The variance is that of the first.

    A guess, not a theorem: x_ahead comes out of x_t and tells nothing that x_t did not, but is
    taken for a measurement of its own at a lower level. No exact denoiser gains by it.

    Args:
        denoiser: Says how far off it is.
        regions: What is certain, or is not, together.
        share: Share of the regions that are certain.
        ahead: Share of the way to level 0, in (0, 1]; 1 takes the estimate for the image.
    """

    estimates_variance = True

    def __init__(self, denoiser: Denoiser, regions: Regions, *, share: float, ahead: float) -> None:
        self.denoiser = cast(UncertainDenoiser, denoiser)
        self.regions, self.share, self.ahead = regions, share, ahead

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        """Returns `x0_hat`."""
        return self.with_variance(x_t, sigma, context)[0]

    def with_variance(
        self, x_t: Image, sigma: Sigma, context: Any = None
    ) -> tuple[Image, Variance]:
        """Returns `x0_hat`, and the variance of the first estimate."""
        x0_hat, variance = self.denoiser.with_variance(x_t, sigma, context)
        certain = self._certain(variance, sigma.expand(len(x_t), 1, *x_t.shape[-2:]))
        left = 1 - self.ahead
        x_ahead = torch.where(certain, x0_hat + left * (x_t - x0_hat), x_t)
        second = self.denoiser(x_ahead, torch.where(certain, left * sigma, sigma), context)
        return x0_hat.where(certain, second), variance

    def _certain(self, variance: Variance, sigma: Sigma) -> Mask:
        """Returns the unknown pixels of the regions that are certain, among those with noise."""
        regions = self.regions
        noisy = regions.means(sigma) > 0
        count = part_of(noisy.sum(1), self.share)
        nearness = regions.nearness.to(variance.device)
        chosen = first_ones(count, (~noisy).long(), resolved(regions.means(variance)), nearness)
        return regions.spread(chosen) & regions.unknown


def resolved(variances: Float[Tensor, "samples regions"]) -> PerRegion:
    """Returns whole numbers in the order of the variances, steps of `RESOLUTION` of a logarithm.

    Two that differ by a relative d are told apart with probability d / `RESOLUTION`, wherever the
    boundary between two steps lies: 1e-4 of pairs for what float32 rounds, most for bfloat16.
    """
    tiny = torch.finfo(torch.float32).tiny
    return (variances.float().clamp(min=tiny).log() / RESOLUTION).round().long()


def part_of(count: Int64[Tensor, " samples"], share: float) -> Int64[Tensor, " samples"]:
    """Returns floor(`share` `count`), but at least 1 of 2 or more.

    A whole number stays one whatever its rounding. Of one region none is part.
    """
    part = (share * count + 1e-4).floor().long()
    return part.clamp(min=1).where(count > 1, 0)


def first_ones(
    count: Int64[Tensor, " samples"], *keys: PerRegion
) -> Bool[Tensor, "samples regions"]:
    """Returns True for the `count` regions that come first by these keys, the first one leading.

    Where all keys are the same the region further left, or above, comes first.
    """
    order = torch.arange(keys[0].shape[1], device=keys[0].device).expand_as(keys[0])
    for key in reversed(keys):
        order = order.gather(1, key.gather(1, order).argsort(dim=1, stable=True))
    return order.argsort(1) < count[:, None]
