"""`patchcanvas evaluate IMAGES REFERENCE`: folders of images beside real ones, in one table."""

import dataclasses
import shlex
from pathlib import Path

from rich.console import Console

from benchmarks.comparison.records import Results
from benchmarks.evaluation.measure import measured
from benchmarks.evaluation.preparation import Prepared
from benchmarks.evaluation.settings import EvaluationSettings, read_command
from benchmarks.experiment.folder import new_path
from benchmarks.report.table import comparison
from patchcanvas.cli.entry import carried_out

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Measures folders of images.

    Returns:
        0 when all are measured, 1 when an image could not be decoded after all, 2 when nothing
        could be begun or written, 130 when interrupted.
    """
    return carried_out(Evaluate.prepare, arguments)


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """An evaluation and the record that it leaves.

    Args:
        prepared: What is measured.
        record: Where the record goes.
    """

    prepared: Prepared
    record: Path

    @classmethod
    def prepare(cls, arguments: list[str]) -> "Evaluate":
        """Reads the command line, and checks all that can be checked before the work.

        Raises:
            ValueError: If something does not fit.
            OSError: If a folder or file is missing, or the record cannot be written.
        """
        settings, plain = read_command(arguments)
        command = shlex.join(["patchcanvas", "evaluate", *arguments])
        prepared = Prepared.of(settings, plain, command)
        return cls(prepared, place_of(settings, prepared.results.name))

    def execute(self, console: Console) -> int:
        """Measures row by row; a finished row is on disk before the next begins."""
        console.print(f"writing to {self.record}", markup=False)
        try:
            evaluation = measured(self.prepared, console, keep=self._keep)
        except KeyboardInterrupt:
            console.print(f"interrupted; what was finished is in {self.record}.", markup=False)
            return 130
        except ValueError as error:
            console.print(f"error: {error}", markup=False)
            return 1
        self.record.with_suffix(".md").write_text(evaluation.markdown(), encoding="utf-8")
        Console().print(comparison(evaluation.results))
        return 0

    def _keep(self, results: Results) -> None:
        results.write(self.record)


def place_of(settings: EvaluationSettings, name: str) -> Path:
    """Returns where the record goes; its folder is there then.

    Raises:
        OSError: If it cannot be made.
    """
    if settings.output is not None:
        settings.output.parent.mkdir(parents=True, exist_ok=True)
        return settings.output
    folder = new_path(settings.results, name)
    folder.mkdir(parents=True)
    return folder / "results.json"
