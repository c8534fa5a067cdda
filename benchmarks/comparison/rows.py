"""A comparison of strategies on one denoiser, from checked settings to the report."""

import dataclasses
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress, TaskID
from torchmetrics import MetricCollection

from benchmarks.comparison.batches import Pictures, canvas_batches
from benchmarks.comparison.cost import measured_cost
from benchmarks.comparison.preparation import PATCHES, Prepared, squares
from benchmarks.comparison.samples import SampleFiles
from benchmarks.experiment.pictures import picture_files, write_pictures
from benchmarks.experiment.processes import LostProcessError, SharedError, is_fatal, runs_of
from benchmarks.metrics.reference import reference_of
from benchmarks.metrics.suite import Figures, MetricSuite, read_off
from benchmarks.results.lines import line_of
from benchmarks.results.records import Cost, Row
from datamodules.patches import PatchData
from patchcanvas.cli.progress import progress_bars, report_line
from patchcanvas.context.conditioner import Conditioner
from patchcanvas.making import Maker
from patchcanvas.provenance import (
    SEEDS,
    Provenance,
    described_denoiser,
    described_strategy,
    hashes_of_regions,
    surroundings,
    together,
)
from patchcanvas.records import plain
from strategies.base import Strategy
from strategies.canvas import Canvas, WindowEdges
from strategies.parallel import ParallelStrategy

__all__ = ["Comparison"]

CHUNK = 64  # real crops in memory at once


