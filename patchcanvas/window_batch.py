"""How many windows go through the network at once: as many as memory holds, or exactly so many."""

import dataclasses
import gc
import json
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock
from typing_extensions import override

from denoisers.contract import Image, PatchDenoiser, Sigma
from denoisers.wrapper import Answer, Ask, PatchWrapper
from patchcanvas.records import write_json

__all__ = [
    "ExactBatch",
    "FittingBatch",
    "Memory",
    "WindowBatch",
    "free_memory",
    "out_of_memory",
    "with_batch",
]

WindowBatch = int | Literal["auto"]

# How libraries without an error of their own say that memory ran out; cuDNN's is what it says of a
# convolution whose workspace no longer fits.
OUT_OF_MEMORY = (
    "out of memory",
    "DefaultCPUAllocator: can't allocate memory",
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
)


def with_batch(denoiser: PatchDenoiser, size: WindowBatch, memory: "Memory") -> PatchDenoiser:
    """Returns the denoiser with calls of the asked size.

    Args:
        denoiser: The network.
        size: `auto` for as many windows as memory holds, or their exact number.
        memory: What is known of this device already; only `auto` asks it.

    Raises:
        ValueError: If the number is below 1.
    """
    return FittingBatch(denoiser, memory) if size == "auto" else ExactBatch(denoiser, size)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY)


def free_memory() -> None:
    """Gives back what nothing refers to any more, on the device too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclasses.dataclass(frozen=True)
class Memory:
    """The most pixels that went through a network at once, remembered for a device.

    Args:
        path: A JSON file that all runs share; deleting it forgets everything.
        key: Names the device, the weights and the precision.
    """

    path: Path
    key: str

    def most_pixels(self) -> int | None:
        """Returns the limit that was found; None while no call has failed."""
        return self._all().get(self.key)

    def remember(self, most_pixels: int) -> None:
        """Keeps a limit for later runs; a run does not fail because it cannot be kept."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock"):
                write_json(self.path, self._all() | {self.key: most_pixels})
        except OSError as error:
            warnings.warn(f"the batch that fits could not be remembered: {error}.", stacklevel=2)

    def _all(self) -> dict[str, int]:
        try:
            content = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}  # nothing learnt yet, or damaged: it will be learnt again
        return content if isinstance(content, dict) else {}


class FittingBatch(PatchWrapper):
    """Halves the batch when memory runs out, and never tries as many pixels again.

    A batch that fits is one call. Which split was needed changes the last bit of an image, as any
    change of batch size does; `ExactBatch` does not. Where a gradient will be taken the parts would
    all be kept until then and splitting would gain nothing: the error is left to the caller.

    Args:
        denoiser: The network.
        memory: Where the limit is kept.
    """

    def __init__(self, denoiser: PatchDenoiser, memory: Memory) -> None:
        super().__init__(denoiser)
        self.memory = memory
        self.most_pixels = memory.most_pixels()
        self._learnt = False  # a limit that no smaller call has confirmed yet

    @override
    def answer(self, ask: Ask, x_t: Image, sigma: Sigma, context: Any) -> Answer:
        """Denoises, in as few calls as memory allows.

        Raises:
            RuntimeError: If memory does not hold a single window.
        """
        pixels = x_t[0, 0].numel()
        done: list[Answer] = []
        start = 0
        while start < len(x_t):
            size = len(x_t) - start
            if self.most_pixels is not None:
                size = max(1, min(size, self.most_pixels // pixels))
            part = slice(start, start + size)
            try:
                done.append(ask(x_t[part], _part(sigma, part), _part(context, part)))
            except RuntimeError as error:
                if not out_of_memory(error) or size == 1 or _keeps_a_graph(x_t):
                    raise
                self.most_pixels = size // 2 * pixels
            else:
                start += size
                if self._learnt and self.most_pixels is not None:
                    self.memory.remember(self.most_pixels)
                    self._learnt = False
                continue
            # Outside the handler, whose traceback would keep the failed call's memory.
            free_memory()
            self._learnt = True
        return done[0] if len(done) == 1 else _joined(done)


class ExactBatch(PatchWrapper):
    """Every call has exactly so many windows; the last one is filled up and cut again.

    Kernels are chosen by the size of a batch and round differently; at one size, what becomes of a
    window does not depend on the windows beside it. So canvases are the same bits whatever the
    number of canvases made together, at the price of windows evaluated for nothing.

    Args:
        denoiser: The network.
        size: Windows in a call.
    """

    def __init__(self, denoiser: PatchDenoiser, size: int) -> None:
        if size < 1:
            raise ValueError(f"window_batch must be auto or at least 1, got {size}.")
        super().__init__(denoiser)
        self.size = size

    @override
    def answer(self, ask: Ask, x_t: Image, sigma: Sigma, context: Any) -> Answer:
        # Rows of their own for all: a level that all share takes another way through the network.
        sigma = sigma.expand(len(x_t), *sigma.shape[1:])
        done = []
        for start in range(0, len(x_t), self.size):
            part = slice(start, start + self.size)
            missing = self.size - len(x_t[part])
            said = ask(
                _filled(x_t[part], missing),
                _filled(sigma[part], missing),
                None if context is None else _filled(context[part], missing),
            )
            done.append(tuple(rows[: self.size - missing] for rows in said))
        return _joined(done)


def _keeps_a_graph(x_t: Image) -> bool:
    return torch.is_grad_enabled() and x_t.requires_grad


def _joined(parts: list[Answer]) -> Answer:
    """Returns the answers to all windows, from those to each part of them."""
    return tuple(map(torch.cat, zip(*parts, strict=True)))


def _part(rows: Any, part: slice) -> Any:
    """Returns the rows of a part; of what holds for all rows, everything."""
    return rows if rows is None or len(rows) == 1 else rows[part]


def _filled(rows: Any, missing: int) -> Any:
    """Repeats the last row."""
    return rows[torch.arange(len(rows) + missing).clamp(max=len(rows) - 1)] if missing else rows
