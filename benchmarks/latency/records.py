"""What a run of the latency benchmark leaves behind: every timing with what made it, as JSON."""

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar

from benchmarks.experiment.record import Record
from benchmarks.metrics.estimates import Spread
from patchcanvas.accounting import NFECounter
from patchcanvas.timing import Timing
from strategies.canvas import Canvas

__all__ = ["Absence", "Batch", "LatencyResults", "LowerBound", "Point"]

YARDSTICK = "naive"  # what every strategy is compared with


@dataclasses.dataclass(frozen=True)
class Batch:
    """One call of the network for so many patches.

    Args:
        patches: How many.
        forward: Median seconds of a forward pass, for each pixel evaluated.
        backward: Median seconds of a backward pass, for each pixel evaluated.
    """

    patches: int
    forward: float
    backward: float


@dataclasses.dataclass(frozen=True)
class LowerBound:
    """The least that evaluating a pixel costs here, over batches of several sizes.

    Args:
        batches: What was measured, from small to large.
        too_large: Sizes for which memory did not suffice.
    """

    batches: list[Batch]
    too_large: list[int]

    @property
    def forward(self) -> Batch:
        """The batch whose forward pass is the cheapest."""
        return min(self.batches, key=lambda batch: batch.forward)

    @property
    def backward(self) -> Batch:
        """The batch whose backward pass is the cheapest."""
        return min(self.batches, key=lambda batch: batch.backward)


@dataclasses.dataclass(frozen=True)
class Point:
    """One strategy at one width: what one canvas costs, in counts and in seconds.

    Args:
        strategy: Short name, or dotted path.
        width: Width of the canvas, in patches.
        canvas: Its height and width, in the denoiser's pixels.
        nfe: Calls of the network that the strategy asks for; memory may split them.
        patch_evaluations: Windows evaluated, halves counted as windows of their own.
        pixels: Pixels evaluated.
        backward_passes: Backward passes through the network.
        backward_pixels: Pixels of the estimates that these began with.
        asked: Timed runs that the settings ask for.
        repeats: Timed runs that the time allows.
        rounds: Their rounds, numbered over the whole run: in a round every strategy runs once.
        seconds: What each of them took.
        network_seconds: How much of it was spent inside the network, forwards and backwards.
        peak_memory_mib: Peak memory of the device, or of the process on a CPU, in MiB.
    """

    strategy: str
    width: int
    canvas: tuple[int, int]
    nfe: int
    patch_evaluations: int
    pixels: int
    backward_passes: int
    backward_pixels: int
    asked: int
    repeats: int
    rounds: list[int] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    network_seconds: list[float] = dataclasses.field(default_factory=list)
    peak_memory_mib: float = 0.0

    @classmethod
    def of(
        cls, name: str, width: int, canvas: Canvas, metered: NFECounter, *, asked: int, repeats: int
    ) -> "Point":
        """Returns a point with what a run asked of the network, and no timing yet."""
        return cls(
            strategy=name,
            width=width,
            canvas=(canvas.height, canvas.width),
            nfe=metered.calls,
            patch_evaluations=metered.patches,
            pixels=metered.pixels,
            backward_passes=metered.backward_passes,
            backward_pixels=metered.backward_pixels,
            asked=asked,
            repeats=repeats,
        )

    def added(self, timing: Timing, number: int) -> "Point":
        """Returns the point with one more run, of round `number`."""
        return dataclasses.replace(
            self,
            rounds=[*self.rounds, number],
            seconds=[*self.seconds, timing.seconds],
            network_seconds=[*self.network_seconds, timing.network_seconds],
            peak_memory_mib=max(self.peak_memory_mib, timing.peak_memory_mib),
        )

    @property
    def finished(self) -> bool:
        """Whether all its runs are timed."""
        return len(self.seconds) >= self.repeats

    @property
    def nfe_per_pixel(self) -> float:
        """Pixels evaluated for each pixel of the canvas."""
        return self.pixels / (self.canvas[0] * self.canvas[1])

    @property
    def latency(self) -> Spread:
        """Seconds for one canvas."""
        return Spread.of(self.seconds)

    @property
    def network_share(self) -> float:
        """Share of the time spent inside the network, in [0, 1]."""
        return sum(self.network_seconds) / sum(self.seconds)

    def lower_bound_seconds(self, lower_bound: LowerBound) -> float:
        """Seconds that its evaluations alone would take at the least cost of a pixel."""
        forwards = self.pixels * lower_bound.forward.forward
        return forwards + self.backward_pixels * lower_bound.backward.backward

    def ratio_to_lower_bound(self, lower_bound: LowerBound) -> float:
        """Median seconds over those of the lower bound."""
        return self.latency.median / self.lower_bound_seconds(lower_bound)

    def ratio_to(self, other: "Point") -> Spread | None:
        """Seconds over those of another strategy in the same round; None if they share none."""
        theirs = dict(zip(other.rounds, other.seconds, strict=True))
        mine = zip(self.rounds, self.seconds, strict=True)
        ratios = [seconds / theirs[number] for number, seconds in mine if number in theirs]
        return Spread.of(ratios) if ratios else None