@dataclasses.dataclass
class Comparison:
    """Makes and measures canvases, row by row.

    Args:
        run: What is compared, checked and ready.
        network_seconds: Seconds that this process has spent inside the network so far.
    """

    run: Prepared
    network_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._begun = time.perf_counter()
        self._before = dict(self.run.results.seconds)

    def execute(self, console: Console, publish: Callable[[Prepared], None]) -> int:
        """Fills the table row by row; a finished row is on disk before the next begins.

        Args:
            console: Where the user is told.
            publish: Writes what people read, in the first process, when every row is there.
        """
        results = self.run.results
        console.print(f"writing to {self.run.experiment.path}", markup=False)
        results.failures.clear()
        self.run.loggers.settings(results.settings)
        for row in (results.real, results.patches, *results.rows):
            if row is not None:  # of an earlier, interrupted run
                self._tell(row)
        try:
            self._fill(console)
            self._account()
            self.run.processes.once(lambda: publish(self.run))
        finally:
            self._account()
            if self.run.processes.first:
                self.run.experiment.write()
                self.run.experiment.close()
        console.print(f"report: {self.run.experiment.path / 'report.html'}", markup=False)
        self.run.loggers.finish(failed=bool(results.failures))
        return 1 if results.failures else 0

    def _fill(self, console: Console) -> None:
        """Makes the rows that are missing."""
        with progress_bars(console) as progress:
            suite = self._ruler(progress)
            finished = {row.strategy for row in self.run.results.rows}
            if self._measures_patches() and self.run.results.patches is None:
                self._attempt(PATCHES, lambda: self._patches_row(suite, progress), progress)
            for name, strategy in self.run.strategies.items():
                if name not in finished:
                    self._attempt(name, self._row_of(name, strategy, suite, progress), progress)

    def _account(self) -> None:
        """Adds what this run has taken so far to what others before it have."""
        spent = {"wall": time.perf_counter() - self._begun, "network": self.network_seconds}
        self.run.results.seconds = {
            name: self._before.get(name, 0.0) + value for name, value in spent.items()
        }

    def _keep(self) -> None:
        """Writes what is known so far."""
        self._account()
        self.run.processes.once(self.run.experiment.write)

    def _tell(self, row: Row) -> None:
        self.run.loggers.row(row, num_samples=self.run.plan.settings.num_samples)

    def _ruler(self, progress: Progress) -> MetricSuite:
        """Builds the suite and measures real images with it."""
        settings, side = self.run.plan.settings, min(self.run.canvas.height, self.run.canvas.width)
        reference = None
        if settings.real is not None:
            task = self._task(progress, "reference", settings.num_reference)
            reference = reference_of(
                settings.real,
                self.run.features,
                self.run.processes,
                count=settings.num_reference,
                side=side,
                cache=settings.cache_folder,
                advance=lambda crops: progress.advance(task, crops),
            )
        suite = MetricSuite.of(
            settings.real,
            self.run.features,
            reference,
            self.run.canvas,
            num_samples=settings.num_samples,
            strip=self.run.model.patch,
            seed=settings.seed,
            clip=self.run.clip,
            seeds=None if self.run.conditioner.seeds is None else self.run.conditioner.seeds.images,
        )
        if suite.why_no_long_crops:
            progress.console.print(
                f"no real canvases for seams and drift: {suite.why_no_long_crops}", markup=False
            )
        if settings.real is not None and self.run.results.real is None:
            self.run.results.real = self._real_row(settings.real, suite, progress)
            self._keep()
            self._tell(self.run.results.real)
            report_line(progress, line_of(self.run.results.real))
        return suite

    def _real_row(self, real: PatchData, suite: MetricSuite, progress: Progress) -> Row:
        """Measures real canvases that the reference does not hold, as many as there are samples.

        Where no image is large enough: square crops, by the figures that need no more.
        """
        settings, side = self.run.plan.settings, min(self.run.canvas.height, self.run.canvas.width)
        task = self._task(progress, "real images", settings.num_samples)
        long = suite.long_crops is not None
        size = (self.run.canvas.height, self.run.canvas.width) if long else (side, side)
        metrics = self._placed(suite.metrics() if long else suite.crop_metrics())
        metrics.update(torch.empty(0, 3, *size, dtype=torch.uint8), torch.empty(0).long())
        first = settings.num_reference
        for run in self.run.processes.share(
            runs_of(list(range(settings.num_samples)), longest=CHUNK)
        ):
            crops = real.crops("test", len(run), *size, first=first + run.start)
            metrics.update(crops, torch.tensor(run))
            progress.advance(task, len(run))
        pictures = [] if suite.long_crops is None else [*suite.long_crops[: settings.pictures]]
        return self._row(
            "real",
            read_off(metrics),
            real=Figures({}, {}),
            suite=suite,
            canvases=self.run.processes.once(
                lambda: write_pictures(self.run.experiment.path, "real", pictures)
            ),
        )

    def _measures_patches(self) -> bool:
        """Whether patches are as large as the squares that FID+ compares."""
        settings, side = self.run.plan.settings, min(self.run.canvas.height, self.run.canvas.width)
        return settings.plain_fid and settings.real is not None and self.run.model.patch == side

    def _patches_row(self, suite: MetricSuite, progress: Progress) -> Row:
        """Measures squares that the denoiser makes by itself: the plain FID."""
        strategy, square = squares(self.run.model, self.run.canvas, self.run.plan.settings)
        conditioner = self.run.conditioner.facts
        made = self._made(PATCHES, strategy, square, conditioner, suite.crop_metrics(), progress)
        return self._row(
            PATCHES,
            made.figures,
            real=Figures({}, {}),
            suite=suite,
            strategy=strategy,
            conditioner=conditioner,
            canvases=made.pictures,
        )

    def _row_of(
        self, name: str, strategy: Strategy, suite: MetricSuite, progress: Progress
    ) -> Callable[[], Row]:
        """Returns what makes and measures a strategy's canvases."""

        def row() -> Row:
            settings = self.run.plan.settings
            # First, since its warm-up run spares the batches the cold start.
            cost = self.run.processes.once(
                lambda: measured_cost(
                    strategy,
                    self.run.denoiser,
                    self.run.canvas,
                    repeats=settings.repeats,
                    seed=settings.seed,
                    device=self.run.processes.device,
                    conditioner=self.run.conditioner,
                )
            )
            self.network_seconds += (
                cost.network_share * cost.seconds_per_canvas * (settings.repeats + 1)
            )
            edges = strategy.window_edges(self.run.denoiser, self.run.canvas)
            starts_at = strategy.starts_at(self.run.denoiser, self.run.canvas)
            metrics = suite.metrics(edges, starts_at=starts_at)
            conditioner = self.run.conditioner
            made = self._made(
                name,
                strategy,
                self.run.canvas,
                conditioner,
                metrics,
                progress,
                calls=cost.nfe,
            )
            return self._row(
                name,
                made.figures,
                real=suite.real(edges, starts_at=starts_at),
                suite=suite,
                strategy=strategy,
                conditioner=conditioner,
                edges=edges,
                cost=made.amended(cost),
                canvases=made.pictures,
            )

        return row

    def _made(
        self,
        name: str,
        strategy: Strategy,
        canvas: Canvas,
        conditioner: Conditioner,
        metrics: MetricCollection,
        progress: Progress,
        calls: int = 0,
    ) -> "Made":
        """Makes this process's share of the canvases, and measures those of all."""
        settings = self.run.plan.settings
        task = self._task(progress, name, settings.num_samples)
        pictures = picture_files(name, min(settings.pictures, settings.num_samples))
        origin = self._origin(name, strategy, conditioner)
        metrics = self._placed(metrics)
        size = (canvas.height, canvas.width)
        metrics.update(torch.empty(0, 3, *size, dtype=torch.uint8), torch.empty(0).long())
        maker = Maker(
            strategy,
            self.run.denoiser,
            canvas,
            settings.seed,
            self.run.processes.device,
            conditioner,
            calls=calls,
            advance=lambda canvases: progress.advance(task, canvases),
        )
        seconds, network_seconds, done, error = 0.0, 0.0, 0, None
        try:
            for batch in canvas_batches(
                maker,
                SampleFiles(self.run.experiment.path / "samples" / name),
                self.run.processes,
                count=settings.num_samples,
                batch_size=settings.batch_size,
                pictures=Pictures([self.run.experiment.path / file for file in pictures], origin),
            ):
                metrics.update(batch.canvases, torch.tensor(batch.indices))
                seconds += batch.seconds
                network_seconds += batch.network_seconds
                if not batch.from_disk:
                    self.network_seconds += batch.network_seconds
                # What calls have advanced is put right: memory may have run out in the middle.
                done += len(batch.canvases)
                progress.update(task, completed=done)
        except Exception as raised:  # the others wait for this process: they must hear of it
            error = raised
        self.run.processes.agree(error)
        totals = self.run.processes.gathered((seconds, network_seconds))
        return Made(
            read_off(metrics),
            sum(one for one, _ in totals) / settings.num_samples,
            sum(one for _, one in totals) / sum(one for one, _ in totals),
            pictures,
        )

    def _origin(
        self, name: str, strategy: Strategy, conditioner: Conditioner
    ) -> Callable[[int, range], Provenance]:
        """Returns what says of a sample of a row what it was made from."""
        settings, seeds = self.run.plan.settings, self.run.conditioner.seeds
        facts: dict[str, Any] = {
            "program": "benchmarks.run",
            "command": self.run.arguments,
            "row": name,
            "seed": settings.seed,
            "strategy": described_strategy(strategy),
            "settings": self.run.plan.record,
            "conditioning": conditioner.description,
            "denoiser": described_denoiser(self.run.model.description),
            "inputs": hashes_of_regions(settings.context)
            | ({SEEDS: seeds.sha256} if seeds is not None and settings.context.shows_seeds else {}),
            "environment": surroundings(
                self.run.processes.device, strategy, self.run.results.environment
            ),
        }
        exact = settings.runtime.window_batch
        return lambda sample, batch: Provenance(
            **facts, sample=sample, together=together(exact, batch)
        )

    def _task(self, progress: Progress, name: str, count: int) -> TaskID:
        """Returns a bar for this process's share of so many."""
        return progress.add_task(name, total=-(-count // self.run.processes.count))

    def _placed(self, metrics: MetricCollection) -> MetricCollection:
        """Puts metrics where processes can exchange them."""
        return metrics.to(self.run.processes.device) if self.run.processes.count > 1 else metrics

    def _row(
        self,
        name: str,
        figures: Figures,
        *,
        real: Figures,
        suite: MetricSuite,
        strategy: Strategy | None = None,
        conditioner: Conditioner | None = None,
        edges: WindowEdges | None = None,
        cost: Cost | None = None,
        canvases: list[str],
    ) -> Row:
        """Returns a row with its fingerprint; says which figures it has no value for."""
        if figures.undefined and self.run.processes.first:
            Console(stderr=True, soft_wrap=True).print(
                f"{name}: {', '.join(figures.undefined)} left out, not finite: too few canvases, "
                "or nothing to compare with.",
                markup=False,
            )
        core = None if strategy is None else strategy.core
        return Row(
            strategy=name,
            parallel=isinstance(core, ParallelStrategy) if cost is not None else None,
            edge_columns=[] if edges is None else list(edges.columns),
            settings={} if core is None else plain(core),
            fingerprint=self._fingerprint(suite, strategy, conditioner),
            figures=figures.single,
            real=real.single,
            curves=figures.curves,
            real_curves=real.curves,
            cost=cost,
            canvases=canvases,
            budget=self.run.budgets.get(name),
        )

    def _fingerprint(
        self, suite: MetricSuite, strategy: Strategy | None, conditioner: Conditioner | None
    ) -> dict[str, Any]:
        """Returns all that figures rest on."""
        settings, environment = self.run.plan.settings, self.run.results.environment
        seeds = self.run.conditioner.seeds
        return suite.fingerprint | {
            "num_reference": settings.num_reference,
            "denoiser_sha256": self.run.results.denoiser["weights_sha256"],
            "precision": settings.runtime.precision,
            "compile": settings.runtime.compile,
            "window_batch": settings.runtime.window_batch,
            "seed": settings.seed,
            "strategy": None if strategy is None else plain(strategy.core),
            "context": None if conditioner is None else conditioner.description,
            "seeds_sha256": None if seeds is None else seeds.sha256,
            "versions": environment["versions"],
            "device": environment["device"],
            "commit": environment["commit"],
            "sources": environment["sources"],
        }

    def _attempt(self, name: str, make: Callable[[], Row], progress: Progress) -> None:
        """Adds a row, or the reason why there is none."""
        alone = self.run.processes.count == 1
        try:
            row = make()
        except LostProcessError:
            raise
        except Exception as error:
            # What others do not know of would leave them waiting, and this run with another plan.
            if is_fatal(error) or not (alone or isinstance(error, SharedError)):
                raise
            # One strategy's failure must not cost the others their rows.
            said = str(error) if isinstance(error, SharedError) else shown(error)
            self.run.results.failures[name] = said
            if self.run.processes.first:
                trace = error.trace if isinstance(error, SharedError) else traceback.format_exc()
                self.run.experiment.keep_error(name, trace)
                Console(stderr=True).print(f"{name} failed: {said}", markup=False)
            self._keep()
            return
        if name == PATCHES:
            self.run.results.patches = row
        else:
            self.run.results.rows.append(row)
        self._keep()
        self._tell(row)
        report_line(progress, line_of(row))


@dataclasses.dataclass(frozen=True)
class Made:
    """What making a strategy's canvases gave.

    Args:
        figures: Read off all of them.
        seconds_per_canvas: Of one process, in batches.
        network_share: Share of that spent inside the network.
        pictures: Files of the first canvases.
    """

    figures: Figures
    seconds_per_canvas: float
    network_share: float
    pictures: list[str]

    def amended(self, cost: Cost) -> Cost:
        """Returns the cost of one canvas with the figures of batches."""
        return dataclasses.replace(
            cost, seconds_per_canvas=self.seconds_per_canvas, network_share=self.network_share
        )


def shown(error: Exception) -> str:
    """Returns what is said of an error."""
    return f"{type(error).__name__}: {error}"
