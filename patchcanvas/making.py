"""Canvases by the batch, kept on disk as they are made, so that a stopped run goes on."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from lightning.pytorch.utilities.memory import garbage_collection_cuda

from benchmarks.comparison.samples import Batch, SampleFiles, runs_of
from benchmarks.comparison.writer import BackgroundWriter
from benchmarks.experiment.processes import Processes
from denoisers.contract import PatchDenoiser
from patchcanvas.accounting import Metered, synchronize
from patchcanvas.context.conditioner import UNTOLD, Telling
from patchcanvas.pictures import write_picture
from patchcanvas.provenance import Origin
from patchcanvas.watched import Watched
from patchcanvas.window_batch import out_of_memory
from sampling.images import to_uint8
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas, Known

__all__ = ["Maker", "Pictures", "canvas_batches", "why_not_made"]


@dataclasses.dataclass(frozen=True)
class Maker:
    """Makes any sample of one strategy.

    Args:
        strategy: Makes canvases.
        denoiser: The shared denoiser, under the meter.
        canvas: Their size.
        seed: The run's seed.
        device: Where they are made.
        telling: What they are told.
        known: Pixels that are given, the same ones for all; they come back bit by bit.
        calls: Network calls that a batch takes; None if that is not known.
        advance: Told of every network call what part of how many canvases it is; of nothing where
            `calls` is not known.
    """

    strategy: Strategy
    denoiser: Metered
    canvas: Canvas
    seed: int
    device: torch.device
    telling: Telling = UNTOLD
    known: Known | None = None
    calls: int | None = None
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
        image = self.telling.generate(self.strategy, denoiser, self.canvas, noise, known=self.known)
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
        if self.calls is None:
            return self.denoiser
        return Watched(self.denoiser, lambda: self.advance(count / self.calls))


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Which samples are written as PNG, and what these say of themselves.

    Args:
        files: Where the first samples go, in their order.
        origin: Returns what a sample was made from, given its number and those of the samples that
            were made with it.
    """

    files: list[Path] = dataclasses.field(default_factory=list)
    origin: Callable[[int, range], Origin] | None = None

    def write(self, batch: Batch) -> None:
        """Writes those of a batch that are not there yet."""
        for index, canvas in zip(batch.indices, batch.canvases, strict=True):
            if index >= len(self.files) or self.files[index].is_file():
                continue
            origin = None if self.origin is None else self.origin(index, batch.indices)
            write_picture(canvas, self.files[index], origin=origin)


NO_PICTURES = Pictures()


def canvas_batches(
    maker: Maker,
    files: SampleFiles,
    processes: Processes,
    *,
    count: int,
    batch_size: int,
    pictures: Pictures = NO_PICTURES,
) -> Iterator[Batch]:
    """Yields this process's share of samples 0 to `count` - 1, those that are on disk first.

    The others are made, and written in the background before the last batch is yielded. When
    memory runs out the batch is halved, down to a single canvas.

    Args:
        maker: Makes them.
        files: Where they are kept.
        processes: Who shares the work.
        count: How many samples there are, over all processes.
        batch_size: How many are made at a time.
        pictures: Which of them are written as PNG.
    """
    finished = processes.once(lambda: files.finished(count))
    for path in processes.share(list(finished.values())):
        batch = files.read(path)
        pictures.write(batch)
        yield batch
    taken = {index for indices in finished for index in indices}
    missing = [index for index in range(count) if index not in taken]
    with BackgroundWriter() as writer:
        for run in processes.share(runs_of(missing, longest=batch_size)):
            for batch in _made(maker, run):
                writer.put(lambda batch=batch: _write(batch, files, pictures))
                yield batch


def _made(maker: Maker, run: range) -> Iterator[Batch]:
    """Yields the samples of a run in as few batches as memory holds."""
    todo = [run]
    while todo:
        indices = todo.pop(0)
        try:
            batch = maker(indices)
        except RuntimeError as error:
            if not out_of_memory(error) or len(indices) == 1:
                raise
        else:
            yield batch
            continue
        # Outside the handler, whose traceback would keep the failed batch's memory.
        garbage_collection_cuda()
        half = len(indices) // 2
        todo[:0] = [indices[:half], indices[half:]]


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


def _write(batch: Batch, files: SampleFiles, pictures: Pictures) -> None:
    """Writes pictures first: a batch whose file is there is finished."""
    pictures.write(batch)
    files.write(batch)
