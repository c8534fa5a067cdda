"""Every setting of the latency benchmark, with its unit and its default."""

import dataclasses
from itertools import pairwise
from pathlib import Path

from patchcanvas.bundled import LANDSCAPES
from patchcanvas.cli.settings import DEFAULT_SOLVER
from patchcanvas.environment import Precision
from sampling.solvers import Solver

__all__ = ["LatencySettings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatencySettings:
    """Seconds for one canvas against its width, for every strategy.

    Args:
        strategy: Name of a strategy, several with commas between, or `all`; or the dotted path of
            a class of your own. A strategy's own settings are `name.setting=value`, for example
            diffcollage.overlap=8.
        denoiser: The shared denoiser: `landscapes` or another that comes with the package, a
            .safetensors file with its .json beside it, or hub:OWNER/NAME/FILE.safetensors.
        widths: Widths of the canvases, in patches, ascending.
        height: Pixels from top to bottom; by default the denoiser's patch size.
        repeats: Timed runs of a point, one strategy after another in every round.
        warmup: Runs of a point before them, which count for nothing.
        most_seconds: Most time for the repeats of one point. Where the warm-up says that they would
            take longer there are fewer, but not below 3; a point of which a single run would take
            longer is left out.
        batches: Numbers of patches in one network call that the lower bound is looked for with.
        solver: The way from noise to image, the same for every strategy: `heun`, `euler`,
            `ddim`, `dpmsolver++`, `deis`, or a class path; its own settings are solver.num_steps
            and so on.
        seed: Seeds the starting noise.
        device: `auto` (CUDA, else MPS, else CPU), cpu, cuda, cuda:N or mps.
        precision: What the network computes in: fp32, bf16 or fp16.
        compile: Whether torch.compile compiles the network; needs two warm-up runs.
        max_batch: Most windows in one network call, when memory is short; null for no limit.
        results: Folder of the runs; each gets a folder of its own in there.
        name: Name of the run.
    """

    strategy: str = "all"
    denoiser: str = LANDSCAPES
    widths: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    height: int | None = None
    repeats: int = 5
    warmup: int = 1
    most_seconds: float = 120.0
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    solver: Solver = DEFAULT_SOLVER
    seed: int = 0
    device: str = "auto"
    precision: Precision = "fp32"
    compile: bool = False
    max_batch: int | None = None
    results: Path = Path("results")
    name: str = "latency"

    def __post_init__(self) -> None:
        for name in ("widths", "batches"):
            _validate_increasing(name, getattr(self, name))
        for name, reason in (
            ("repeats", "there is no median of nothing"),
            ("warmup", "first runs are slower than others"),
        ):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}: {reason}.")
        if not self.most_seconds > 0:
            raise ValueError(f"most_seconds must be positive, got {self.most_seconds}.")
        if self.compile and self.warmup < 2:
            raise ValueError(
                f"warmup must be at least 2 with compile=true, got {self.warmup}: the first run "
                "of a point compiles, and says nothing about the others."
            )


def _validate_increasing(name: str, values: tuple[int, ...]) -> None:
    """Refuses an empty list, numbers below 1, and numbers that do not ascend."""
    if not values or values[0] < 1 or any(b <= a for a, b in pairwise(values)):
        raise ValueError(
            f"{name} must be whole numbers from 1 up, in ascending order, got {list(values)}."
        )
