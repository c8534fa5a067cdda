"""Every setting of the latency benchmark, with its unit and its default."""

import dataclasses
from itertools import pairwise

from benchmarks.experiment.settings import StrategySettings
from patchcanvas.cli.settings import CachedRunSettings, validate_minimum
from patchcanvas.model import CanvasHeight

__all__ = ["LatencySettings"]

ONE_PATCH = CanvasHeight()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatencySettings(CachedRunSettings, StrategySettings):
    """Seconds for one canvas against its width, for every strategy.

    Args:
        widths: Widths of the canvases, in patches, ascending.
        canvas: Height of the canvases, in pixels.
        repeats: Timed runs of a point, one strategy after another in every round.
        warmup: Runs of a point before them, which count for nothing; runtime.compile needs two.
        most_seconds: Most time for the repeats of one point. Where the warm-up says that they would
            take longer there are fewer, but not below 3; a point of which a single run would take
            longer is left out.
        batches: Numbers of patches in one network call that the lower bound is looked for with.
    """

    widths: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    canvas: CanvasHeight = ONE_PATCH
    repeats: int = 5
    warmup: int = 1
    most_seconds: float = 120.0
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    name: str = "latency"

    def __post_init__(self) -> None:
        for name in ("widths", "batches"):
            _validate_increasing(name, getattr(self, name))
        validate_minimum(
            self,
            ("repeats", 1, "there is no median of nothing"),
            ("warmup", 1, "first runs are slower than others"),
        )
        if not self.most_seconds > 0:
            raise ValueError(f"most_seconds must be positive, got {self.most_seconds}.")
        if self.runtime.compile and self.warmup < 2:
            raise ValueError(
                f"warmup must be at least 2 with runtime.compile=true, got {self.warmup}: the "
                "first run of a point compiles, and says nothing about the others."
            )


def _validate_increasing(name: str, values: tuple[int, ...]) -> None:
    """Refuses an empty list, numbers below 1, and numbers that do not ascend."""
    if not values or values[0] < 1 or any(b <= a for a, b in pairwise(values)):
        raise ValueError(
            f"{name} must be whole numbers from 1 up, in ascending order, got {list(values)}."
        )