@dataclasses.dataclass(frozen=True)
class Absence:
    """A point that is not there, and why.

    Args:
        strategy: Short name, or dotted path.
        width: Width of the canvas, in patches.
        reason: Why, in a sentence.
        failed: Whether it was tried and failed; otherwise it was left out.
        seconds: What one run took or would take, where it was left out to save time.
    """

    strategy: str
    width: int
    reason: str
    failed: bool
    seconds: float | None = None


@dataclasses.dataclass
class LatencyResults(Record):
    """A whole run.

    Args:
        denoiser: Weights file, hash, size, provenance.
        patch_size: Side of a patch, in pixels.
        height: Height of the canvases, in pixels.
        steps: Steps of the solver.
        load: Mean number of busy processes in the minute before the run; None where the system
            does not say.
        lower_bound: What evaluating a pixel costs; None before it is measured.
        points: One for each strategy and width.
        absences: The points that are not there.
    """

    FILE: ClassVar[str] = "latency.json"
    AGREE: ClassVar[tuple[str, ...]] = ("settings", "environment", "denoiser")
    IGNORED: ClassVar[frozenset[str]] = Record.IGNORED - {"threads"}  # it is time that is measured

    denoiser: dict[str, Any]
    patch_size: int
    height: int
    steps: int
    load: float | None
    lower_bound: LowerBound | None = None
    points: list[Point] = dataclasses.field(default_factory=list)
    absences: list[Absence] = dataclasses.field(default_factory=list)

    @property
    def strategies(self) -> list[str]:
        """The strategies with at least one finished point, by name."""
        return sorted({point.strategy for point in self.finished})

    @property
    def finished(self) -> list[Point]:
        """The points whose runs are all timed."""
        return [point for point in self.points if point.finished]

    @property
    def widths(self) -> list[int]:
        """The widths of the finished points, in patches, ascending."""
        return sorted({point.width for point in self.finished})

    def point(self, strategy: str, width: int) -> Point | None:
        """Returns a finished point; None if it is not there."""
        return _the_one(self.finished, strategy, width)

    def has_begun(self, strategy: str, width: int) -> bool:
        """Whether a point is counted, be its runs timed or not."""
        return _the_one(self.points, strategy, width) is not None

    def remaining(self, strategies: Iterable[str], width: int) -> list[str]:
        """Returns those that have neither a finished point nor were left out."""
        left_out = {(item.strategy, item.width) for item in self.absences if not item.failed}
        return [
            name
            for name in strategies
            if self.point(name, width) is None and (name, width) not in left_out
        ]

    def absence(self, strategy: str, width: int) -> Absence | None:
        """Returns why a point is not there; None if that is not known."""
        return _the_one(self.absences, strategy, width)

    def line(self, strategy: str) -> list[Point]:
        """Returns the finished points of a strategy, from narrow to wide."""
        found = [point for point in self.finished if point.strategy == strategy]
        return sorted(found, key=lambda point: point.width)

    def ratio_to_naive(self, point: Point) -> Spread | None:
        """Returns seconds over those of `naive` in the same rounds; None if there are none."""
        naive = self.point(YARDSTICK, point.width)
        return None if naive is None else point.ratio_to(naive)

    @property
    def next_round(self) -> int:
        """The number of a round that nothing was timed in yet."""
        return 1 + max((number for point in self.points for number in point.rounds), default=-1)

    def put(self, item: Point | Absence) -> None:
        """Puts a point, or why there is none, in the place of what was known of it."""
        place = item.width, item.strategy
        kinds: dict[type, list[Any]] = {Point: self.points, Absence: self.absences}
        for items in kinds.values():
            items[:] = [other for other in items if (other.width, other.strategy) != place]
        kinds[type(item)].append(item)
        self.points.sort(key=lambda point: (point.width, point.strategy))


def _the_one(items: Iterable[Any], strategy: str, width: int) -> Any:
    wanted = (item for item in items if (item.strategy, item.width) == (strategy, width))
    return next(wanted, None)
