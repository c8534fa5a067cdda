"""`python -m benchmarks.oracle`: every strategy against a field whose exact answer is known."""

import dataclasses
import shlex
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.oracle.folder import PICTURE, RECORD, folder_for, hashes
from benchmarks.oracle.measure import Trial, case_record, true_samples
from benchmarks.oracle.picture import Strips, draw
from benchmarks.oracle.plan import Job, planned, read_command
from benchmarks.oracle.records import CaseRecord, OracleResults
from benchmarks.oracle.table import case_table, document, line_of, notes
from denoisers.contract import Image
from patchcanvas.cli.entry import carried_out
from patchcanvas.cli.progress import progress_bars, told
from patchcanvas.environment import describe_environment
from patchcanvas.records import write_record

__all__ = ["main", "planned", "read_command"]


def main(arguments: list[str] | None = None) -> int:
    """Runs the oracle.

    Returns:
        0 when every strategy has its rows, 1 when one has not, 2 when nothing could be begun or
        written, 130 when interrupted.
    """
    return carried_out(Run.prepare, arguments)


@dataclasses.dataclass
class Run:
    """A run, from checked settings to the picture.

    Args:
        jobs: What is to be measured.
        seed: Seeds the true samples of the picture.
        folder: Where everything goes.
        results: What is known so far.
    """

    jobs: list[Job]
    seed: int
    folder: Path
    results: OracleResults

    @classmethod
    def prepare(cls, arguments: list[str]) -> "Run":
        """Checks all that can be checked before the work; finds or makes the folder.

        Raises:
            ValueError: If something does not fit.
            OSError: If the folder cannot be written.
        """
        command = read_command(arguments)
        jobs, settings = planned(command), command.settings
        environment = describe_environment(torch.device("cpu"))
        fresh = OracleResults(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=shlex.join(["python", "-m", "benchmarks.oracle", *arguments]),
            settings=command.record,
            environment=environment | hashes(command.classes.values()),
            cases=[case_record(job.case) for job in jobs],
        )
        return cls(jobs, settings.seed, *folder_for(fresh, jobs, settings.results, settings.name))

    def execute(self, console: Console) -> int:
        """Fills the tables row by row; a finished row is on disk before the next begins."""
        console.print(f"writing to {self.folder}", markup=False)
        records = self.results.cases
        with progress_bars(console, longest=max(len(case.name) for case in records)) as progress:
            pairs = zip(self.jobs, records, strict=True)
            strips = [self._strips(job, record, progress) for job, record in pairs]
        draw(strips, self.folder / PICTURE)
        (self.folder / "oracle.md").write_text(document(self.results))
        screen = Console()
        for record in records:
            screen.print(case_table(record))
            screen.print()
        screen.print(*notes(self.results), sep="\n", markup=False, highlight=False)
        console.print(f"picture: {self.folder / PICTURE}", markup=False)
        return 1 if any(record.failures for record in records) else 0

    def _strips(self, job: Job, record: CaseRecord, progress: Progress) -> Strips:
        """Measures all strategies on a field; returns what is to be drawn of it."""
        record.failures = dict(job.misfits)
        task = progress.add_task(record.name, total=len(job.trials))
        samples = {"true": true_samples(job.case, self.seed)}
        for number, trial in enumerate(job.trials):
            drawn = self._attempt(
                trial, record, progress, lambda share: progress.advance(task, share)
            )
            if drawn is not None:
                samples[trial.name] = drawn
            progress.update(task, completed=number + 1)
        return Strips(record, samples)

    def _attempt(
        self,
        trial: Trial,
        record: CaseRecord,
        progress: Progress,
        advance: Callable[[float], None],
    ) -> Image | None:
        """Adds a strategy's row if it is not there, or the reason why there is none.

        Returns:
            Samples to look at; None if there is no row.
        """
        try:
            if trial.name not in {row.strategy for row in record.rows}:
                drawn, row = trial.drawn(), trial.measured(advance)
                record.rows.append(row)
                write_record(self.folder / RECORD, self.results)
                told(progress, f"{record.name}, {line_of(row)}")
                return drawn
            return trial.drawn()
        except OSError:
            raise  # every strategy would fail alike
        except Exception as error:
            # One strategy's failure must not cost the others their rows.
            record.failures[trial.name] = f"{type(error).__name__}: {error}"
            write_record(self.folder / RECORD, self.results)
            with (self.folder / f"{trial.name}.error.txt").open("a") as file:
                file.write(f"{record.name}\n{traceback.format_exc()}\n")
            progress.console.print(f"{trial.name} failed on {record.name}: {error}", markup=False)
            return None


if __name__ == "__main__":
    sys.exit(main())
