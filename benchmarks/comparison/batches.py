"""Canvases by the batch, kept on disk as they are made, so that a stopped run goes on."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.comparison.samples import SampleFiles
from benchmarks.comparison.writer import BackgroundWriter
from benchmarks.experiment.processes import Processes, runs_of
from patchcanvas.making import Batch, Maker
from patchcanvas.pictures import write_picture
from patchcanvas.provenance import Provenance
from patchcanvas.window_batch import free_memory, out_of_memory

__all__ = ["Pictures", "canvas_batches"]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Which samples are written as PNG, and what these say of themselves.

    Args:
        files: Where the first samples go, in their order.
        origin: Returns what a sample was made from, given its number and those of the samples that
            were made with it.
    """

    files: list[Path] = dataclasses.field(default_factory=list)
    origin: Callable[[int, range], Provenance] | None = None

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
                writer.put(functools.partial(_write, batch, files, pictures))
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
        free_memory()
        half = len(indices) // 2
        todo[:0] = [indices[:half], indices[half:]]


def _write(batch: Batch, files: SampleFiles, pictures: Pictures) -> None:
    """Writes pictures first: a batch whose file is there is finished."""
    pictures.write(batch)
    files.write(batch)
