"""`patchcanvas again PICTURE.png`: makes a picture again, from what it says of itself."""

import dataclasses
import sys

import torch
from jaxtyping import UInt8
from rich.console import Console
from torch import Tensor

from denoisers.checkpoint import CheckpointError
from patchcanvas.again.remaking import Picture, Remake, remake_of
from patchcanvas.again.settings import AgainSettings, read_settings
from patchcanvas.cli.entry import carried_out
from patchcanvas.cli.progress import progress_bars
from patchcanvas.making import why_not_made
from patchcanvas.output import validate_not_inputs, validate_own, validate_writable
from patchcanvas.pictures import read_picture, write_picture
from patchcanvas.provenance import Provenance

__all__ = ["Again", "main"]

MOVED = "If it lies elsewhere now, say so: denoiser=FILE, image=FILE, mask=FILE or root=FOLDER."


def main(arguments: list[str] | None = None) -> int:
    """Makes a picture again, and says whether it is the same.

    Returns:
        0 when it is, bit for bit, 1 when it is not or could not be made, 2 when nothing could be
        begun or written, 130 when interrupted.
    """
    return carried_out(Again.prepare, arguments)


@dataclasses.dataclass(frozen=True)
class Again:
    """A picture and what makes it again.

    Args:
        settings: What was asked for.
        origin: What the picture was made from.
        remake: What makes it now.
    """

    settings: AgainSettings
    origin: Provenance
    remake: Remake

    @classmethod
    def prepare(cls, arguments: list[str]) -> "Again":
        """Reads the record, and checks all that can be checked before the work.

        Raises:
            ValueError: If there is no record, or weights or images are others.
            OSError: If a file is missing or cannot be written.
        """
        settings = read_settings(arguments)
        origin = Provenance.read(settings.source)
        validate_not_inputs([settings.file], picture=settings.picture)
        if not settings.overwrite:
            validate_own([settings.file], origin.program)
        validate_writable(settings.file.parent)
        try:
            remake = remake_of(origin, settings)
        except (FileNotFoundError, CheckpointError) as error:
            raise ValueError(f"{error} {MOVED}") from error
        except RuntimeError as error:  # a package is missing, or memory does not hold the weights
            raise ValueError(str(error)) from error
        return cls(settings, origin, remake)

    def execute(self, console: Console) -> int:
        """Makes the picture, and compares."""
        for difference in differences(self.origin, self.remake.origin):
            console.print(f"warning: {difference}", markup=False)
        if len(company := self.remake.company) > 1:
            console.print(
                f"sample {self.origin.sample} was made with samples {company[0]} to {company[-1]}, "
                "on which its last bits may depend: all are made again, and this one is kept.",
                markup=False,
            )
        try:
            made = self._made(console)
        except (FloatingPointError, RuntimeError) as error:
            console.print(f"error: {why_not_made(error)}", markup=False)
            return 1
        write_picture(
            made, self.settings.file, origin=self.remake.origin, profile=self.remake.profile
        )
        said, status = compared(made, read_picture(self.settings.source))
        console.print(f"{self.settings.file}: {said}", markup=False)
        return status

    def _made(self, console: Console) -> Picture:
        calls, count = self.remake.maker.calls, len(self.remake.company)
        with progress_bars(console) as progress:
            task = progress.add_task("network calls", total=calls)
            made = self.remake.made(lambda share: progress.advance(task, share * calls / count))
            progress.update(task, completed=calls)
        return made


def differences(then: Provenance, now: Provenance) -> list[str]:
    """Returns what is not as it was the first time, and by which pixels may differ."""
    found, said = then.differences(now, "environment"), []
    commit = [origin.environment["commit"] for origin in (then, now)]
    found.pop("commit", None)
    if found.pop("sources", None):
        said.append(f"the code is another: it was made by commit {commit[0]}, this is {commit[1]}.")
    for name, (before, after) in found.items():
        said.append(f"{name.removeprefix('versions.')} was {before} and is {after}.")
    for name, (before, after) in then.differences(now, "strategy").items():
        said.append(f"the strategy's {name} was {before} and is {after}.")
    return said


def compared(
    made: Picture, first: UInt8[Tensor, "first_channels first_height first_width"]
) -> tuple[str, int]:
    """Returns whether a picture is the same as the first one, in words and as an exit status."""
    if made.shape != first.shape:
        sizes = [f"{image.shape[-1]} x {image.shape[-2]} px" for image in (made, first)]
        return f"not the same: it is {sizes[0]} (width x height), the picture {sizes[1]}.", 1
    if torch.equal(made, first):
        return "the same, bit for bit.", 0
    away = (made.int() - first.int()).abs()
    pixels = int((away > 0).any(0).sum())
    return (
        f"not the same: {pixels:,} of {away[0].numel():,} pixels differ, by at most "
        f"{int(away.max())} of 255.",
        1,
    )


if __name__ == "__main__":
    sys.exit(main())
