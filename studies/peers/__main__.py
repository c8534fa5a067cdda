"""`python -m studies.peers`: our parallel strategies beside the pipeline of diffusers."""

import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import diffusers.utils.logging
import torch
import transformers.utils.logging
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from benchmarks.experiment.folder import Experiment
from patchcanvas.cli.command_line import Command
from patchcanvas.cli.entry import carried_out
from patchcanvas.cli.progress import progress_bars, report_line
from patchcanvas.sources import STUDYING
from studies.peers.defects import cases, found
from studies.peers.jobs import PeerError
from studies.peers.plan import Bench, Entrant, loaded
from studies.peers.records import MULTIDIFFUSION, PANORAMA, PeerResults, Row
from studies.peers.settings import read_command
from studies.peers.table import TABLE, document
from studies.peers.theirs import Theirs, Worker

__all__ = ["Run", "main"]

SAME_METHOD = (PANORAMA, MULTIDIFFUSION)


def main(arguments: list[str] | None = None) -> int:
    """Runs the comparison.

    Returns:
        0 when everything is measured, 2 when nothing could be begun or written or the peer has
        ended, 130 when interrupted.
    """
    return carried_out(Run.prepare, arguments)


@dataclasses.dataclass
class Run:
    """A run, from checked settings to the table.

    Args:
        bench: The models, on both sides.
        experiment: Where everything goes, and what is known so far.
        resources: What is closed at the end: the peer's process and its files.
    """

    bench: Bench
    experiment: Experiment[PeerResults]
    resources: ExitStack

    @property
    def results(self) -> PeerResults:
        """What is known so far."""
        return self.experiment.record

    @classmethod
    def prepare(cls, arguments: list[str]) -> "Run":
        """Checks all that can be checked before the work, the peer included.

        Raises:
            ValueError: If something does not fit, or the peer cannot load the model.
            OSError: If a file is missing or the folder cannot be written.
        """
        command = read_command(arguments)
        settings = command.settings
        for library in (diffusers, transformers):
            library.utils.logging.disable_progress_bar()
        with ExitStack() as resources:
            scratch = Path(resources.enter_context(tempfile.TemporaryDirectory()))
            worker = resources.enter_context(
                Worker(settings.python, threads=torch.get_num_threads(), scratch=scratch)
            )
            model, path = loaded(settings, scratch)
            try:
                Theirs(worker, path, model.scale, model.denoiser.channels).load()
            except PeerError as error:
                raise ValueError(
                    f"the peer must be able to load the model {path}: {error}"
                ) from error
            bench = Bench(settings, model, path, worker, scratch)
            experiment = Experiment.opened(
                fresh_results(command, arguments, bench),
                settings.results,
                complete=lambda found: True,  # its table is there when everything is
                last=TABLE,
            )
            return cls(bench, experiment, resources.pop_all())
        raise AssertionError("nothing is swallowed")

    def execute(self, console: Console) -> int:
        """Measures the defects, then the seconds; every round is on disk before the next begins."""
        with self.experiment:
            return self._execute(console)

    def _execute(self, console: Console) -> int:
        folder = self.experiment.path
        console.print(f"writing to {folder}", markup=False)
        with self.resources, progress_bars(console) as progress:
            self._find(progress)
            self._time(progress)
        text = document(self.results)
        (folder / TABLE).write_text(text)
        Console(soft_wrap=True).print(text, markup=False, highlight=False)
        console.print(f"table: {folder / TABLE}", markup=False)
        return 0

    def _find(self, progress: Progress) -> None:
        """Measures the defects that are not measured yet."""
        planned = cases(self.bench.settings.job) if self.bench.settings.defects else []
        done = len(self.results.findings)
        task = progress.add_task("defects", total=len(planned), completed=done)
        for case in planned[done:]:
            self.results.findings.append(found(case, *self.bench.sides(case.pipeline)))
            self.experiment.write()
            progress.advance(task)
            report_line(progress, self.results.findings[-1].line)

    def _time(self, progress: Progress) -> None:
        """Times everything once in every round, and in the next one in the opposite order."""
        repeats, entrants = self.bench.settings.repeats, self.bench.entrants
        total = (1 + repeats - self.results.rounds) * len(entrants)
        task = progress.add_task("rounds", total=total)
        warm = self._warmed_up(entrants, lambda: progress.advance(task))
        if not self.results.rounds:
            self.results.rows = warm
        for number in range(self.results.rounds, repeats):
            timings = {}
            for entrant in entrants if number % 2 == 0 else entrants[::-1]:
                timings[entrant.key] = entrant.maker.made(entrant.job).timing
                progress.advance(task)
            self.results.rows = [row.added(timings[row.key]) for row in self.results.rows]
            self.experiment.write()
            report_line(progress, f"round {number + 1} of {repeats}: {_seconds(self.results.rows)}")

    def _warmed_up(self, entrants: list[Entrant], advance: Callable[[], None]) -> list[Row]:
        """Runs everything once untimed; returns what it asked for, and how far latents differ."""
        rows: list[Row] = []
        latents: list[Tensor] = []
        for entrant in entrants:
            made, difference = entrant.maker.made(entrant.job), None
            if entrant.name in SAME_METHOD and not entrant.job.decoded and made.images is not None:
                latents.append(made.images)
                difference = float((made.images - latents[0]).abs().max())
            rows.append(Row.of(*entrant.key, made.timing, difference))
            advance()
        self.results.deviation = float(latents[0].std())
        return rows


def _seconds(rows: list[Row]) -> str:
    """Returns what the last run of every row took."""
    return ", ".join(
        f"{row.name} ({row.batch or 'all'} views a call{', pixels' if row.decoded else ''}) "
        f"{row.seconds[-1]:.3g} s"
        for row in rows
    )


def fresh_results(command: Command, arguments: list[str], bench: Bench) -> PeerResults:
    """Returns the record of a run that has not begun."""
    small = {"file": "a small random one"} if command.settings.denoiser is None else {}
    return PeerResults.begun(
        "studies.peers",
        arguments,
        name=command.settings.name,
        settings=command.record,
        device=torch.device("cpu"),
        packages=STUDYING,
        peer=bench.worker.introduction,
        denoiser=bench.model.description() | small,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


if __name__ == "__main__":
    sys.exit(main())
