"""What one canvas of a strategy costs, beside its figures of quality."""

import torch

from benchmarks.metrics.estimates import Spread
from benchmarks.results.records import Cost
from patchcanvas.accounting import NFECounter
from patchcanvas.context.conditioner import NO_CONTEXT, Conditioner
from patchcanvas.timing import Bench
from strategies.base import Strategy
from strategies.canvas import Canvas

__all__ = ["measured_cost"]


def measured_cost(
    strategy: Strategy,
    denoiser: NFECounter,
    canvas: Canvas,
    *,
    repeats: int,
    seed: int,
    device: torch.device,
    conditioner: Conditioner = NO_CONTEXT,
) -> Cost:
    """Times one canvas alone, after one warm-up run, and counts what it asks of the network.

    The cost's batch figures, `seconds_per_canvas` and `network_share`, are those of this single
    canvas until `dataclasses.replace` puts a whole run's in their place.

    Raises:
        FloatingPointError: If a pixel is not finite.
    """
    bench = Bench(denoiser, device, seed, conditioner=conditioner)
    timings = [bench.run(strategy, canvas) for _ in range(1 + repeats)][1:]
    seconds = [timing.seconds for timing in timings]
    small = strategy.denoised(canvas)
    return Cost(
        network_calls=denoiser.calls,
        patch_evaluations=denoiser.patches,
        # In the denoiser's own pixels, on both sides.
        nfe_per_pixel=denoiser.pixels / (small.height * small.width),
        backward_passes=denoiser.backward_passes,
        latency=Spread.of(seconds),
        seconds_per_canvas=sum(seconds) / repeats,
        network_share=sum(timing.network_seconds for timing in timings) / sum(seconds),
        peak_memory_mib=max(timing.peak_memory_mib for timing in timings),
    )
