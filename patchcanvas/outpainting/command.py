"""`patchcanvas outpaint IMAGE --to WIDTHxHEIGHT`: image in, image out."""

import dataclasses
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from patchcanvas.cli.entry import carried_out
from patchcanvas.cli.progress import progress_bars
from patchcanvas.making import why_not_made
from patchcanvas.outpainting.files import asked_files, holds_another, holds_same, new_files
from patchcanvas.outpainting.preparation import Outpainting, prepared
from patchcanvas.outpainting.settings import read_command
from patchcanvas.pictures import write_picture

__all__ = ["Run", "main"]

LESS_MEMORY = (
    "Less is taken by precision=bf16, by NAME.max_batch=1 for the strategy, and by "
    "strategy=replacement, which takes no gradients."
)


def main(arguments: list[str] | None = None) -> int:
    """Continues an image, or paints parts of it anew.

    Returns:
        0 when all pictures are there, 1 when one could not be made, 2 when nothing could be begun
        or written, 130 when interrupted.
    """
    return carried_out(Run.prepare, arguments)


@dataclasses.dataclass(frozen=True)
class Run:
    """Pictures that are to be made.

    Args:
        outpainting: What makes them.
        files: Where they go, by their numbers.
    """

    outpainting: Outpainting
    files: list[Path]

    @classmethod
    def prepare(cls, arguments: list[str]) -> "Run":
        """Checks all that can be checked before the work.

        Raises:
            ValueError: If something does not fit.
            OSError: If a file is missing or cannot be written.
        """
        command = read_command(arguments)
        settings = command.settings
        files = asked_files(settings)
        try:
            outpainting = prepared(command, arguments)
        except RuntimeError as error:  # a package is missing, or memory does not hold the weights
            raise ValueError(str(error)) from error
        if files is None:
            given = outpainting.given
            origins = [outpainting.origin(sample) for sample in range(settings.num_samples)]
            stem = f"{settings.image.stem}-{given.width}x{given.height}"
            files = new_files(settings.results, stem, origins)
        return cls(outpainting, files)

    def execute(self, console: Console) -> int:
        """Makes the pictures that are not there yet, one after another."""
        with progress_bars(console) as progress:
            for sample, file in enumerate(self.files):
                if self._is_there(sample, file, console):
                    continue
                try:
                    self._make(sample, file, progress)
                except (FloatingPointError, RuntimeError) as error:
                    memory = "" if isinstance(error, FloatingPointError) else f" {LESS_MEMORY}"
                    console.print(f"error: {why_not_made(error)}{memory}", markup=False)
                    return 1
                console.print(f"{file}: {self._said()}", markup=False)
        return 0

    def _is_there(self, sample: int, file: Path, console: Console) -> bool:
        """Whether a picture need not be made; says so, and what will be written over."""
        origin = self.outpainting.origin(sample)
        if holds_same(file, origin) and not self.outpainting.settings.overwrite:
            console.print(
                f"{file} is there, made of the same: overwrite=true makes it again.", markup=False
            )
            return True
        if holds_another(file, origin):
            console.print(f"{file} is there and will be written over.", markup=False)
        return False

    def _make(self, sample: int, file: Path, progress: Progress) -> None:
        calls = self.outpainting.maker.calls
        task = progress.add_task("network calls", total=calls)
        canvas = self.outpainting.made(
            sample, told=lambda share: progress.advance(task, share * calls)
        )
        progress.update(task, completed=calls)
        profile = self.outpainting.given.profile
        write_picture(canvas, file, origin=self.outpainting.origin(sample), profile=profile)

    def _said(self) -> str:
        given = self.outpainting.given
        return (
            f"{given.width} x {given.height} px (width x height), of which {given.kept.sum():,} "
            f"are those of the image and {(~given.kept).sum():,} are painted."
        )


if __name__ == "__main__":
    sys.exit(main())
