"""`python -m benchmarks.latency`: seconds for one canvas against its width, for every strategy."""

import dataclasses
import os
import sys
from collections.abc import Callable
from functools import partial

import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.experiment.folder import Experiment
from benchmarks.latency.guard import expected_absence, repeats_within, slow_absence
from benchmarks.latency.measure import measured_lower_bound
from benchmarks.latency.picture import draw
from benchmarks.latency.plan import Plan, planned, read_command
from benchmarks.latency.records import Absence, LatencyResults, Point
from benchmarks.latency.settings import LatencySettings
from benchmarks.latency.table import (
    costs_table,
    document,
    latex,
    line_of,
    notes,
    seconds_table,
)
from patchcanvas.accounting import NFECounter
from patchcanvas.cli.command_line import Command
from patchcanvas.cli.entry import carried_out
from patchcanvas.cli.progress import progress_bars, report_line
from patchcanvas.context.conditioner import NO_CONTEXT, UNCONDITIONAL
from patchcanvas.environment import resolve_device
from patchcanvas.making import tuned
from patchcanvas.model import Model, load_model
from patchcanvas.timing import Bench

__all__ = ["Run", "main"]

PICTURE = "latency.png"


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark.

    Returns:
        0 when every point is timed or was left out to save time, 1 when one failed, or the lower
        bound, 2 when nothing could be begun or written, 130 when interrupted.
    """
    return carried_out(Run.prepare, arguments)


@dataclasses.dataclass
class Run:
    """A run, from checked settings to the picture.

    Args:
        settings: What was asked for.
        plan: The strategies and the canvases.
        model: The denoiser and what belongs to it.
        bench: Where they are timed.
        experiment: Where everything goes, and what is known so far.
    """

    settings: LatencySettings
    plan: Plan
    model: Model
    bench: Bench
    experiment: Experiment[LatencyResults]

    @property
    def results(self) -> LatencyResults:
        """What is known so far."""
        return self.experiment.record

    @classmethod
    def prepare(cls, arguments: list[str]) -> "Run":
        """Checks all that can be checked before the work; finds or makes the folder.

        Raises:
            ValueError: If something does not fit.
            OSError: If a file is missing or the folder cannot be written.
        """
        command = read_command(arguments)
        settings = command.settings
        device = resolve_device(settings.device)
        settings.runtime.validate_device(device)
        model = load_model(settings.denoiser, settings.runtime)
        plan = planned(command, model)
        fresh = fresh_results(command, arguments, device, model)
        fresh.absences.extend(plan.misfits)
        metered = NFECounter(tuned(model, settings, device))
        conditioner = UNCONDITIONAL if metered.takes else NO_CONTEXT
        bench = Bench(metered, device, settings.seed, conditioner=conditioner)
        experiment = Experiment.opened(
            fresh, settings.results, complete=lambda found: complete(found, plan), last=PICTURE
        )
        return cls(settings, plan, model, bench, experiment)

    def execute(self, console: Console) -> int:
        """Times width after width; every run is on disk before the next begins."""
        with self.experiment:
            return self._execute(console)

    def _execute(self, console: Console) -> int:
        folder = self.experiment.path
        console.print(f"writing to {folder}", markup=False)
        self.results.absences = [item for item in self.results.absences if not item.failed]
        with progress_bars(console) as progress:
            for width in self.plan.canvases:
                self._measure(width, progress)
            # Last, since a process keeps the memory that large batches have once taken.
            if self.results.lower_bound is None:
                self._measure_lower_bound(progress)
        self._write_pages()
        screen = Console()
        screen.print(seconds_table(self.results))
        for width in self.results.widths[-1:]:
            screen.print(costs_table(self.results, width))
        screen.print(*notes(self.results), sep="\n", markup=False, highlight=False)
        console.print(f"picture: {folder / PICTURE}", markup=False)
        failed = any(item.failed for item in self.results.absences)
        return 1 if failed or self.results.lower_bound is None else 0

    def _measure_lower_bound(self, progress: Progress) -> None:
        batches = self.settings.batches
        task = progress.add_task("lower bound", total=len(batches))
        try:
            self.results.lower_bound = measured_lower_bound(
                self.model.denoiser,
                batches,
                repeats=self.settings.repeats,
                device=self.bench.device,
                clock=self.bench.clock,
                advance=lambda count: progress.advance(task, count),
            )
        except RuntimeError as error:
            # What was timed stands without it.
            progress.console.print(f"the lower bound was not measured: {error}", markup=False)
        progress.update(task, completed=len(batches))
        self.experiment.write()

    def _measure(self, width: int, progress: Progress) -> None:
        """Times the strategies at one width, one after another in every round."""
        names = self.results.remaining(self.plan.strategies, width)
        total = len(names) * (1 + self.settings.repeats)
        task = progress.add_task(f"{width} patch{'' if width == 1 else 'es'}", total=total)
        for name in names:
            self._attempt(name, width, partial(self._warm_up, name, width), progress)
            progress.advance(task)
        while unfinished := [
            point for point in self.results.points if point.width == width and not point.finished
        ]:
            number = self.results.next_round
            for point in unfinished:
                work = partial(self._time, point, number)
                self._attempt(point.strategy, width, work, progress)
                progress.advance(task)
                timed = self.results.point(point.strategy, width)
                if timed is not None:
                    report_line(progress, line_of(timed))
        progress.update(task, completed=total)

    def _attempt(self, name: str, width: int, work: Callable[[], None], progress: Progress) -> None:
        """Does a piece of the work, or notes why there is no such point; then saves."""
        self.experiment.attempt(
            name,
            work,
            failed=lambda reason: self.results.put(Absence(name, width, reason, failed=True)),
            console=progress.console,
            place=f"at {width}",
        )
        self.experiment.write()

    def _warm_up(self, name: str, width: int) -> None:
        """Runs a point without timing it; then it is counted, or left out as too slow."""
        settings, canvas = self.settings, self.plan.canvases[width]
        absence = expected_absence(self.results, name, width, settings.most_seconds)
        if absence is not None:
            self.results.put(absence)
            return
        for _ in range(settings.warmup):
            seconds = self.bench.run(self.plan.strategies[name], canvas).seconds
        absence = slow_absence(name, width, seconds, settings.most_seconds)
        if absence is not None:
            self.results.put(absence)
        elif not self.results.has_begun(name, width):
            repeats = repeats_within(settings.repeats, seconds, settings.most_seconds)
            metered, asked = self.bench.denoiser, settings.repeats
            small = self.plan.strategies[name].denoised(canvas)
            self.results.put(Point.of(name, width, small, metered, asked=asked, repeats=repeats))

    def _time(self, point: Point, number: int) -> None:
        canvas = self.plan.canvases[point.width]
        timing = self.bench.run(self.plan.strategies[point.strategy], canvas)
        self.results.put(point.added(timing, number))

    def _write_pages(self) -> None:
        folder = self.experiment.path
        (folder / "table.md").write_text(document(self.results))
        (folder / "table.tex").write_text(latex(self.results))
        if self.results.finished:
            draw(self.results, folder / PICTURE)


def complete(results: LatencyResults, plan: Plan) -> bool:
    """Whether nothing is left to be measured; a strategy that has failed is tried again."""
    left = any(results.remaining(plan.strategies, width) for width in plan.canvases)
    return not left and results.lower_bound is not None


def fresh_results(
    command: Command, arguments: list[str], device: torch.device, model: Model
) -> LatencyResults:
    """Returns the record of a run that has not begun."""
    settings = command.settings
    return LatencyResults.begun(
        "benchmarks.latency",
        arguments,
        name=settings.name,
        settings=command.record,
        device=device,
        classes=command.classes.values(),
        denoiser=model.description,
        patch_size=model.patch,
        height=settings.canvas.height or model.patch,
        steps=settings.solver.num_steps,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


if __name__ == "__main__":
    sys.exit(main())
