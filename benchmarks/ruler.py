"""The ruler: every strategy's canvases against the same real crops, at the same places."""

import dataclasses
import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from benchmarks.features import FeatureNetwork
from benchmarks.frechet import frechet_with_interval
from benchmarks.records import Estimate
from benchmarks.seams import colour_drift, seam_ratio
from datamodules.patches import PatchData
from sampling.noise import seed_of
from strategies.canvas import Borders, Canvas

__all__ = ["Ruler", "drift_distance"]

Canvases = UInt8[Tensor, "samples 3 height width"]
# Real canvases for seams and drift: their bootstrap standard errors are then 0.007 of a seam ratio
# of 1, and 4 to 5 % of the drift, on landscapes and on photographs.
LONG_CROPS = 256


@dataclasses.dataclass(frozen=True)
class Ruler:
    """Measures canvases of one size against real images.

    Args:
        features: The network behind FID+.
        reference: Its features of the real square crops.
        long_crops: Real crops of the canvas's size; None where no image is large enough.
        why_no_long_crops: The reason, in that case.
        strip: Width of the strips whose colours are compared, in pixels.
        seed: Seeds the places of the crops and the resampling.
    """

    features: FeatureNetwork
    reference: Float[Tensor, "crops dimensions"]
    long_crops: Canvases | None
    why_no_long_crops: str | None
    strip: int
    seed: int

    @classmethod
    def of(
        cls,
        data: PatchData,
        features: FeatureNetwork,
        canvas: Canvas,
        *,
        num_reference: int,
        strip: int,
        seed: int,
    ) -> "Ruler":
        """Takes the reference from the data's `test` split."""
        side = min(canvas.height, canvas.width)
        reference = features(data.crops("test", num_reference, side, side))
        try:
            long_crops = data.crops("test", LONG_CROPS, canvas.height, canvas.width)
        except ValueError as error:
            return cls(features, reference, None, str(error), strip, seed)
        return cls(features, reference, long_crops, None, strip, seed)

    def fid_plus(self, canvases: Canvases) -> Estimate:
        """Frechet distance of one random square crop a canvas (DiffCollage, Sec. 5.1)."""
        crops = square_crops(canvases, self.seed)
        return Estimate(
            *frechet_with_interval(self.features(crops), self.reference, seed=self.seed)
        )

    def seams(self, canvases: Canvases | None, borders: Borders) -> float | None:
        """Seam ratio; None without canvases or borders, or where only borders have steps."""
        if canvases is None or not (borders.rows or borders.columns):
            return None
        ratio = seam_ratio(canvases, columns=list(borders.columns), rows=list(borders.rows))
        return ratio if math.isfinite(ratio) else None

    def drift(self, canvases: Canvases | None) -> float | None:
        """Colour drift over `drift_distance`; None without canvases or on short ones."""
        distance = None if canvases is None else drift_distance(canvases.shape[-1], self.strip)
        if canvases is None or distance is None:
            return None
        return colour_drift(canvases, size=self.strip, distance=distance)


def drift_distance(width: int, strip: int) -> int | None:
    """Returns the pixels over which drift is measured: four strips, or None if they do not fit.

    >>> drift_distance(192, strip=32), drift_distance(128, strip=32)
    (128, None)
    """
    return 4 * strip if width >= 5 * strip else None


def square_crops(canvases: Canvases, seed: int) -> UInt8[Tensor, "samples 3 side side"]:
    """Returns one square of each canvas, as large as fits, at a place that is its number's."""
    height, width = canvases.shape[-2:]
    side = min(height, width)
    crops = []
    for index, canvas in enumerate(canvases):
        top = seed_of(seed, index, "crop top") % (height - side + 1)
        left = seed_of(seed, index, "crop left") % (width - side + 1)
        crops.append(canvas[:, top : top + side, left : left + side])
    return torch.stack(crops)
