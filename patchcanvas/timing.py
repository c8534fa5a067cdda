"""One canvas, timed and counted."""

import dataclasses
import time

import torch

from patchcanvas.accounting import (
    Clock,
    NFECounter,
    peak_memory_mib,
    reset_peak_memory,
    synchronize,
)
from patchcanvas.context.conditioner import NO_CONTEXT, Conditioner
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas

__all__ = ["Bench", "Timing"]


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


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where canvases are timed.

    Args:
        denoiser: The shared denoiser, under the meter.
        device: Where it runs.
        seed: Seeds the noise, the same for every run.
        clock: Tells the time, in seconds.
        conditioner: What canvases are told.
    """

    denoiser: NFECounter
    device: torch.device
    seed: int = 0
    clock: Clock = time.perf_counter
    conditioner: Conditioner = NO_CONTEXT

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
        image = self.conditioner.generate(strategy, self.denoiser, canvas, noise)
        synchronize(self.device)
        seconds = self.clock() - begun
        if not image.isfinite().all():
            raise FloatingPointError(
                f"{type(strategy).__name__} made pixels that are not finite; "
                "try precision=fp32 or more solver.num_steps."
            )
        return Timing(seconds, self.denoiser.seconds, peak_memory_mib(self.device))
