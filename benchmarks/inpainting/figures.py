"""How far completions are from the photographs, and from each other."""

import math

from jaxtyping import Bool, Float64, UInt8
from torch import Tensor

from benchmarks.inpainting.records import Figure

__all__ = ["diversity_figure", "mean_figure", "psnr", "squared_errors"]

Pictures = UInt8[Tensor, "samples channels height width"]
Values = Float64[Tensor, " samples"]

PEAK = 255.0
ROUNDING = 1 / 12  # variance of rounding to whole grey levels: nothing is known better than that


def squared_errors(
    images: Pictures, originals: Pictures, unknown: Bool[Tensor, "samples 1 height width"]
) -> Values:
    """Returns the mean square difference over the unknown pixels of every image, in grey levels."""
    squares = (images.double() - originals.double()).square()
    channels = images.shape[1]
    return squares.where(unknown, 0.0).sum((1, 2, 3)) / (channels * unknown.sum((1, 2, 3)))


def psnr(errors: Values) -> Values:
    """Returns 10 log10(255^2 / error), in dB; an error below that of rounding counts as that.

    So it is at most 58.9 dB, where a plain sky that is completed to the bit would be infinite.
    """
    return 10 * (PEAK**2 / errors.clamp(min=ROUNDING)).log10()


def mean_figure(values: Values) -> Figure:
    """Returns the mean over images and its standard error."""
    return Figure(values.mean().item(), values.std().item() / math.sqrt(len(values)))


def diversity_figure(between: Values, errors: Values) -> Figure:
    """Returns how far two completions are apart over how far they are from the photograph.

    mean(between) / mean(errors), of mean squares. Samples of the true conditional distribution
    are as far from each other as from the photograph, which is a sample too: 1. Completions that
    are all alike have 0; above 1 they differ more than photographs with these pixels would.

    The standard error is that of a ratio of means, to first order.
    """
    ratio = (between.mean() / errors.mean().clamp(min=ROUNDING)).item()
    residuals = (between - ratio * errors) / errors.mean().clamp(min=ROUNDING)
    return Figure(ratio, (residuals.square().mean() / (len(errors) - 1)).sqrt().item())
