"""`python -m studies.guidance`: texture of a generated half, by weight of input guidance."""

import sys

from typing_extensions import override

from benchmarks.experiment.pictures import read_pictures
from benchmarks.inpainting.masks import MaskName
from benchmarks.inpainting.picture import draw_grid, masked
from benchmarks.inpainting.records import Figure
from benchmarks.inpainting.study import Advance, Study, Trial
from patchcanvas.cli.command_line import Command, read
from patchcanvas.cli.entry import carried_out
from patchcanvas.making import Pictures
from patchcanvas.model import Model
from patchcanvas.sources import STUDYING
from strategies.canvas import Canvas
from studies.guidance.figures import halves_compared
from studies.guidance.picture import draw_curves
from studies.guidance.plan import EQUAL_STEPS, MASK, planned
from studies.guidance.settings import GuidanceSettings
from studies.guidance.table import document

__all__ = ["Guidance", "main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark.

    Returns:
        0 when every weight has its rows, 1 when one has not, 2 when nothing could be begun or
        written, 130 when interrupted.
    """
    return carried_out(Guidance.prepare, arguments)


class Guidance(Study):
    """Weights and weak branches, at equal evaluations and at equal steps."""

    PROGRAM, PICTURE = "studies.guidance", "guidance.png"
    PACKAGES = STUDYING

    @classmethod
    @override
    def read_command(cls, arguments: list[str]) -> Command:
        return read(
            arguments,
            GuidanceSettings,
            prog=f"python -m {cls.PROGRAM}",
            description="Makes the right half of held-out images from the left one, under input "
            "guidance of several weights, and compares the texture of both halves. Write settings "
            "as key=value, for example: weights=[0,1,2] num_samples=200 budget=128.",
            presets=None,
        )

    @classmethod
    @override
    def planned(cls, command: Command, model: Model, canvas: Canvas) -> list[Trial]:
        return planned(command, model, canvas)

    @override
    def figures_of(self, trial: Trial, images: Pictures, advance: Advance) -> dict[str, Figure]:
        return halves_compared(images)

    @override
    def figures_of_photographs(self, mask: MaskName) -> dict[str, Figure]:
        return halves_compared(self.photographs)

    @override
    def document(self) -> str:
        return document(self.results)

    @override
    def draw(self) -> None:
        shown = slice(self.settings.pictures)
        originals, known = self.photographs[shown], self.known(MASK)[shown]
        columns = {"real": originals, "given": masked(originals, known)}
        for row in self.results.rows:
            if row.steps and not row.name.endswith(EQUAL_STEPS):
                name = row.name.replace(", ", "\n")
                columns[name] = read_pictures(self.experiment.path, row.pictures)
        draw_grid(columns, self.experiment.path / "completions.png")
        draw_curves(self.results, self.experiment.path / self.PICTURE)


if __name__ == "__main__":
    sys.exit(main())
