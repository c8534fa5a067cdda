"""`python -m benchmarks.inpainting`: photographs completed by every strategy, at equal cost."""

import sys

from typing_extensions import override

from benchmarks.experiment.folder import file_name
from benchmarks.experiment.pictures import read_pictures
from benchmarks.inpainting.figures import diversity_figure, squared_errors
from benchmarks.inpainting.masks import MASKS, MaskName
from benchmarks.inpainting.picture import draw_grid, masked
from benchmarks.inpainting.records import Figure
from benchmarks.inpainting.settings import InpaintingSettings
from benchmarks.inpainting.study import Advance, Study, Trial, within
from benchmarks.inpainting.table import document
from patchcanvas.cli.command_line import Command, read
from patchcanvas.cli.entry import carried_out
from patchcanvas.cli.keys import chosen
from patchcanvas.making import Pictures
from patchcanvas.model import Model
from strategies.canvas import Canvas

__all__ = ["Inpainting", "main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark.

    Returns:
        0 when every strategy has its rows, 1 when one has not, 2 when nothing could be begun or
        written, 130 when interrupted.
    """
    return carried_out(Inpainting.prepare, arguments)


class Inpainting(Study):
    """Every strategy under every mask."""

    settings: InpaintingSettings

    PROGRAM, PICTURE = "benchmarks.inpainting", "inpainting.png"

    @classmethod
    @override
    def read_command(cls, arguments: list[str]) -> Command:
        return read(
            arguments,
            InpaintingSettings,
            prog=f"python -m {cls.PROGRAM}",
            description="Completes held-out images of which a part is given, by every strategy "
            "and at equal cost, and says how far the completions are from the images. Write "
            "settings as key=value, for example: masks=half,box num_samples=200 budget=128.",
            presets=None,
        )

    @classmethod
    @override
    def planned(cls, command: Command, model: Model, canvas: Canvas) -> list[Trial]:
        settings, trials = command.settings, []
        for mask in chosen("masks", settings.masks, MASKS):
            for name in command.classes:
                strategy = command.build(name, solver=settings.solver)
                try:
                    strategy = within(settings, strategy, model, canvas, mask)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
                trials.append(Trial(mask, name, strategy))
        return trials

    @override
    def images_of(self, trial: Trial) -> int:
        return len(self.photographs) + self.settings.pairs

    @override
    def figures_of(self, trial: Trial, images: Pictures, advance: Advance) -> dict[str, Figure]:
        pairs = slice(self.settings.pairs)
        known, originals = self.known(trial.mask)[pairs], self.photographs[pairs]
        again = self.completer(trial.strategy, originals, known, attempt=1, advance=advance).images
        # Both completions' errors: the ratio's denominator is then as well known as can be.
        first, second = (squared_errors(one, originals, ~known) for one in (images[pairs], again))
        between = squared_errors(again, images[pairs], ~known)
        return {"diversity": diversity_figure(between, (first + second) / 2)}

    @override
    def document(self) -> str:
        return document(self.results)

    @override
    def draw(self) -> None:
        """Writes a grid a mask, and one of all masks."""
        everything: dict[str, Pictures] = {}
        for mask in dict.fromkeys(trial.mask for trial in self.trials):
            grid = self._grid(mask)
            draw_grid(grid, self.experiment.path / f"{file_name(mask)}.png")
            everything.setdefault("real", grid.pop("real"))
            everything |= {f"{mask}\n{name}": images for name, images in grid.items()}
        draw_grid(everything, self.experiment.path / self.PICTURE)

    def _grid(self, mask: MaskName) -> dict[str, Pictures]:
        shown = slice(self.settings.pictures)
        originals = self.photographs[shown]
        rows = [row for row in self.results.rows if row.mask == mask and row.steps]
        made = {
            row.name.rpartition(".")[2]: read_pictures(self.experiment.path, row.pictures)
            for row in rows
        }
        return {"real": originals, "given": masked(originals, self.known(mask)[shown])} | made


if __name__ == "__main__":
    sys.exit(main())
