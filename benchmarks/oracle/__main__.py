"""`python -m benchmarks.oracle`: every strategy against a field whose exact answer is known."""

import dataclasses
import sys
from collections.abc import Callable

import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.experiment.folder import Experiment
from benchmarks.oracle.measure import Trial, case_record, true_samples
from benchmarks.oracle.picture import Strips, draw
from benchmarks.oracle.plan import Job, planned, read_command
from benchmarks.oracle.records import CaseRecord, OracleResults
from benchmarks.oracle.table import case_table, document, line_of, notes
from denoisers.contract import Image
from patchcanvas.cli.entry import carried_out
from patchcanvas.cli.progress import progress_bars, report_line

__all__ = ["main", "planned", "read_command"]

PICTURE = "oracle.png"


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
        experiment: Where everything goes, and what is known so far.
    """

    jobs: list[Job]
    seed: int
    experiment: Experiment[OracleResults]

    @classmethod
    def prepare(cls, arguments: list[str]) -> "Run":
        """Checks all that can be checked before the work; finds or makes the folder.

        Raises:
            ValueError: If something does not fit.
            OSError: If the folder cannot be written.
        """
        command = read_command(arguments)
        jobs, settings = planned(command), command.settings
        fresh = OracleResults.begun(
            "benchmarks.oracle",
            arguments,
            name=settings.name,
            settings=command.record,
            device=torch.device("cpu"),
            classes=command.classes.values(),
            cases=[case_record(job.case) for job in jobs],
        )
        experiment = Experiment.opened(
            fresh, settings.results, complete=lambda found: complete(found, jobs), last=PICTURE
        )
        return cls(jobs, settings.seed, experiment)

    def execute(self, console: Console) -> int:
        """Fills the tables row by row; a finished row is on disk before the next begins."""
        with self.experiment:
            return self._execute(console)

    def _execute(self, console: Console) -> int:
        folder, results = self.experiment.path, self.experiment.record
        console.print(f"writing to {folder}", markup=False)
        records = results.cases
        with progress_bars(console, longest=max(len(case.name) for case in records)) as progress:
            pairs = zip(self.jobs, records, strict=True)
            strips = [self._strips(job, record, progress) for job, record in pairs]
        draw(strips, folder / PICTURE)
        (folder / "oracle.md").write_text(document(results))
        screen = Console()
        for record in records:
            screen.print(case_table(record))
            screen.print()
        screen.print(*notes(results), sep="\n", markup=False, highlight=False)
        console.print(f"picture: {folder / PICTURE}", markup=False)
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

        def drawn() -> Image:
            images = trial.drawn()
            if trial.name not in {row.strategy for row in record.rows}:
                row = trial.measured(advance)
                record.rows.append(row)
                self.experiment.write()
                report_line(progress, f"{record.name}, {line_of(row)}")
            return images

        return self.experiment.attempt(
            trial.name,
            drawn,
            failed=lambda reason: record.failures.update({trial.name: reason}),
            console=progress.console,
            place=f"on {record.name}",
        )


def complete(results: OracleResults, jobs: list[Job]) -> bool:
    """Whether every strategy has its rows; one that has failed is tried again."""
    there = [{row.strategy for row in case.rows} for case in results.cases]
    return there == [{trial.name for trial in job.trials} for job in jobs]


if __name__ == "__main__":
    sys.exit(main())
