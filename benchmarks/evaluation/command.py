"""`patchcanvas evaluate IMAGES REFERENCE`: folders of images beside real ones, in one table."""

import dataclasses
import shlex

from rich.console import Console

from benchmarks.evaluation.measure import measured
from benchmarks.evaluation.preparation import Prepared
from benchmarks.evaluation.settings import read_command
from benchmarks.experiment.folder import Experiment
from benchmarks.results.records import Results
from benchmarks.results.table import comparison
from patchcanvas.cli.entry import carried_out

__all__ = ["main"]

TABLE = "table.md"


def main(arguments: list[str] | None = None) -> int:
    """Measures folders of images.

    Returns:
        0 when all are measured, 1 when an image could not be decoded after all, 2 when nothing
        could be begun or written, 130 when interrupted.
    """
    return carried_out(Evaluate.prepare, arguments)


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """An evaluation in its folder.

    Args:
        prepared: What is measured.
        experiment: Where everything goes; rows of an earlier, interrupted run are in its record.
    """

    prepared: Prepared
    experiment: Experiment[Results]

    @classmethod
    def prepare(cls, arguments: list[str]) -> "Evaluate":
        """Reads the command line, and checks all that can be checked before the work.

        Raises:
            ValueError: If something does not fit.
            OSError: If a folder or file is missing, or the record cannot be written.
        """
        command = read_command(arguments)
        settings, said = command.settings, shlex.join(["patchcanvas", "evaluate", *arguments])
        prepared = Prepared.of(settings, command.record, said)
        if settings.output is not None:
            settings.output.parent.mkdir(parents=True, exist_ok=True)
        folders = set(prepared.folders)
        experiment = Experiment.opened(
            prepared.results,
            settings.results,
            complete=lambda found: {row.strategy for row in found.rows} == folders,
            last=TABLE,
        )
        return cls(dataclasses.replace(prepared, results=experiment.record), experiment)

    def execute(self, console: Console) -> int:
        """Measures row by row; a finished row is on disk before the next begins."""
        folder, output = self.experiment.path, self.prepared.settings.output
        console.print(f"writing to {folder}", markup=False)
        with self.experiment:
            try:
                evaluation = measured(self.prepared, console, keep=self.experiment.write)
            except ValueError as error:
                console.print(f"error: {error}", markup=False)
                return 1
            (folder / TABLE).write_text(evaluation.markdown(), encoding="utf-8")
        if output is not None:
            evaluation.write(output)
        Console().print(comparison(evaluation.results))
        return 0
