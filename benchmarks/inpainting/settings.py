"""Every setting of the inpainting benchmark, with its unit and its default."""

import dataclasses
import math

from benchmarks.experiment.settings import ReferenceSettings, StrategySettings
from benchmarks.inpainting.masks import MASKS
from datamodules.landscapes import Landscapes
from datamodules.patches import PatchData
from patchcanvas.cli.keys import chosen
from patchcanvas.cli.settings import CachedRunSettings, validate_minimum
from patchcanvas.model import CanvasHeight

__all__ = ["CompletionSettings", "ImageSize", "InpaintingSettings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSize(CanvasHeight):
    """The size of the images.

    Args:
        width: Pixels from left to right; by default the height.
    """

    width: int | None = None


SQUARE = ImageSize()


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompletionSettings(ReferenceSettings, CachedRunSettings, StrategySettings):
    """What every benchmark shares that completes photographs.

    Args:
        data: Held-out images to complete: `landscapes` (procedural), `photos` with
            data.root=FOLDER, or the dotted path of a class of your own.
        canvas: Size of the images, in pixels.
        num_samples: Held-out images, the same ones for every row.
        budget: Pixels that the network may evaluate for each pixel of the canvas, backward passes
            included. Every row gets as many solver steps as stay within it, in place of
            solver.num_steps.
        gradient_weight: Evaluations that a backward pass counts for in the budget; about 1.1 by
            the clock.
        batch_size: Images completed at a time.
        pictures: Images of every row in the picture.
    """

    data: PatchData = dataclasses.field(default_factory=Landscapes)
    canvas: ImageSize = SQUARE
    num_samples: int = 64
    budget: float = 64.0
    gradient_weight: float = 1.0
    batch_size: int = 32
    pictures: int = 6

    def __post_init__(self) -> None:
        validate_minimum(
            self,
            ("num_samples", 3, "a standard error and a covariance need some"),
            ("num_reference", 2, "a covariance needs two crops"),
            ("batch_size", 1, "there is nothing to complete otherwise"),
            ("pictures", 1, "the picture needs one"),
        )
        if not 0 < self.budget < math.inf:
            raise ValueError(f"budget must be a finite number above 0, got {self.budget}.")
        if not 0 <= self.gradient_weight < math.inf:
            raise ValueError(
                f"gradient_weight must be a finite number of at least 0, got "
                f"{self.gradient_weight}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InpaintingSettings(CompletionSettings):
    """Held-out images of which a part is given, completed by every strategy at equal cost.

    Args:
        masks: What is given, several with commas between: `half` (the left half), `box` (all but
            a box in the middle of half the sides), `random_50`, `random_90` (all but so many
            percent of the pixels).
        pairs: Images that are completed twice, to see how far completions are apart.
    """

    strategy: str = "async_patch,replacement,reconstruction,lshape_repaint"
    masks: str = ",".join(MASKS)
    pairs: int = 16
    name: str = "inpainting"

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen("masks", self.masks, MASKS)
        validate_minimum(self, ("pairs", 2, "a standard error needs two"))
        if self.pairs > self.num_samples:
            raise ValueError(
                f"pairs must be at most num_samples={self.num_samples}, got {self.pairs}."
            )
