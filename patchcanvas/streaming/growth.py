"""How a strip grows: blocks become PNGs, and what they take is measured."""

import dataclasses
import time
from collections.abc import Iterator

import torch
from jaxtyping import UInt8
from torch import Tensor

from denoisers.contract import Image
from patchcanvas.accounting import (
    Clock,
    NFECounter,
    peak_memory_mib,
    reset_peak_memory,
    synchronize,
)
from patchcanvas.streaming.folder import StripFolder
from patchcanvas.streaming.records import Log, Measurement, Record
from patchcanvas.streaming.state import Standing
from sampling.images import to_uint8
from sampling.noise import CanvasNoise
from strategies.conveyor import Conveyor, State

__all__ = ["Growth"]


@dataclasses.dataclass
class Growth:
    """A strip as it grows.

    Everything that it remembers is in `standing`, which is replaced after every block in one
    stroke: it may be interrupted anywhere.

    Args:
        conveyor: Makes the blocks.
        denoiser: The denoiser, under the meter.
        noise: The strip's noise.
        folder: Where it goes.
        record: What it is made by.
        standing: Where it stands.
        log: What it took so far.
        measure: Least columns between two measurements.
        save_seconds: Most time between two saves.
        clock: Tells the time, in seconds.
    """

    conveyor: Conveyor
    denoiser: NFECounter
    noise: CanvasNoise
    folder: StripFolder
    record: Record
    standing: Standing
    log: Log
    measure: int
    save_seconds: float
    clock: Clock = time.perf_counter

    def __post_init__(self) -> None:
        self.saved = self.clock()
        self._start()

    def blocks(self, columns: int | None) -> Iterator[int]:
        """Makes block after block, until there are so many columns; yields their number so far.

        Raises:
            FloatingPointError: If a pixel is not finite.
        """
        self._start()
        start = self.standing.state
        start = dataclasses.replace(start, pixels=start.pixels.to(self.noise.device))
        made = self.conveyor.blocks(self.denoiser, self.noise, start)
        while columns is None or self.standing.columns < columns:
            state, block = next(made)
            self._take(state, block)
            yield self.standing.columns

    def save(self) -> None:
        """Measures the last columns and writes them too, so that all can be looked at."""
        if self.standing.columns > self.measured:
            self._measure()
        self._save()
        if self.standing.tail.shape[-1]:
            self.folder.write_tile(self.standing.columns // self.record.tile, self.standing.tail)

    def _take(self, state: State, block: Image) -> None:
        """Puts a block at the end of the strip."""
        if not block.isfinite().all():
            raise FloatingPointError(
                "the conveyor made pixels that are not finite; try precision=fp32 or more "
                "solver.num_steps."
            )
        tail = self._written(torch.cat([self.standing.tail, to_uint8(block)[0].cpu()], dim=-1))
        columns = self.standing.columns + block.shape[-1]
        self.standing = dataclasses.replace(self.standing, state=state, columns=columns, tail=tail)
        if columns - self.measured >= self.measure:
            self._measure()
        if self.clock() - self.saved >= self.save_seconds:
            self._save()

    def _written(
        self, tail: UInt8[Tensor, "channels height all"]
    ) -> UInt8[Tensor, "channels height rest"]:
        """Writes the PNGs that are full; returns what is left."""
        width = self.record.tile
        number = self.standing.columns // width
        while tail.shape[-1] >= width:
            self.folder.write_tile(number, tail[..., :width])
            tail, number = tail[..., width:].clone(), number + 1
        return tail

    def _start(self) -> None:
        """Measures from here on."""
        self.begun, self.worked = self.clock(), time.process_time()
        self.measured = self.standing.columns
        self.denoiser.reset()
        reset_peak_memory(self.noise.device)

    def _measure(self) -> None:
        device = self.noise.device
        synchronize(device)
        measurement = Measurement(
            columns=self.standing.columns,
            made=self.standing.columns - self.measured,
            seconds=self.clock() - self.begun,
            network_seconds=self.denoiser.seconds,
            processor_seconds=time.process_time() - self.worked,
            calls=self.denoiser.calls,
            pixels=self.denoiser.pixels,
            memory_mib=peak_memory_mib(device),
        )
        self.log.add(measurement)
        self.standing = dataclasses.replace(
            self.standing,
            log_size=self.log.size,
            seconds=self.standing.seconds + measurement.seconds,
        )
        self._start()

    def _save(self) -> None:
        self.folder.save(self.standing, self.record)
        self.saved = self.clock()
