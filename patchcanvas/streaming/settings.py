"""Every setting of the endless strip, with its unit and its default, and the command line."""

import dataclasses
from pathlib import Path
from typing import Any

from patchcanvas.cli.command_line import described, read_settings
from patchcanvas.cli.settings import DEFAULT_SOLVER
from patchcanvas.environment import Precision
from patchcanvas.image_file import MAX_MEGAPIXELS, validate_max_megapixels
from sampling.solvers import Solver

__all__ = ["Command", "StreamSettings", "read_command"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """An endless strip by one denoiser, a block of columns at a time.

    Args:
        denoiser: `landscapes_controlled` or another that comes with the package, a
            .safetensors file with its .json beside it, or hub:OWNER/NAME/FILE.safetensors.
        columns: Columns to make, rounded up to whole blocks; null: on and on, until it is stopped.
        height: Pixels from top to bottom; by default the denoiser's patch size.
        window: Columns that the denoiser sees at a time; by default its patch size.
        past: Least finished columns among them; by default half.
        block: Columns that are finished at a time; by default half of the window. A quarter or
            less has several blocks under way, which asks more of a denoiser (docs/streaming.md).
        clean_level: Level that finished pixels are said to have: 0, or the smallest that a denoiser
            was trained on, for one that never saw a 0.
        known: Image to go on from, as high as the strip, which begins at its right edge.
        solver: The way from noise to image: `heun`, `euler`, or a class path; its own settings are
            solver.num_steps and so on.
        seed: Seeds the noise; with the same settings and weights it makes the same strip.
        tile: Columns of one PNG.
        measure: Least columns between two measurements of time and memory.
        save_seconds: Most time that is lost by a kill.
        device: `auto` (CUDA, else MPS, else CPU), cpu, cuda, cuda:N or mps.
        precision: What the network computes in: fp32, bf16 or fp16.
        compile: Whether torch.compile compiles the network; slow to start, then faster on a GPU.
        folder: Where the strip grows. One that is there already is gone on with.
        max_megapixels: Most pixels of the image to go on from, in millions; each takes 4 bytes of
            memory and as many to work on.
    """

    denoiser: str = "landscapes_controlled"
    columns: int | None = None
    height: int | None = None
    window: int | None = None
    past: int | None = None
    block: int | None = None
    clean_level: float = 0.0
    known: Path | None = None
    solver: Solver = DEFAULT_SOLVER
    seed: int = 0
    tile: int = 1024
    measure: int = 64
    save_seconds: float = 10.0
    device: str = "auto"
    precision: Precision = "fp32"
    compile: bool = False
    folder: Path = Path("results/stream")
    max_megapixels: float = MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        for name in ("columns", "height", "window", "tile", "measure"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        validate_max_megapixels(self.max_megapixels)
        if not self.save_seconds >= 0:
            raise ValueError(f"save_seconds must be at least 0, got {self.save_seconds}.")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line, read and checked.

    Args:
        settings: The settings.
        record: All of them as plain values.
    """

    settings: StreamSettings
    record: dict[str, Any]


def read_command(arguments: list[str]) -> Command:
    """Reads the command line; `key=value` and `--key=value` are the same thing.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name.
        SystemExit: After printing the help, if that is asked for.
    """
    settings, record = read_settings(
        arguments,
        StreamSettings,
        prog="patchcanvas stream",
        description="Makes an endless strip and writes it to disk as it grows, for a constant time "
        "and memory a column. It may be stopped or killed at any moment: the same command goes on "
        "from there, with the same pixels. Write settings as key=value, for example: "
        "columns=10000 block=4 solver.num_steps=12.",
        defaults={"solver": described(DEFAULT_SOLVER)},
    )
    return Command(settings, record)
