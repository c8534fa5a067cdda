"""One canvas, timed and counted; and what evaluating a pixel costs where nothing is wasted."""

import dataclasses
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.latency.records import Batch, Floor, Point
from denoisers.conditions import Conditions
from denoisers.contract import PatchDenoiser
from patchcanvas.accounting import (
    Clock,
    Metered,
    peak_memory_mib,
    reset_peak_memory,
    synchronize,
)
from patchcanvas.context.conditioner import UNTOLD, Telling
from patchcanvas.window_batch import out_of_memory
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas

__all__ = ["Bench", "Timing", "measured_floor"]


@dataclasses.dataclass(frozen=True)
class Timing:
    """One run.

    Args:
        seconds: From start to end, the device's work included.
        network_seconds: How much of that was spent inside the network.
        peak_memory_mib: Peak memory meanwhile, in MiB.
    """

    seconds: float
    network_seconds: float
    peak_memory_mib: float

    def added_to(self, point: Point, number: int) -> Point:
        """Returns the point with this as its run of round `number`."""
        return dataclasses.replace(
            point,
            rounds=[*point.rounds, number],
            seconds=[*point.seconds, self.seconds],
            network_seconds=[*point.network_seconds, self.network_seconds],
            peak_memory_mib=max(point.peak_memory_mib, self.peak_memory_mib),
        )


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where canvases are timed.

    Args:
        denoiser: The shared denoiser, under the meter.
        device: Where it runs.
        seed: Seeds the noise, the same for every run.
        clock: Tells the time, in seconds.
        telling: What canvases are told.
    """

    denoiser: Metered
    device: torch.device
    seed: int = 0
    clock: Clock = time.perf_counter
    telling: Telling = UNTOLD

    @torch.no_grad()
    def run(self, strategy: Strategy, canvas: Canvas) -> Timing:
        """Makes one canvas alone, with the device idle on both sides.

        Raises:
            FloatingPointError: If pixels come out that are not finite: what that takes is no
                measure of anything.
        """
        self.denoiser.reset()
        reset_peak_memory(self.device)
        synchronize(self.device)
        begun = self.clock()
        noise = CanvasNoise(self.seed, [0], device=self.device)
        image = self.telling.generate(strategy, self.denoiser, canvas, noise)
        synchronize(self.device)
        seconds = self.clock() - begun
        if not image.isfinite().all():
            raise FloatingPointError(
                f"{type(strategy).__name__} made pixels that are not finite; "
                "try precision=fp32 or more solver.num_steps."
            )
        return Timing(seconds, self.denoiser.seconds, peak_memory_mib(self.device))

    def counted(self, name: str, width: int, canvas: Canvas, *, asked: int, repeats: int) -> Point:
        """Returns a point with what the last run asked of the network, and no timing yet."""
        return Point(
            strategy=name,
            width=width,
            canvas=(canvas.height, canvas.width),
            network_calls=self.denoiser.calls,
            patch_evaluations=self.denoiser.patches,
            pixels=self.denoiser.pixels,
            gradient_passes=self.denoiser.gradient_passes,
            gradient_pixels=self.denoiser.gradient_pixels,
            asked=asked,
            repeats=repeats,
        )


def measured_floor(
    denoiser: PatchDenoiser,
    batches: tuple[int, ...],
    *,
    repeats: int,
    device: torch.device,
    clock: Clock = time.perf_counter,
    advance: Callable[[int], None] = lambda count: None,
) -> Floor:
    """Measures what a pixel costs in calls of whole patches, of several sizes.

    Args:
        denoiser: The shared denoiser.
        batches: Numbers of patches in a call, ascending.
        repeats: Timed passes of each, after one that is not.
        device: Where it runs.
        clock: Tells the time, in seconds.
        advance: Told the number of sizes that are done.

    Raises:
        RuntimeError: If memory does not suffice for the smallest batch.
    """
    found: list[Batch] = []
    for patches in batches:
        try:
            found.append(_batch(denoiser, patches, repeats, device, clock))
        except RuntimeError as error:
            if not (found and out_of_memory(error)):
                raise
            break
        advance(1)
    return Floor(found, list(batches[len(found) :]))


def _batch(
    denoiser: PatchDenoiser, patches: int, repeats: int, device: torch.device, clock: Clock
) -> Batch:
    side = denoiser.patch_size
    x_t = torch.randn(patches, denoiser.channels, side, side).to(device)
    sigma = torch.ones(1, 1, 1, 1, device=device)
    placed = "place" in getattr(denoiser, "takes", ())
    told = Conditions(place=torch.zeros(patches, 4, device=device)) if placed else None

    def forward() -> float:
        with torch.no_grad():
            return _timed(lambda: denoiser(x_t, sigma, told), device, clock)

    def backward() -> float:
        tracked = x_t.clone().requires_grad_()
        x0_hat = denoiser(tracked, sigma, told)
        return _timed(lambda: torch.autograd.grad(x0_hat, tracked, x_t), device, clock)

    pixels = patches * side**2
    return Batch(
        patches, *(_median_after_one(run, repeats) / pixels for run in (forward, backward))
    )


def _median_after_one(run: Callable[[], float], repeats: int) -> float:
    run()
    return statistics.median(run() for _ in range(repeats))


def _timed(work: Callable[[], object], device: torch.device, clock: Clock) -> float:
    synchronize(device)
    begun = clock()
    work()
    synchronize(device)
    return clock() - begun
