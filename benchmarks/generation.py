"""Canvases by the batch, kept on disk as they are made, so that a stopped run goes on."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from benchmarks.accounting import (
    Metered,
    peak_memory_mib,
    reset_peak_memory,
    synchronize,
)
from benchmarks.records import Cost, Spread
from sampling.images import to_uint8
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas

__all__ = ["Generated", "generate_canvases", "measure_latency"]

Canvases = UInt8[Tensor, "samples channels height width"]


@dataclasses.dataclass(frozen=True)
class Generated:
    """Canvases and the seconds they took, those of an earlier, interrupted run included."""

    canvases: Canvases
    seconds: float
    network_seconds: float


def generate_canvases(
    strategy: Strategy,
    denoiser: Metered,
    canvas: Canvas,
    *,
    count: int,
    batch_size: int,
    seed: int,
    device: torch.device,
    folder: Path,
    advance: Callable[[int], None],
) -> Generated:
    """Makes samples 0 to `count` - 1, or reads those that `folder` holds already.

    Args:
        strategy: Makes them.
        denoiser: The shared denoiser, under the meter.
        canvas: Their size.
        count: How many.
        batch_size: How many at a time; sample k does not depend on it.
        seed: The run's seed.
        device: Where they are made.
        folder: Keeps one file a batch.
        advance: Told the number of canvases after each batch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    batches = []
    for first in range(0, count, batch_size):
        indices = range(first, min(first + batch_size, count))
        path = folder / f"{indices[0]:06d}-{indices[-1]:06d}.safetensors"
        batch = _read(path)
        if batch is None:
            batch = _timed_batch(
                strategy, denoiser, canvas, CanvasNoise(seed, indices, device=device)
            )
            _write(batch, path)
        batches.append(batch)
        advance(len(indices))
    return Generated(
        torch.cat([batch.canvases for batch in batches]),
        sum(batch.seconds for batch in batches),
        sum(batch.network_seconds for batch in batches),
    )


@torch.no_grad()
def measure_latency(
    strategy: Strategy,
    denoiser: Metered,
    canvas: Canvas,
    *,
    repeats: int,
    seed: int,
    device: torch.device,
) -> Cost:
    """Times one canvas alone, after one warm-up run, and counts what it asks of the network.

    The cost's batch figures, `seconds_per_canvas` and `network_share`, are those of this single
    canvas until `dataclasses.replace` puts a whole run's in their place.
    """
    noise = CanvasNoise(seed, [0], device=device)
    strategy.generate(denoiser, canvas, noise)
    reset_peak_memory(device)
    seconds = []
    network_seconds = 0.0
    for _ in range(repeats):
        denoiser.reset()
        synchronize(device)
        begun = time.perf_counter()
        strategy.generate(denoiser, canvas, noise)
        synchronize(device)
        seconds.append(time.perf_counter() - begun)
        network_seconds += denoiser.seconds
    lower, median, upper = torch.tensor(seconds).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    return Cost(
        network_calls=denoiser.calls,
        patch_evaluations=denoiser.patches,
        pixels_per_pixel=denoiser.pixels / (canvas.height * canvas.width),
        gradient_passes=denoiser.gradient_passes,
        latency=Spread(median, lower, upper, repeats),
        seconds_per_canvas=sum(seconds) / repeats,
        network_share=network_seconds / sum(seconds),
        peak_memory_mib=peak_memory_mib(device),
    )


@torch.no_grad()
def _timed_batch(
    strategy: Strategy, denoiser: Metered, canvas: Canvas, noise: CanvasNoise
) -> Generated:
    denoiser.reset()
    begun = time.perf_counter()
    image = strategy.generate(denoiser, canvas, noise)
    synchronize(image.device)
    seconds = time.perf_counter() - begun
    if not image.isfinite().all():
        raise FloatingPointError(
            f"{type(strategy).__name__} made pixels that are not finite; "
            "try precision=fp32 or more solver.num_steps."
        )
    return Generated(to_uint8(image).cpu(), seconds, denoiser.seconds)


def _write(batch: Generated, path: Path) -> None:
    """Writes in one stroke: a file that is there is whole."""
    part = path.with_suffix(".part")
    times = {"seconds": str(batch.seconds), "network_seconds": str(batch.network_seconds)}
    # Written by Python, whose errors tell a full disk from other failures.
    part.write_bytes(save({"canvases": batch.canvases}, metadata=times))
    part.replace(path)


def _read(path: Path) -> Generated | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            times = file.metadata()
            return Generated(
                file.get_tensor("canvases"),
                float(times["seconds"]),
                float(times["network_seconds"]),
            )
    except SafetensorError:
        # Damaged from outside, since we write whole files: made again.
        return None
