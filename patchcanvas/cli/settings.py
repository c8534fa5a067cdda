"""Defaults that commands share, and the settings of those that make pictures."""

import dataclasses
from pathlib import Path

from patchcanvas.bundled import LANDSCAPES
from patchcanvas.context.settings import ContextSettings
from patchcanvas.model import CanvasSize
from patchcanvas.runtime import DEFAULT_RUNTIME, Runtime
from sampling.solvers import Heun, Solver

__all__ = ["DEFAULT_CONTEXT", "DEFAULT_SIZE", "DEFAULT_SOLVER", "PictureSettings"]

DEFAULT_SOLVER = Heun(num_steps=18, churn=18.0)
DEFAULT_CONTEXT = ContextSettings()
DEFAULT_SIZE = CanvasSize()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """What is shared by the commands that make pictures with one strategy.

    Args:
        strategy: Name of one strategy, or the dotted path of a class of your own. Its own settings
            are `name.setting=value`.
        denoiser: `landscapes` or another that comes with the package, a .safetensors file with its
            .json beside it, or hub:OWNER/NAME/FILE.safetensors; or `diffusers:` and a pretrained
            model, a folder or a name on the hub, which brings the defaults of config=pretrained.
        context: What the denoiser is told.
        num_samples: Pictures to make, each from noise of its own.
        seed: Seeds the noise.
        solver: The way from noise to image: `heun`, `euler`, `ddim`, `dpmsolver++`, `deis`, or a
            class path; its own settings are solver.num_steps and so on.
        runtime: Precision, memory and speed. The words precision, compile and window_batch alone
            are short for runtime.precision and so on.
        device: `auto` (CUDA, else MPS, else CPU), cpu, cuda, cuda:N or mps; `accelerator` is
            another name for it.
        output: The PNG to write; of several samples each gets its number. By default a new file in
            `results`.
        overwrite: Whether a file may be written over that was not made by this command, and
            pictures that are there are made again.
        results: Folder of what has no other place.
        cache: Folder of what runs share: the batch that fits; by default `cache` in that of the
            results.
    """

    strategy: str
    denoiser: str = LANDSCAPES
    context: ContextSettings = DEFAULT_CONTEXT
    num_samples: int = 1
    seed: int = 0
    solver: Solver = DEFAULT_SOLVER
    runtime: Runtime = DEFAULT_RUNTIME
    device: str = "auto"
    output: Path | None = None
    overwrite: bool = False
    results: Path = Path("results")
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {self.num_samples}.")
        if self.output is not None and self.output.suffix.lower() != ".png":
            raise ValueError(f"output must be a file that ends in .png, got {self.output}.")

    @property
    def cache_folder(self) -> Path:
        """Where what runs share is kept."""
        return self.results / "cache" if self.cache is None else self.cache

    @property
    def inputs(self) -> dict[str, Path | None]:
        """Files that pictures are made from, by the names of their settings."""
        return {}
