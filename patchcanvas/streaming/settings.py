"""Every setting of the endless strip, with its unit and its default, and the command line."""

import dataclasses
from pathlib import Path

from patchcanvas.bundled import is_pretrained
from patchcanvas.cli.command_line import Command, read_settings
from patchcanvas.cli.settings import RunSettings, validate_minimum
from patchcanvas.image_file import MAX_MEGAPIXELS, validate_max_megapixels
from patchcanvas.model import CanvasHeight

__all__ = ["StreamSettings", "read_command"]

ONE_PATCH = CanvasHeight()


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamSettings(RunSettings):
    """An endless strip by one denoiser, a block of columns at a time.

    Args:
        denoiser: `landscapes_controlled` or another that comes with the package, a .safetensors
            file with its .json beside it, or hub:OWNER/NAME/FILE.safetensors, trained with noise
            maps. Pretrained models were not.
        solver: The way from noise to image: `heun`, `euler`, or a class path; its own settings are
            solver.num_steps and so on.
        columns: Columns to make, rounded up to whole blocks; null: on and on, until it is stopped.
        canvas: Height of the strip, in pixels.
        window: Columns that the denoiser sees at a time; by default its patch size.
        past: Least finished columns among them; by default half.
        block: Columns that are finished at a time; by default half of the window. A quarter or
            less has several blocks under way, which asks more of a denoiser (docs/streaming.md).
        clean_level: Level that finished pixels are said to have: 0, or the smallest that a denoiser
            was trained on, for one that never saw a 0.
        known: Image to go on from, as high as the strip, which begins at its right edge.
        tile: Columns of one PNG.
        measure: Least columns between two measurements of time and memory.
        save_seconds: Most time that is lost by a kill.
        folder: Where the strip grows. One that is there already is gone on with.
        max_megapixels: Most pixels of the image to go on from, in millions; each takes 4 bytes of
            memory and as many to work on.
    """

    denoiser: str = "landscapes_controlled"
    columns: int | None = None
    canvas: CanvasHeight = ONE_PATCH
    window: int | None = None
    past: int | None = None
    block: int | None = None
    clean_level: float = 0.0
    known: Path | None = None
    tile: int = 1024
    measure: int = 64
    save_seconds: float = 10.0
    folder: Path = Path("results/stream")
    max_megapixels: float = MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        validate_minimum(self, *((name, 1) for name in ("columns", "window", "tile", "measure")))
        validate_max_megapixels(self.max_megapixels)
        if not self.save_seconds >= 0:
            raise ValueError(f"save_seconds must be at least 0, got {self.save_seconds}.")
        if is_pretrained(self.denoiser):
            raise ValueError(
                "denoiser must be trained with noise maps, since every block of a strip has a "
                f"noise level of its own; pretrained models are not, got {self.denoiser}."
            )
        if self.runtime.window_batch not in ("auto", 1):
            raise ValueError(
                "runtime.window_batch must be auto or 1, since a strip has one window at a time, "
                f"got {self.runtime.window_batch}."
            )


def read_command(arguments: list[str]) -> Command:
    """Reads the command line; `key=value` and `--key=value` are the same thing.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name.
        SystemExit: After printing the help, if that is asked for.
    """
    return read_settings(
        arguments,
        StreamSettings,
        prog="patchcanvas stream",
        description="Makes an endless strip and writes it to disk as it grows, for a constant time "
        "and memory a column. It may be stopped or killed at any moment: the same command goes on "
        "from there, with the same pixels. Write settings as key=value, for example: "
        "columns=10000 block=4 solver.num_steps=12.",
    )
