"""Photographs completed by a strategy, a batch at a time, and counted."""

import dataclasses
import time
from collections.abc import Callable

import torch

from patchcanvas.accounting import NFECounter, synchronize
from patchcanvas.budget import Spent
from patchcanvas.making import KnownPixels, Pictures, as_known
from sampling.images import to_uint8
from sampling.noise import CanvasNoise, seed_of
from strategies.base import Strategy
from strategies.canvas import Canvas
from strategies.context import CanvasContext

__all__ = ["Completed", "Completer"]


@dataclasses.dataclass(frozen=True)
class Completed:
    """Photographs whose unknown pixels were made.

    Args:
        images: All of them.
        spent: What each asked of the network.
        seconds: Wall time of each.
    """

    images: Pictures
    spent: Spent
    seconds: float


@dataclasses.dataclass(frozen=True)
class Completer:
    """Completes photographs.

    Args:
        denoiser: The shared denoiser, under the meter.
        canvas: The size of the photographs.
        seed: The run's seed; photograph k gets the same noise from every strategy.
        device: Where they are made.
        batch_size: Photographs in one batch.
    """

    denoiser: NFECounter
    canvas: Canvas
    seed: int
    device: torch.device
    batch_size: int

    @torch.no_grad()
    def __call__(
        self,
        strategy: Strategy,
        photographs: Pictures,
        known: KnownPixels,
        *,
        attempt: int = 0,
        advance: Callable[[int], None] = lambda count: None,
    ) -> Completed:
        """Completes every photograph, from its known pixels alone.

        Args:
            strategy: Makes the unknown pixels.
            photographs: Of their unknown pixels nothing is read.
            known: Which pixels are given.
            attempt: Other numbers make other completions of the same photographs.
            advance: Told how many were completed, after each batch.

        Raises:
            FloatingPointError: If a pixel is not finite.
        """
        self.denoiser.reset()
        seed, count = seed_of(self.seed, "attempt", attempt), len(photographs)
        begun, parts = time.perf_counter(), []
        for start in range(0, count, self.batch_size):
            indices = range(start, min(start + self.batch_size, count))
            part = slice(indices.start, indices.stop)
            noise = CanvasNoise(seed, indices, device=self.device)
            given = as_known(photographs[part], known[part], self.device)
            context = CanvasContext() if getattr(self.denoiser, "takes", ()) else None
            image = strategy.generate(
                self.denoiser, self.canvas, noise, known=given, context=context
            )
            if not image.isfinite().all():
                raise FloatingPointError(
                    f"{type(strategy).__name__} made pixels that are not finite; try "
                    "precision=fp32 or more evaluations."
                )
            parts.append(to_uint8(image).cpu())
            advance(len(indices))
        synchronize(self.device)
        seconds = (time.perf_counter() - begun) / count
        spent = Spent.of(self.denoiser, strategy.denoised(self.canvas), canvases=count)
        return Completed(torch.cat(parts), spent, seconds)
