"""Every setting of the inpainting benchmark, with its unit and its default."""

import dataclasses
import difflib
import math
from pathlib import Path
from typing import Literal, TypeVar

from benchmarks.inpainting.masks import MASKS
from datamodules.landscapes import Landscapes
from datamodules.patches import PatchData
from patchcanvas.bundled import LANDSCAPES
from patchcanvas.cli.settings import DEFAULT_SOLVER
from patchcanvas.environment import Precision
from sampling.solvers import Solver

__all__ = ["CompletionSettings", "InpaintingSettings", "chosen", "validate_minimum"]

Name = TypeVar("Name", bound=str)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompletionSettings:
    """What every benchmark shares that completes photographs.

    Args:
        denoiser: The shared denoiser: `landscapes` or another that comes with the package, a
            .safetensors file with its .json beside it, or hub:OWNER/NAME/FILE.safetensors.
        data: Held-out images to complete: `landscapes` (procedural), `photos` with
            data.root=FOLDER, or the dotted path of a class of your own.
        height: Pixels from top to bottom; by default the denoiser's patch size.
        width: Pixels from left to right; by default the height.
        num_samples: Held-out images, the same ones for every row.
        num_reference: Other crops of held-out images that the Frechet distance compares with.
        budget: Pixels that the network may evaluate for each pixel of the canvas, backward passes
            included. Every row gets as many solver steps as stay within it.
        gradient_weight: Evaluations that a backward pass counts for in the budget; about 1.1 by
            the clock.
        batch_size: Images completed at a time.
        seed: Seeds the noise, random masks and the places of square crops.
        solver: The way from noise to image, the same for every row: `heun`, `euler`, or a class
            path; its own settings are solver.churn and so on. Its steps follow from the budget.
        features: Network behind the Frechet distance: `random_conv` needs no weights; `inception`
            is the field's and needs a download or features_weights.
        features_weights: Local file with the weights of `inception`.
        device: `auto` (CUDA, else MPS, else CPU), cpu, cuda, cuda:N or mps.
        precision: What the network computes in: fp32, bf16 or fp16.
        pictures: Images of every row in the picture.
        results: Folder of the runs; each gets a folder of its own in there.
        cache: Folder of what runs share: features of reference crops; by default `cache` in that
            of the results.
    """

    denoiser: str = LANDSCAPES
    data: PatchData = dataclasses.field(default_factory=Landscapes)
    height: int | None = None
    width: int | None = None
    num_samples: int = 64
    num_reference: int = 2000
    budget: float = 64.0
    gradient_weight: float = 1.0
    batch_size: int = 32
    seed: int = 0
    solver: Solver = DEFAULT_SOLVER
    features: Literal["random_conv", "inception"] = "random_conv"
    features_weights: Path | None = None
    device: str = "auto"
    precision: Precision = "fp32"
    pictures: int = 6
    results: Path = Path("results")
    cache: Path | None = None

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

    @property
    def cache_folder(self) -> Path:
        """Where what runs share is kept."""
        return self.results / "cache" if self.cache is None else self.cache


@dataclasses.dataclass(frozen=True, kw_only=True)
class InpaintingSettings(CompletionSettings):
    """Held-out images of which a part is given, completed by every strategy at equal cost.

    Args:
        strategy: Name of a strategy, several with commas between, or `all`; or the dotted path of
            a class of your own. A strategy's own settings are `name.setting=value`, for example
            lshape_repaint.jump_n_sample=10.
        masks: What is given, several with commas between: `half` (the left half), `box` (all but
            a box in the middle of half the sides), `random_50`, `random_90` (all but so many
            percent of the pixels).
        pairs: Images that are completed twice, to see how far completions are apart.
        name: Name of the run.
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


def chosen(key: str, value: str, known: tuple[Name, ...]) -> list[Name]:
    """Returns the names in a list with commas, each once.

    Raises:
        ValueError: If one is not known, with the nearest that is, or there is none.
    """
    names = list(dict.fromkeys(name for name in value.split(",") if name))
    if not names:
        raise ValueError(f"{key} must name at least one of {', '.join(known)}, got none.")
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ValueError(f"{key} must be among {', '.join(known)}, got {name!r}{hint}")
    return [known[known.index(name)] for name in names]


def validate_minimum(settings: object, *least: tuple[str, int, str]) -> None:
    """Refuses numbers that are too small, by name, with the reason.

    Raises:
        ValueError: If one is.
    """
    for name, smallest, reason in least:
        value = getattr(settings, name)
        if value < smallest:
            raise ValueError(f"{name} must be at least {smallest}, got {value}: {reason}.")
