"""One random square of every canvas: what FID+ compares (DiffCollage, Sec. 5.1)."""

from jaxtyping import Int64, UInt8
from torch import Tensor

from sampling.noise import seed_of

__all__ = ["square_crops"]


def square_crops(
    canvases: UInt8[Tensor, "n 3 height width"],
    indices: Int64[Tensor, " n"],
    *,
    seed: int,
    side: int | None = None,
) -> UInt8[Tensor, "n 3 side side"]:
    """Returns one square of each canvas, at a place that is its sample index's.

    The place is a function of (seed, sample index): neither the batch nor the process plays a
    part. A square canvas is its own crop, and FID+ is then plain FID.

    Args:
        canvases: What is cut.
        indices: Their sample indices.
        seed: Seeds the places.
        side: Of the squares, in pixels; None for the largest that fit.
    """
    height, width = canvases.shape[-2:]
    side = side or min(height, width)
    crops = canvases.new_empty(len(canvases), 3, side, side)
    for crop, canvas, index in zip(crops, canvases, indices.tolist(), strict=True):
        top = seed_of(seed, index, "crop top") % (height - side + 1)
        left = seed_of(seed, index, "crop left") % (width - side + 1)
        crop.copy_(canvas[:, top : top + side, left : left + side])
    return crops
