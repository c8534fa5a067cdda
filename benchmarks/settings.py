"""Every setting of the harness, with its unit and its default."""

import dataclasses
from pathlib import Path
from typing import Literal

from benchmarks.environment import Precision
from datamodules.landscapes import Landscapes
from datamodules.patches import PatchData
from sampling.solvers import Heun, Solver

__all__ = ["DEFAULT_SOLVER", "CanvasSize", "Settings"]

DEFAULT_SOLVER = Heun(num_steps=18, churn=18.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CanvasSize:
    """The size of what is generated.

    Args:
        height: Pixels from top to bottom; by default the denoiser's patch size.
        width: Pixels from left to right; by default 6 times the height, as in the paper's FID+.
        wrap_height: Whether the bottom edge continues at the top.
        wrap_width: Whether the right edge continues at the left: a loop, a 360-degree panorama.
    """

    height: int | None = None
    width: int | None = None
    wrap_height: bool = False
    wrap_width: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """A comparison of strategies on one denoiser.

    Args:
        strategy: Name of a strategy, several with commas between, or `all`; or the dotted path of
            a class of your own. A strategy's own settings are `name.setting=value`, for example
            diffcollage.overlap=8.
        denoiser: Weights of the shared denoiser, a .safetensors file with its .json beside it.
        data: Real images to compare with: `landscapes` (procedural), `photos` with
            data.root=FOLDER, or the dotted path of a class of your own.
        canvas: Size of the canvases, in pixels.
        num_samples: Canvases of each strategy; 500 or more for figures worth quoting.
        num_reference: Real crops that FID+ compares with.
        batch_size: Canvases generated at a time.
        seed: Seeds the starting noise and the places of the crops.
        solver: The way from noise to image, the same for every strategy: `heun`, `euler`,
            `ddim`, `dpmsolver++`, `deis`, or a class path; its own settings are solver.num_steps
            and so on.
        max_batch: Most windows in one network call, when memory is short; null for no limit.
        features: Network behind FID+: `random_conv` needs no weights; `inception` is the field's
            and needs a download or features_weights.
        features_weights: Local file with the weights of `inception`.
        device: `auto` (CUDA, else MPS, else CPU), cpu, cuda, cuda:N or mps.
        precision: What the network computes in: fp32, bf16 or fp16.
        compile: Whether torch.compile compiles the network; slow to start, then faster on a GPU.
        latency_repeats: Timed runs of one canvas, after one warm-up run.
        pictures: Canvases of each strategy written as PNG.
        results: Folder of the runs; each gets a folder of its own in there.
        name: Name of the run; by default made of the data and the strategy.
    """

    strategy: str = "all"
    denoiser: Path = Path("checkpoints/landscapes.safetensors")
    data: PatchData = dataclasses.field(default_factory=Landscapes)
    canvas: CanvasSize = CanvasSize()
    num_samples: int = 64
    num_reference: int = 2000
    batch_size: int = 16
    seed: int = 0
    solver: Solver = DEFAULT_SOLVER
    max_batch: int | None = None
    features: Literal["random_conv", "inception"] = "random_conv"
    features_weights: Path | None = None
    device: str = "auto"
    precision: Precision = "fp32"
    compile: bool = False
    latency_repeats: int = 3
    pictures: int = 4
    results: Path = Path("results")
    name: str | None = None

    def __post_init__(self) -> None:
        for name, least, reason in (
            ("num_samples", 2, "a covariance needs two canvases"),
            ("num_reference", 2, "a covariance needs two crops"),
            ("batch_size", 1, "there is nothing to generate otherwise"),
            ("latency_repeats", 1, "there is no median of nothing"),
            ("pictures", 1, "the contact sheet needs one"),
        ):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}: {reason}.")
