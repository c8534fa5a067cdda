"""What the settings of all commands are made of: each setting is named and explained once."""

import dataclasses
from pathlib import Path

from patchcanvas.bundled import LANDSCAPES
from patchcanvas.context.settings import ContextSettings
from patchcanvas.model import CanvasSize
from patchcanvas.runtime import DEFAULT_RUNTIME, Runtime
from sampling.solvers import Heun, Solver

__all__ = [
    "DEFAULT_CONTEXT",
    "DEFAULT_SIZE",
    "DEFAULT_SOLVER",
    "CachedRunSettings",
    "PictureSettings",
    "ResultsSettings",
    "RunSettings",
    "SolverSettings",
    "validate_minimum",
]

DEFAULT_SOLVER = Heun(num_steps=18, churn=18.0)
DEFAULT_CONTEXT = ContextSettings()
DEFAULT_SIZE = CanvasSize()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResultsSettings:
    """What is shared by the commands that write things without a name.

    Args:
        results: Folder in which every run gets a folder of its own, and a picture that nobody names
            a file.
    """

    results: Path = Path("results")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SolverSettings:
    """What is shared by the commands that make samples.

    Args:
        seed: Seeds all noise and every other choice at random.
        solver: The way from noise to image, the same for every strategy: `heun`, `euler`, `ddim`,
            `dpmsolver++`, `deis`, or a class path; its own settings are solver.num_steps and so on.
    """

    seed: int = 0
    solver: Solver = DEFAULT_SOLVER


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings(SolverSettings):
    """What is shared by the commands that ask a denoiser.

    Args:
        denoiser: `landscapes` or another that comes with the package, a .safetensors file with its
            .json beside it, or hub:OWNER/NAME/FILE.safetensors; or `diffusers:` and a pretrained
            model, a folder or a name on the hub, which brings the defaults of config=pretrained
            to commands that have them.
        runtime: Precision, memory and speed. The words precision, compile and window_batch alone
            are short for runtime.precision and so on.
        device: `auto` (CUDA, else MPS, else CPU), cpu, cuda, cuda:N or mps; `accelerator` is
            another name for it.
    """

    denoiser: str = LANDSCAPES
    runtime: Runtime = DEFAULT_RUNTIME
    device: str = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CachedRunSettings(RunSettings, ResultsSettings):
    """What is shared by those that remember for later runs what one has learnt.

    Args:
        cache: Folder of what runs share: the batch that fits, and features of real images; by
            default `cache` in that of the results.
    """

    cache: Path | None = None

    @property
    def cache_folder(self) -> Path:
        """Where what runs share is kept."""
        return self.results / "cache" if self.cache is None else self.cache


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureSettings(CachedRunSettings):
    """What is shared by the commands that make pictures with one strategy.

    Args:
        strategy: Name of one strategy, or the dotted path of a class of your own. Its own settings
            are `name.setting=value`.
        context: What the denoiser is told.
        num_samples: Pictures to make, each from noise of its own.
        output: The PNG to write; of several samples each gets its number. By default a new file in
            `results`.
        overwrite: Whether a file may be written over that was not made by this command, and
            pictures that are there are made again.
    """

    strategy: str
    context: ContextSettings = DEFAULT_CONTEXT
    num_samples: int = 1
    output: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        validate_minimum(self, ("num_samples", 1))
        if self.output is not None and self.output.suffix.lower() != ".png":
            raise ValueError(f"output must be a file that ends in .png, got {self.output}.")

    @property
    def inputs(self) -> dict[str, Path | None]:
        """Files that pictures are made from, by the names of their settings."""
        return {}


def validate_minimum(settings: object, *least: tuple[str, int] | tuple[str, int, str]) -> None:
    """Refuses numbers that are too small, by name; None is no number.

    Args:
        settings: Has them.
        least: The name of each, the smallest that it may be, and why.

    Raises:
        ValueError: If one is smaller.
    """
    for name, smallest, *reason in least:
        value = getattr(settings, name)
        if value is not None and value < smallest:
            why = "".join(f": {one}" for one in reason)
            raise ValueError(f"{name} must be at least {smallest}, got {value}{why}.")
