"""Canvases by the batch, kept on disk as they are made, so that a stopped run goes on."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from denoisers.contract import PatchDenoiser
from patchcanvas.accounting import NFECounter, synchronize
from patchcanvas.context.conditioner import NO_CONTEXT, Conditioner
from patchcanvas.environment import (
    device_name,
)
from patchcanvas.model import Model
from patchcanvas.runtime import Runtime
from patchcanvas.watched import Watched
from patchcanvas.window_batch import Memory, out_of_memory, with_batch
from sampling.images import to_uint8
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas, Known

__all__ = [
    "Batch",
    "Maker",
    "Pictures",
    "Working",
    "as_known",
    "tuned",
    "validate_fit",
    "why_not_made",
]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Canvases of neighbouring samples, and what they took.

    Args:
        first: The number of the first sample.
        canvases: All of them.
        seconds: Wall time of making them.
        network_seconds: What of it was spent inside the network.
        from_disk: Whether an earlier run made it.
    """

    first: int
    canvases: UInt8[Tensor, "samples channels height width"]
    seconds: float
    network_seconds: float
    from_disk: bool = False

    @property
    def indices(self) -> range:
        """The numbers of the samples."""
        return range(self.first, self.first + len(self.canvases))


@dataclasses.dataclass(frozen=True)
class Maker:
    """Makes any sample of one strategy.

    Args:
        strategy: Makes canvases.
        denoiser: The shared denoiser, under the meter.
        canvas: Their size.
        seed: The run's seed.
        device: Where they are made.
        conditioner: What they are told.
        known: Pixels that are given, the same ones for all; they come back bit by bit.
        calls: Network calls that a batch takes; 0 if that is not known.
        advance: Told of every network call what part of how many canvases it is; of nothing where
            `calls` is not known.
    """

    strategy: Strategy
    denoiser: NFECounter
    canvas: Canvas
    seed: int
    device: torch.device
    conditioner: Conditioner = NO_CONTEXT
    known: Known | None = None
    calls: int = 0
    advance: Callable[[float], None] = lambda canvases: None

    @torch.no_grad()
    def __call__(self, indices: range) -> Batch:
        """Makes the samples of these numbers; what they are does not depend on their company.

        Raises:
            FloatingPointError: If a pixel is not finite.
        """
        noise = CanvasNoise(self.seed, indices, device=self.device)
        denoiser = self._watched(len(indices))
        self.denoiser.reset()
        begun = time.perf_counter()
        image = self.conditioner.generate(
            self.strategy, denoiser, self.canvas, noise, known=self.known
        )
        synchronize(image.device)
        seconds = time.perf_counter() - begun
        if not image.isfinite().all():
            raise FloatingPointError(
                f"{type(self.strategy).__name__} made pixels that are not finite; "
                "try precision=fp32 or more solver.num_steps."
            )
        return Batch(indices[0], to_uint8(image).cpu(), seconds, self.denoiser.seconds)

    def _watched(self, count: int) -> PatchDenoiser:
        """Returns the denoiser, every call of which advances by its part of so many canvases."""
        if not self.calls:
            return self.denoiser
        return Watched(self.denoiser, lambda: self.advance(count / self.calls))


def why_not_made(error: Exception) -> str:
    """Returns what is said of pixels that are not finite, or of memory that ran out.

    Raises:
        Exception: The error itself, if it says something else.
    """
    if isinstance(error, FloatingPointError):
        return str(error)
    if out_of_memory(error):
        return "memory ran out in the smallest call."
    raise error


Pictures = UInt8[Tensor, "samples channels height width"]


KnownPixels = Bool[Tensor, "samples 1 height width"]


def as_known(
    photographs: Pictures, known: KnownPixels, device: torch.device | str = "cpu"
) -> Known:
    """Returns what a strategy is given of photographs: not even by mistake the other pixels."""
    mask = known.to(device)
    images = photographs.to(device).float() / 127.5 - 1
    return Known(images.where(mask, 0.0), mask)


@runtime_checkable
class Working(Protocol):
    """Settings of a command that asks a denoiser."""

    @property
    def runtime(self) -> Runtime:
        """How the work is done."""
        ...

    @property
    def cache_folder(self) -> Path:
        """Where what runs share is kept."""
        ...


def validate_fit(
    name: str, strategy: Strategy, model: Model, canvas: Canvas, conditioner: Conditioner
) -> None:
    """Checks that a strategy can make such canvases so told.

    Raises:
        ValueError: If it cannot; it begins with the strategy's name.
    """
    try:
        strategy.validate_denoiser(model.denoiser)
        strategy.window_edges(model.denoiser, canvas)
        conditioner.validate_fit(strategy, model.denoiser, canvas)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def memory_of(model: Model, settings: Working, device: torch.device) -> Memory:
    """Returns what is known of how much this device holds of this denoiser."""
    weights = model.description["weights_sha256"][:16]
    key = f"{device_name(device)}; weights {weights}; {settings.runtime.precision}"
    return Memory(settings.cache_folder / "window_batch.json", key)


def tuned(model: Model, settings: Working, device: torch.device) -> PatchDenoiser:
    """Places the networks and sizes the calls, as asked for."""
    denoiser = model.placed(device, settings.runtime).denoiser
    return with_batch(denoiser, settings.runtime.window_batch, memory_of(model, settings, device))
