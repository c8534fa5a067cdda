"""What the commands do that make pictures: files found or chosen, one picture after another."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from patchcanvas.cli.command_line import Command
from patchcanvas.cli.progress import progress_bars
from patchcanvas.making import why_not_made
from patchcanvas.painting import Painting
from patchcanvas.picture_files import asked_files, holds_another, holds_same, new_files

__all__ = ["PaintingRun"]

LESS_MEMORY = (
    "Less is taken by precision=bf16, by NAME.max_batch=1 for the strategy, and by a strategy that "
    "takes no gradients, such as replacement."
)


@dataclasses.dataclass(frozen=True)
class PaintingRun:
    """Pictures that are to be made.

    Args:
        painting: What makes them.
        files: Where they go, by their numbers.
    """

    painting: Painting
    files: list[Path]

    @classmethod
    def prepare(
        cls,
        program: str,
        command: Command,
        arguments: list[str],
        prepared: Callable[[Command, list[str]], Painting],
    ) -> "PaintingRun":
        """Checks all that can be checked before the work.

        Args:
            program: Whose files may be written over.
            command: What was asked for.
            arguments: The words that asked for it.
            prepared: Returns what makes the pictures.

        Raises:
            ValueError: If something does not fit.
            OSError: If a file is missing or cannot be written.
        """
        settings = command.settings
        files = asked_files(settings, program)
        try:
            painting = prepared(command, arguments)
        except RuntimeError as error:  # a package is missing, or memory does not hold the weights
            raise ValueError(str(error)) from error
        if files is None:
            origins = [painting.origin(sample) for sample in range(settings.num_samples)]
            files = new_files(settings.results, painting.stem, origins)
        return cls(painting, files)

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
                console.print(f"{file}: {self.painting.said}", markup=False)
        return 0

    def _is_there(self, sample: int, file: Path, console: Console) -> bool:
        """Whether a picture need not be made; says so, and what will be written over."""
        origin = self.painting.origin(sample)
        if holds_same(file, origin) and not self.painting.settings.overwrite:
            console.print(
                f"{file} is there, made of the same: overwrite=true makes it again.", markup=False
            )
            return True
        if holds_another(file, origin):
            console.print(f"{file} is there and will be written over.", markup=False)
        return False

    def _make(self, sample: int, file: Path, progress: Progress) -> None:
        calls = self.painting.maker.calls
        task = progress.add_task("network calls", total=calls)
        self.painting.write(
            sample, file, called=lambda share: progress.advance(task, share * calls)
        )
        progress.update(task, completed=calls)
