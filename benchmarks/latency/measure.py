"""What evaluating a pixel costs where nothing is wasted."""

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.latency.records import Batch, LowerBound
from denoisers.conditions import Conditions
from denoisers.contract import PatchDenoiser
from patchcanvas.accounting import Clock, synchronize
from patchcanvas.window_batch import out_of_memory

__all__ = ["measured_lower_bound"]


def measured_lower_bound(
    denoiser: PatchDenoiser,
    batches: tuple[int, ...],
    *,
    repeats: int,
    device: torch.device,
    clock: Clock = time.perf_counter,
    advance: Callable[[int], None] = lambda count: None,
) -> LowerBound:
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
    return LowerBound(found, list(batches[len(found) :]))


def _batch(
    denoiser: PatchDenoiser, patches: int, repeats: int, device: torch.device, clock: Clock
) -> Batch:
    side = denoiser.patch_size
    x_t = torch.randn(patches, denoiser.channels, side, side).to(device)
    sigma = torch.ones(1, 1, 1, 1, device=device)
    placed = "place" in getattr(denoiser, "takes", ())
    conditions = Conditions(place=torch.zeros(patches, 4, device=device)) if placed else None

    def forward() -> float:
        with torch.no_grad():
            return _timed(lambda: denoiser(x_t, sigma, conditions), device, clock)

    def backward() -> float:
        tracked = x_t.clone().requires_grad_()
        x0_hat = denoiser(tracked, sigma, conditions)
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
