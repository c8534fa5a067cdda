"""What a strategy costs: counted at the one place that every evaluation passes, the denoiser."""

import functools
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override

from denoisers.contract import Image, PatchDenoiser, Sigma
from denoisers.wrapper import Answer, Ask, PatchWrapper

__all__ = [
    "Clock",
    "NFECounter",
    "memory_source",
    "peak_memory_mib",
    "reset_peak_memory",
    "synchronize",
]

Clock = Callable[[], float]

CLEAR_REFS = Path("/proc/self/clear_refs")  # Linux; proc(5)
RESET_PEAK = "5"


class NFECounter(PatchWrapper):
    """A patch denoiser that counts what it is asked and times its answers.

    An estimate with its variance is one call, as an estimate alone. Time inside the network is that
    of its forward passes, and of its backward passes from the gradient of an estimate to that of
    the noisy image it was made from.

    Args:
        denoiser: The denoiser that does the work.
        clock: Tells the time, in seconds; a CUDA device tells its own.

    Attributes:
        calls: Network calls.
        patches: Images evaluated, over all calls; halves count as images of their own.
        pixels: Pixels evaluated, over all calls.
        backward_passes: Backward passes through the network.
        backward_pixels: Pixels of the estimates that these began with.
    """

    def __init__(self, denoiser: PatchDenoiser, *, clock: Clock = time.perf_counter) -> None:
        super().__init__(denoiser)
        self.clock = clock
        self.reset()

    def reset(self) -> None:
        """Starts every count from 0."""
        self.calls = 0
        self.patches = 0
        self.pixels = 0
        self.backward_passes = 0
        self.backward_pixels = 0
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @override
    def answer(self, ask: Ask, x_t: Image, sigma: Sigma, context: Any) -> Answer:
        self.calls += 1
        self.patches += len(x_t)
        self.pixels += x_t[:, 0].numel()
        if x_t.requires_grad:
            # A tensor of this call's own: the gradient that reaches it is through this call alone.
            x_t = x_t.view_as(x_t)
        stop = self._start(x_t.device)
        said = ask(x_t, sigma, context)
        stop()
        if said[0].requires_grad:
            self._watch_gradients(x_t, said[0])
        return said

    def _watch_gradients(self, x_t: Image, x0_hat: Image) -> None:
        """Counts the gradients that come to `x0_hat`; times them until they reach `x_t`."""
        running: list[Callable[[], None]] = []

        def arrives(gradient: Image) -> None:
            self.backward_passes += 1
            self.backward_pixels += gradient[:, 0].numel()
            if x_t.requires_grad:
                running.append(self._start(gradient.device))

        def leaves(gradient: Image) -> None:
            if running:
                running.pop()()

        x0_hat.register_hook(arrives)
        if x_t.requires_grad:
            x_t.register_hook(leaves)

    @property
    def seconds(self) -> float:
        """Seconds inside the network since the last reset; waits for the device."""
        for start, stop in self._events:
            stop.synchronize()
            self._seconds += start.elapsed_time(stop) / 1000
        self._events.clear()
        return self._seconds

    def _start(self, device: torch.device) -> Callable[[], None]:
        """Starts to time what the device is asked from now on; what is returned stops it."""
        if device.type == "cuda":
            return self._start_events()
        synchronize(device)
        begun = self.clock()

        def stop() -> None:
            synchronize(device)
            self._seconds += self.clock() - begun

        return stop

    def _start_events(self) -> Callable[[], None]:
        """Times by marks in the device's own queue, read later: a wait here would slow it down."""
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()

        def stop() -> None:
            last.record()
            self._events.append((first, last))

        return stop


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
