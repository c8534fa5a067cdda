"""The texture of one half of an image against that of the other."""

from jaxtyping import UInt8
from torch import Tensor

from benchmarks.inpainting.figures import mean_figure
from benchmarks.inpainting.records import Figure
from benchmarks.metrics.texture import (
    colour_distance,
    colour_spread_distance,
    log_ratio,
    textures,
)

__all__ = ["halves_compared", "signed", "unsigned"]


def signed(name: str) -> str:
    """Returns the name of a mean log ratio: above 0 the generated half has more."""
    return f"{name} ratio"


def unsigned(name: str) -> str:
    """Returns the name of a mean distance, whichever half has more."""
    return f"{name} distance"


def halves_compared(
    images: UInt8[Tensor, "samples channels height width"],
) -> dict[str, Figure]:
    """Returns how the right half's texture differs from the left one's, mean over images.

    Of every statistic the mean of log2(right / left) and that of its absolute value; of colours
    the mean distances, in grey levels.
    """
    given, made = images.double().chunk(2, dim=-1)
    figures, known = {}, textures(given)
    for name, values in textures(made).items():
        ratios = log_ratio(values, known[name])
        figures[signed(name)] = mean_figure(ratios)
        figures[unsigned(name)] = mean_figure(ratios.abs())
    figures[unsigned("colour")] = mean_figure(colour_distance(made, given))
    figures[unsigned("colour spread")] = mean_figure(colour_spread_distance(made, given))
    return figures
