"""`patchcanvas stream`: an endless strip, written to disk as it grows."""

import dataclasses
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from denoisers.checkpoint import sha256_of
from denoisers.contract import Image, PatchDenoiser
from patchcanvas.accounting import NFECounter
from patchcanvas.cli.command_line import Command
from patchcanvas.cli.entry import carried_out
from patchcanvas.cli.progress import progress_bars
from patchcanvas.environment import describe_environment, resolve_device
from patchcanvas.files import unlock
from patchcanvas.image_file import read_image
from patchcanvas.model import Model, load_model
from patchcanvas.sources import MAKING, sha256_of_sources
from patchcanvas.streaming.folder import ENDS, LOG, PLOT, TILES, StripFolder
from patchcanvas.streaming.growth import Growth
from patchcanvas.streaming.picture import draw, draw_ends, summary
from patchcanvas.streaming.records import Log, Record
from patchcanvas.streaming.settings import StreamSettings, read_command
from patchcanvas.streaming.state import Standing
from sampling.noise import CanvasNoise
from strategies.conveyor import Conveyor, State

__all__ = ["Run", "main"]


def main(arguments: list[str] | None = None) -> int:
    """Makes the strip grow.

    Returns:
        0 when it has all columns that were asked for, 1 when pixels came out that are not finite, 2
        when nothing could be begun or written, 130 when it was interrupted, which is the only end
        of a strip without one.
    """
    return carried_out(Run.prepare, arguments)


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, from checked settings to the pictures.

    Args:
        settings: What was asked for.
        growth: The strip.
    """

    settings: StreamSettings
    growth: Growth

    @classmethod
    def prepare(cls, arguments: list[str]) -> "Run":
        """Checks all that can be checked before the work; finds or makes the folder.

        Raises:
            ValueError: If something does not fit, or the folder holds something else.
            OSError: If a file is missing or the folder cannot be written.
        """
        command = read_command(arguments)
        settings = command.settings
        device = resolve_device(settings.device)
        model = load_model(settings.denoiser, settings.runtime)
        denoiser = model.placed(device, settings.runtime).denoiser
        if denoiser.channels != 3:
            raise ValueError(
                f"a strip is written as RGB: the denoiser must have 3 channels, got "
                f"{denoiser.channels}."
            )
        conveyor = conveyor_of(settings, denoiser)
        noise = CanvasNoise(settings.seed, [0], device=device)
        known = None if settings.known is None else known_strip(settings.known, settings)
        fresh = fresh_record(command, arguments, conveyor, model, device)
        state = conveyor.begin(denoiser, noise, known=known)
        folder = StripFolder.opened(settings.folder, fresh)
        try:
            growth = growth_in(folder, conveyor, denoiser, noise, state, settings)
        except BaseException:
            unlock(folder.path)
            raise
        return cls(settings, growth)

    def execute(self, console: Console) -> int:
        """Makes columns until there are enough, or until it is interrupted; then draws."""
        folder = self.growth.folder
        console.print(f"writing to {folder.path}", markup=False)
        try:
            self._grow(console)
        except FloatingPointError as error:
            console.print(f"error: {error}", markup=False)
            return 1
        finally:
            try:
                self.growth.save()
                self._draw(console)
            finally:
                unlock(folder.path)
        return 0

    def _grow(self, console: Console) -> None:
        begun, clock = self.growth.standing.columns, self.growth.clock
        with progress_bars(console) as progress:
            task = progress.add_task("columns", total=self.settings.columns, completed=begun)
            start = clock()
            for columns in self.growth.blocks(self.settings.columns):
                rate = (columns - begun) / (clock() - start)
                progress.update(task, completed=columns, description=f"{rate:.1f} columns/s")

    def _draw(self, console: Console) -> None:
        folder, measurements = self.growth.folder, self.growth.log.read()
        if not measurements:
            return
        draw(measurements, folder)
        draw_ends(self.growth.record, folder)
        record = self.growth.record
        said = [f"{record.columns:,} columns.", *summary(measurements, record.window["height"])]
        console.print(" ".join(said), markup=False)
        drawn = [str(folder.path / name) for name in (ENDS, PLOT) if (folder.path / name).is_file()]
        console.print(f"pictures: {', '.join(drawn)}", markup=False)


def growth_in(
    folder: StripFolder,
    conveyor: Conveyor,
    denoiser: PatchDenoiser,
    noise: CanvasNoise,
    beginning: State,
    settings: StreamSettings,
) -> Growth:
    """Returns the strip as it stands in its folder, at its beginning if nothing is there.

    Raises:
        ValueError: If what is there is damaged.
    """
    channels, height = beginning.pixels.shape[1:3]
    nothing = torch.zeros(channels, height, 0, dtype=torch.uint8)
    standing = folder.standing() or Standing(beginning, columns=0, tail=nothing)
    return Growth(
        conveyor,
        NFECounter(denoiser),
        noise,
        folder,
        folder.record(),
        standing,
        Log(folder.path / LOG, standing.log_size),
        settings.measure,
        settings.save_seconds,
    )


def conveyor_of(settings: StreamSettings, denoiser: PatchDenoiser) -> Conveyor:
    """Returns the conveyor that is asked for; blocks are half a window where nothing is said."""
    window = settings.window or denoiser.patch_size
    return Conveyor(
        solver=settings.solver,
        window=settings.window,
        height=settings.canvas.height,
        past=settings.past,
        block=settings.block or max(1, window // 2),
        clean_level=settings.clean_level,
    )


def known_strip(file: Path, settings: StreamSettings) -> Image:
    """Reads the image to go on from, in [-1, 1].

    Raises:
        ValueError: If it is none.
        OSError: If there is no such file.
    """
    picture, _ = read_image(file, "known", max_megapixels=settings.max_megapixels)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    return pixels[None].float() / 127.5 - 1


def fresh_record(
    command: Command,
    arguments: list[str],
    conveyor: Conveyor,
    model: Model,
    device: torch.device,
) -> Record:
    """Returns the record of a strip that has not begun.

    Raises:
        ValueError: If the denoiser cannot take the windows.
    """
    settings, belt = command.settings, conveyor.belt(model.denoiser)
    layout = {name: getattr(belt, name) for name in ("height", "width", "past", "block", "active")}
    return Record(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["patchcanvas", "stream", *arguments]),
        settings=command.record,
        environment=describe_environment(device) | {"sources": sha256_of_sources([], MAKING)},
        denoiser=model.description,
        known=None if settings.known is None else sha256_of(settings.known),
        window=layout | {"lag": belt.lag},
        tile=settings.tile,
        tiles=TILES,
    )


if __name__ == "__main__":
    sys.exit(main())
