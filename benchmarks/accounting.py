"""What a strategy costs: counted at the one place that every evaluation passes, the denoiser."""

import contextlib
import functools
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from denoisers.contract import Image, PatchDenoiser, Sigma

__all__ = ["Metered", "memory_source", "peak_memory_mib", "reset_peak_memory", "synchronize"]

CLEAR_REFS = Path("/proc/self/clear_refs")  # Linux; proc(5)
RESET_PEAK = "5"


class Metered:
    """A patch denoiser that counts what it is asked and times its answers.

    Args:
        denoiser: The denoiser that does the work.

    Attributes:
        calls: Network calls.
        patches: Images evaluated, over all calls; halves count as images of their own.
        pixels: Pixels evaluated, over all calls.
        gradient_passes: Backward passes through the network.
    """

    def __init__(self, denoiser: PatchDenoiser) -> None:
        self.denoiser = denoiser
        self.patch_size = denoiser.patch_size
        self.multiple = denoiser.multiple
        self.channels = denoiser.channels
        self.takes_noise_maps = denoiser.takes_noise_maps
        self.reset()

    def reset(self) -> None:
        """Starts every count from 0."""
        self.calls = 0
        self.patches = 0
        self.pixels = 0
        self.gradient_passes = 0
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        """Denoises and counts."""
        self.calls += 1
        self.patches += len(x_t)
        self.pixels += x_t[:, 0].numel()
        with self._timed(x_t.device):
            x0_hat = self.denoiser(x_t, sigma, context)
        if x0_hat.requires_grad:
            x0_hat.register_hook(self._count_gradient_pass)
        return x0_hat

    def _count_gradient_pass(self, gradient: Image) -> None:
        self.gradient_passes += 1

    @property
    def seconds(self) -> float:
        """Seconds inside the network since the last reset; waits for the device."""
        for start, stop in self._events:
            stop.synchronize()
            self._seconds += start.elapsed_time(stop) / 1000
        self._events.clear()
        return self._seconds

    @contextlib.contextmanager
    def _timed(self, device: torch.device) -> Iterator[None]:
        if device.type == "cuda":
            # Events are read later: a wait here would slow down what is measured.
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            stop.record()
            self._events.append((start, stop))
            return
        synchronize(device)
        begun = time.perf_counter()
        yield
        synchronize(device)
        self._seconds += time.perf_counter() - begun


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all that was asked; a CPU has already."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def reset_peak_memory(device: torch.device) -> None:
    """Lets the next peak be that of what follows, where the system allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _resettable():
        CLEAR_REFS.write_text(RESET_PEAK)


def peak_memory_mib(device: torch.device) -> float:
    """Returns the peak memory since the last reset, in MiB; see `memory_source`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if _resettable():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def memory_source(device: torch.device) -> str:
    """Returns what `peak_memory_mib` measures on this machine."""
    if device.type == "cuda":
        return "peak of the memory allocated on the device by this strategy"
    if _resettable():
        return "peak resident memory of the whole process while this strategy ran"
    return "peak resident memory of the whole process since it started"


@functools.cache
def _resettable() -> bool:
    """Tries it, since a sandbox may forbid what the system knows."""
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return False
    return True
