"""`python -m benchmarks.latency`: seconds for one canvas against its width, for every strategy."""

import dataclasses
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.latency.folder import PICTURE, folder_for, hashes, remaining
from benchmarks.latency.guard import expected_absence, repeats_within, slow_absence
from benchmarks.latency.measure import Bench, measured_floor
from benchmarks.latency.picture import draw
from benchmarks.latency.plan import Plan, planned, read_command
from benchmarks.latency.records import RECORD, Absence, LatencyResults, Point
from benchmarks.latency.settings import LatencySettings
from benchmarks.latency.table import (
    costs_table,
    document,
    latex,
    line_of,
    notes,
    seconds_table,
)
from denoisers.checkpoint import Checkpoint
from patchcanvas.accounting import Metered
from patchcanvas.cli.command_line import Command
from patchcanvas.cli.entry import carried_out
from patchcanvas.cli.progress import progress_bars, told
from patchcanvas.context.conditioner import SEEDLESS, UNTOLD
from patchcanvas.environment import autocast_dtype, describe_environment, resolve_device
from patchcanvas.model import load_own

__all__ = ["Run", "main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark.

    Returns:
        0 when every point is timed or was left out to save time, 1 when one failed, or the floor, 2
        when nothing could be begun or written, 130 when interrupted.
    """
    return carried_out(Run.prepare, arguments)


@dataclasses.dataclass
class Run:
    """A run, from checked settings to the picture.

    Args:
        settings: What was asked for.
        plan: The strategies and the canvases.
        bench: Where they are timed.
        folder: Where everything goes.
        results: What is known so far.
    """

    settings: LatencySettings
    plan: Plan
    bench: Bench
    folder: Path
    results: LatencyResults

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
        loaded = load_own(settings.denoiser, device=device)
        denoiser = loaded.denoiser
        plan = planned(command, denoiser)
        fresh = fresh_results(command, arguments, device, loaded)
        fresh.absences.extend(plan.misfits)
        folder, results = folder_for(fresh, plan, settings.results)
        denoiser.autocast_dtype = autocast_dtype(settings.precision)
        if settings.compile:
            denoiser.network.compile()
        telling = SEEDLESS if denoiser.takes else UNTOLD
        bench = Bench(Metered(denoiser), device, settings.seed, telling=telling)
        return cls(settings, plan, bench, folder, results)

    def execute(self, console: Console) -> int:
        """Times width after width; every run is on disk before the next begins."""
        console.print(f"writing to {self.folder}", markup=False)
        self.results.absences = [item for item in self.results.absences if not item.failed]
        with progress_bars(console) as progress:
            for width in self.plan.canvases:
                self._measure(width, progress)
            # Last, since a process keeps the memory that large batches have once taken.
            if self.results.floor is None:
                self._measure_floor(progress)
        self._write_pages()
        screen = Console()
        screen.print(seconds_table(self.results))
        for width in self.results.widths[-1:]:
            screen.print(costs_table(self.results, width))
        screen.print(*notes(self.results), sep="\n", markup=False, highlight=False)
        console.print(f"picture: {self.folder / PICTURE}", markup=False)
        failed = any(item.failed for item in self.results.absences)
        return 1 if failed or self.results.floor is None else 0

    def _measure_floor(self, progress: Progress) -> None:
        batches = self.settings.batches
        task = progress.add_task("floor", total=len(batches))
        try:
            self.results.floor = measured_floor(
                self.bench.denoiser.denoiser,
                batches,
                repeats=self.settings.repeats,
                device=self.bench.device,
                clock=self.bench.clock,
                advance=lambda count: progress.advance(task, count),
            )
        except RuntimeError as error:
            # What was timed stands without it.
            progress.console.print(f"the floor was not measured: {error}", markup=False)
        progress.update(task, completed=len(batches))
        self.results.write(self.folder / RECORD)

    def _measure(self, width: int, progress: Progress) -> None:
        """Times the strategies at one width, one after another in every round."""
        names = remaining(self.results, self.plan, width)
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
                    told(progress, line_of(timed))
        progress.update(task, completed=total)

    def _attempt(self, name: str, width: int, work: Callable[[], None], progress: Progress) -> None:
        """Does a piece of the work, or notes why there is no such point; then saves."""
        try:
            work()
        except OSError:
            raise  # every strategy would fail alike
        except Exception as error:
            # One strategy's failure must not cost the others their points.
            reason = f"{type(error).__name__}: {error}"
            self.results.put(Absence(name, width, reason, failed=True))
            with (self.folder / f"{name}.error.txt").open("a") as file:
                file.write(f"{width} patches\n{traceback.format_exc()}\n")
            progress.console.print(f"{name} failed at {width}: {error}", markup=False)
        self.results.write(self.folder / RECORD)

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
            self.results.put(
                self.bench.counted(name, width, canvas, asked=settings.repeats, repeats=repeats)
            )

    def _time(self, point: Point, number: int) -> None:
        canvas = self.plan.canvases[point.width]
        timing = self.bench.run(self.plan.strategies[point.strategy], canvas)
        self.results.put(timing.added_to(point, number))

    def _write_pages(self) -> None:
        (self.folder / "table.md").write_text(document(self.results))
        (self.folder / "table.tex").write_text(latex(self.results))
        if self.results.finished:
            draw(self.results, self.folder / PICTURE)


def fresh_results(
    command: Command, arguments: list[str], device: torch.device, loaded: Checkpoint
) -> LatencyResults:
    """Returns the record of a run that has not begun."""
    settings = command.settings
    return LatencyResults(
        name=settings.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "benchmarks.latency", *arguments]),
        settings=command.record,
        environment=describe_environment(device) | hashes(command.classes.values()),
        denoiser=loaded.description,
        patch_size=loaded.denoiser.patch_size,
        height=settings.height or loaded.denoiser.patch_size,
        steps=settings.solver.num_steps,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


if __name__ == "__main__":
    sys.exit(main())
