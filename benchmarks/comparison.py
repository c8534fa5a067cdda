"""A comparison of strategies on one denoiser, from checked settings to the report."""

import dataclasses
import errno
import itertools
import shlex
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress, TaskID
from torchmetrics import MetricCollection

from benchmarks.accounting import Metered
from benchmarks.budget import steps_within
from benchmarks.command_line import Plan
from benchmarks.environment import (
    autocast_dtype,
    describe_environment,
    device_name,
    resolve_device,
    sha256_of_sources,
)
from benchmarks.folder import RunFolder
from benchmarks.generation import Maker, canvas_batches, measure_latency
from benchmarks.latency.records import RECORD as LATENCY_RECORD
from benchmarks.loggers import Loggers, build_loggers, refuse_missing
from benchmarks.metrics.clip import ClipImages
from benchmarks.metrics.features import FeatureNetwork, build_features
from benchmarks.metrics.ruler import Figures, Ruler, drift_distance, read_off
from benchmarks.processes import LostProcessError, Processes, launched
from benchmarks.progress import progress_bars
from benchmarks.records import Cost, Results, Row, plain
from benchmarks.reference import reference_of
from benchmarks.report.contact_sheet import contact_sheet
from benchmarks.report.page import write_report
from benchmarks.report.table import comparison, markdown
from benchmarks.samples import SampleFiles, runs_of
from benchmarks.window_batch import Memory, with_batch
from denoisers.checkpoint import describe_checkpoint, load_denoiser
from denoisers.contract import PatchDenoiser
from denoisers.precond import EDMPrecond
from strategies.base import Strategy
from strategies.canvas import Borders, Canvas
from strategies.direct import Direct
from strategies.parallel import ParallelStrategy

__all__ = ["Comparison"]

PATCHES = "patches"  # the row of squares that the denoiser makes by itself
CHUNK = 64  # real crops in memory at once
# What every strategy would fail at alike.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclasses.dataclass
class Comparison:
    """A run.

    Args:
        plan: What was asked for.
        strategies: What is compared, by the names of their rows.
        budgets: What rows were given in place of equal steps, by their names.
        processes: Who shares the work.
        denoiser: The shared denoiser, under the meter.
        canvas: What every strategy makes.
        features: The network behind FID+.
        clip: Embeds squares for their consistency, if that is asked for.
        folder: Where everything goes.
        results: What is known so far.
        loggers: Who else is told.
    """

    plan: Plan
    strategies: dict[str, Strategy]
    budgets: dict[str, float]
    processes: Processes
    denoiser: Metered
    canvas: Canvas
    features: FeatureNetwork
    clip: ClipImages | None
    folder: RunFolder
    results: Results
    loggers: Loggers
    network_seconds: float = 0.0

    @classmethod
    def prepare(cls, plan: Plan, arguments: list[str]) -> "Comparison":
        """Checks all that can be checked before the work; starts the processes; finds the folder.

        Raises:
            ValueError: If something does not fit.
            OSError: If a file is missing or the folder cannot be written.
            RuntimeError: If the weights of a feature network cannot be had.
        """
        settings = plan.settings
        device = resolve_device(settings.device)
        denoiser = load_denoiser(settings.denoiser)
        canvas = canvas_of(denoiser, plan)
        strategies, budgets = within_budgets(plan, denoiser, canvas)
        for name, strategy in strategies.items():
            try:
                strategy.borders(denoiser, canvas)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        side = min(canvas.height, canvas.width)
        settings.data.crop("test", 0, side, side)
        refuse_other_split(describe_checkpoint(settings.denoiser), settings.data.description)
        if settings.latency is not None and not (settings.latency / LATENCY_RECORD).is_file():
            raise FileNotFoundError(
                f"latency must be the folder of a run of benchmarks.latency, with a "
                f"{LATENCY_RECORD}, got {settings.latency}."
            )
        # On the CPU first, so that what is missing is said once and before other processes start.
        build_features(settings.features, weights=settings.features_weights)
        clip = build_clip(plan, "cpu")
        refuse_missing(settings.loggers)
        processes = launched(
            device,
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            arguments=arguments,
        )
        features = build_features(
            settings.features,
            weights=settings.features_weights,
            # random_conv computes in float64, which MPS has not.
            device="cpu" if device.type == "mps" else processes.device,
        )
        if processes.device.type == "cuda":
            clip = build_clip(plan, processes.device)
        fresh = fresh_results(plan, arguments, processes, features, canvas, denoiser.patch_size)
        folder, results = processes.once(
            lambda: RunFolder.for_run(fresh, settings.results, set(strategies))
        )
        processes.once(lambda: settings.data.write_manifest(folder.path / "manifest.json"))
        loggers = build_loggers(settings.loggers if processes.first else [], folder.path)
        return cls(
            plan,
            strategies,
            budgets,
            processes,
            Metered(tuned(denoiser.to(processes.device), plan, memory_of(plan, processes.device))),
            canvas,
            features,
            clip,
            folder,
            results,
            loggers,
        )

    def execute(self, console: Console) -> int:
        """Fills the table row by row; a finished row is on disk before the next begins."""
        begun = time.perf_counter()
        console.print(f"writing to {self.folder.path}", markup=False)
        self.results.failures.clear()
        self.loggers.settings(self.results.settings)
        before = dict(self.results.seconds)
        with progress_bars(console) as progress:
            ruler = self._ruler(progress)
            finished = {row.strategy for row in self.results.rows}
            if self._measures_patches() and self.results.patches is None:
                self._attempt(PATCHES, lambda: self._patches_row(ruler, progress))
                self._spent(begun, before)
            for name, strategy in self.strategies.items():
                if name not in finished:
                    row = self._row_of(name, strategy, ruler, progress)
                    self._attempt(name, row)
                    self._spent(begun, before)
        self.processes.once(self._write_pages)
        self._spent(begun, before)
        if self.processes.first:
            Console().print(comparison(self.results))
        console.print(f"report: {self.folder.path / 'report.html'}", markup=False)
        self.loggers.finish(failed=bool(self.results.failures))
        return 1 if self.results.failures else 0

    def _spent(self, begun: float, before: dict[str, float]) -> None:
        """Keeps the account of time: this process's, over all interruptions."""
        self.results.seconds = {
            "wall": before.get("wall", 0.0) + time.perf_counter() - begun,
            "network": before.get("network", 0.0) + self.network_seconds,
        }
        self._keep()

    def _keep(self) -> None:
        """Writes what is known so far."""
        self.processes.once(lambda: self.folder.write(self.results))

    def _ruler(self, progress: Progress) -> Ruler:
        """Builds the ruler and measures real images with it."""
        settings, side = self.plan.settings, min(self.canvas.height, self.canvas.width)
        task = self._task(progress, "reference", settings.num_reference)
        reference = reference_of(
            settings.data,
            self.features,
            self.processes,
            count=settings.num_reference,
            side=side,
            cache=settings.cache_folder,
            advance=lambda crops: progress.advance(task, crops),
        )
        ruler = Ruler.of(
            settings.data,
            self.features,
            reference,
            self.canvas,
            num_samples=settings.num_samples,
            strip=self.denoiser.patch_size,
            seed=settings.seed,
            clip=self.clip,
        )
        if ruler.why_no_long_crops:
            progress.console.print(
                f"no real canvases for seams and drift: {ruler.why_no_long_crops}", markup=False
            )
        if self.results.real is None:
            self.results.real = self._real_row(ruler, progress)
            self._keep()
            self.loggers.row(self.results.real, num_samples=settings.num_samples)
        return ruler

    def _real_row(self, ruler: Ruler, progress: Progress) -> Row:
        """Measures real canvases that the reference does not hold, as many as there are samples.

        Where no image is large enough: square crops, by the figures that need no more.
        """
        settings, side = self.plan.settings, min(self.canvas.height, self.canvas.width)
        task = self._task(progress, "real images", settings.num_samples)
        long = ruler.long_crops is not None
        size = (self.canvas.height, self.canvas.width) if long else (side, side)
        metrics = self._placed(ruler.metrics() if long else ruler.crop_metrics())
        metrics.update(torch.empty(0, 3, *size, dtype=torch.uint8), torch.empty(0).long())
        first = settings.num_reference
        for run in self.processes.share(runs_of(list(range(settings.num_samples)), longest=CHUNK)):
            crops = settings.data.crops("test", len(run), *size, first=first + run.start)
            metrics.update(crops, torch.tensor(run))
            progress.advance(task, len(run))
        pictures = ruler.long_crops[: settings.pictures] if long else []
        return self._row(
            "real",
            read_off(metrics),
            real=Figures({}, {}),
            ruler=ruler,
            canvases=self.processes.once(lambda: self.folder.write_pictures("real", pictures)),
        )

    def _measures_patches(self) -> bool:
        """Whether patches are as large as the squares that FID+ compares."""
        side = min(self.canvas.height, self.canvas.width)
        return self.plan.settings.patches and self.denoiser.patch_size == side

    def _patches_row(self, ruler: Ruler, progress: Progress) -> Row:
        """Measures squares that the denoiser makes by itself: the plain FID."""
        side = self.denoiser.patch_size
        square = Canvas(height=side, width=side, channels=self.canvas.channels)
        strategy = Direct(solver=self.plan.settings.solver)
        made = self._made(PATCHES, strategy, square, ruler.crop_metrics(), progress)
        return self._row(
            PATCHES,
            made.figures,
            real=Figures({}, {}),
            ruler=ruler,
            strategy=strategy,
            canvases=made.pictures,
        )

    def _row_of(
        self, name: str, strategy: Strategy, ruler: Ruler, progress: Progress
    ) -> Callable[[], Row]:
        """Returns what makes and measures a strategy's canvases."""

        def row() -> Row:
            settings = self.plan.settings
            # First, since its warm-up run spares the batches the cold start.
            cost = self.processes.once(
                lambda: measure_latency(
                    strategy,
                    self.denoiser,
                    self.canvas,
                    repeats=settings.latency_repeats,
                    seed=settings.seed,
                    device=self.processes.device,
                )
            )
            self.network_seconds += (
                cost.network_share * cost.seconds_per_canvas * (settings.latency_repeats + 1)
            )
            borders = strategy.borders(self.denoiser, self.canvas)
            starts_at = strategy.starts_at(self.denoiser, self.canvas)
            metrics = ruler.metrics(borders, starts_at=starts_at)
            made = self._made(name, strategy, self.canvas, metrics, progress)
            return self._row(
                name,
                made.figures,
                real=ruler.real(borders, starts_at=starts_at),
                ruler=ruler,
                strategy=strategy,
                borders=borders,
                cost=made.amended(cost),
                canvases=made.pictures,
            )

        return row

    def _made(
        self,
        name: str,
        strategy: Strategy,
        canvas: Canvas,
        metrics: MetricCollection,
        progress: Progress,
    ) -> "Made":
        """Makes this process's share of the canvases, and measures those of all."""
        settings = self.plan.settings
        task = self._task(progress, name, settings.num_samples)
        pictures = self.folder.picture_files(name, min(settings.pictures, settings.num_samples))
        metrics = self._placed(metrics)
        size = (canvas.height, canvas.width)
        metrics.update(torch.empty(0, 3, *size, dtype=torch.uint8), torch.empty(0).long())
        seconds, network_seconds, error = 0.0, 0.0, None
        try:
            for batch in canvas_batches(
                Maker(strategy, self.denoiser, canvas, settings.seed, self.processes.device),
                SampleFiles(self.folder.samples(name)),
                self.processes,
                count=settings.num_samples,
                batch_size=settings.batch_size,
                pictures=lambda index: (
                    self.folder.path / pictures[index] if index < len(pictures) else None
                ),
            ):
                metrics.update(batch.canvases, torch.tensor(batch.indices))
                seconds += batch.seconds
                network_seconds += batch.network_seconds
                progress.advance(task, len(batch.canvases))
        except Exception as raised:  # the others wait for this process: they must hear of it
            error = raised
        self.processes.agree(error)
        self.network_seconds += network_seconds
        totals = self.processes.gathered((seconds, network_seconds))
        return Made(
            read_off(metrics),
            sum(one for one, _ in totals) / settings.num_samples,
            sum(one for _, one in totals) / sum(one for one, _ in totals),
            pictures,
        )

    def _task(self, progress: Progress, name: str, count: int) -> TaskID:
        """Returns a bar for this process's share of so many."""
        return progress.add_task(name, total=-(-count // self.processes.count))

    def _placed(self, metrics: MetricCollection) -> MetricCollection:
        """Puts metrics where processes can exchange them."""
        return metrics.to(self.processes.device) if self.processes.count > 1 else metrics

    def _row(
        self,
        name: str,
        figures: Figures,
        *,
        real: Figures,
        ruler: Ruler,
        strategy: Strategy | None = None,
        borders: Borders | None = None,
        cost: Cost | None = None,
        canvases: list[str],
    ) -> Row:
        """Returns a row with its fingerprint."""
        compared = cost is not None
        return Row(
            strategy=name,
            parallel=isinstance(strategy, ParallelStrategy) if compared else None,
            border_columns=[] if borders is None else list(borders.columns),
            settings={} if strategy is None else plain(strategy),
            fingerprint=self._fingerprint(ruler, strategy),
            figures=figures.single,
            real=real.single,
            curves=figures.curves,
            real_curves=real.curves,
            cost=cost,
            canvases=canvases,
            budget=self.budgets.get(name),
        )

    def _fingerprint(self, ruler: Ruler, strategy: Strategy | None) -> dict[str, Any]:
        """Returns all that figures rest on."""
        settings, features = self.plan.settings, self.features.description
        canvas, environment = self.canvas, self.results.environment
        return {
            "features": features["name"],
            "features_sha256": features["fingerprint"],
            "features_dtype": features["dtype"],
            "resizer": features["resizer"],
            "clip_sha256": None if self.clip is None else self.clip.fingerprint,
            "num_samples": settings.num_samples,
            "num_reference": settings.num_reference,
            "reference_sha256": ruler.reference.sha256,
            "crop_seed": settings.seed,
            "canvas": f"{canvas.height} x {canvas.width} px",
            "wraps": f"height: {canvas.wrap_height}, width: {canvas.wrap_width}",
            "denoiser_sha256": self.results.denoiser["weights_sha256"],
            "precision": settings.precision,
            "compile": settings.compile,
            "window_batch": settings.window_batch,
            "seed": settings.seed,
            "strategy": None if strategy is None else plain(strategy),
            "versions": environment["versions"],
            "device": environment["device"],
            "commit": environment["commit"],
            "sources": environment["sources"],
        }

    def _attempt(self, name: str, make: Callable[[], Row]) -> None:
        """Adds a row, or the reason why there is none."""
        try:
            row = make()
        except LostProcessError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK:
                raise  # every strategy would fail alike
            # One strategy's failure must not cost the others their rows.
            self.results.failures[name] = f"{type(error).__name__}: {error}"
            if self.processes.first:
                self.folder.write_error(name)
                Console(stderr=True).print(f"{name} failed: {error}", markup=False)
        else:
            if name == PATCHES:
                self.results.patches = row
            else:
                self.results.rows.append(row)
            self.loggers.row(row, num_samples=self.plan.settings.num_samples)
        self._keep()

    def _write_pages(self) -> None:
        rows = [*self.results.rows, *([self.results.real] if self.results.real else [])]
        pictures = {
            row.strategy: self.folder.read_pictures(row.canvases) for row in rows if row.canvases
        }
        if pictures:
            borders = {row.strategy: row.border_columns for row in rows}
            sheet = self.folder.path / "contact_sheet.png"
            contact_sheet(pictures, sheet, borders=borders)
            self.loggers.picture(sheet)
        (self.folder.path / "table.md").write_text(markdown(self.results))
        write_report(self.results, self.folder.path, latency=self.plan.settings.latency)


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


def within_budgets(
    plan: Plan, denoiser: EDMPrecond, canvas: Canvas
) -> tuple[dict[str, Strategy], dict[str, float]]:
    """Returns the strategies by the names of their rows, and the budgets of those that have one.

    Raises:
        ValueError: If a budget is below what a strategy's fewest steps take.
    """
    if plan.settings.budgets is None:
        return plan.strategies, {}
    strategies, budgets = {}, {}
    for budget, (name, strategy) in itertools.product(
        plan.settings.budgets, plan.strategies.items()
    ):

        def stepped(steps: int, strategy: Strategy = strategy) -> Strategy:
            solver = dataclasses.replace(strategy.solver, num_steps=steps)
            return dataclasses.replace(strategy, solver=solver)

        try:
            steps = steps_within(stepped, denoiser, canvas, budget)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        strategies[f"{name}@{budget:g}"] = stepped(steps)
        budgets[f"{name}@{budget:g}"] = budget
    return strategies, budgets


def build_clip(plan: Plan, device: torch.device | str) -> ClipImages | None:
    """Returns what embeds squares, if that is asked for."""
    settings = plan.settings
    if settings.clip is None:
        return None
    return ClipImages(settings.clip, settings.clip_weights, device=device)


def memory_of(plan: Plan, device: torch.device) -> Memory:
    """Returns what is known of how much this device holds of this denoiser."""
    settings = plan.settings
    weights = describe_checkpoint(settings.denoiser)["weights_sha256"][:16]
    key = f"{device_name(device)}; weights {weights}; {settings.precision}"
    return Memory(settings.cache_folder / "window_batch.json", key)


def canvas_of(denoiser: EDMPrecond, plan: Plan) -> Canvas:
    """Returns the canvas that is asked for, with the defaults that depend on the denoiser."""
    size = plan.settings.canvas
    height = denoiser.patch_size if size.height is None else size.height
    width = 6 * height if size.width is None else size.width
    return Canvas(
        height=height,
        width=width,
        channels=denoiser.channels,
        wrap_height=size.wrap_height,
        wrap_width=size.wrap_width,
    )


def refuse_other_split(checkpoint: dict[str, Any], data: dict[str, Any]) -> None:
    """Checks that images the denoiser was trained on are cut and split as they were in training.

    Otherwise they would be compared at another scale, or with images that training has seen.

    Raises:
        ValueError: If the content is the same and anything else differs.
    """
    trained = (checkpoint["provenance"] or {}).get("data") or {}
    if "content" not in data or trained.get("content") != data["content"]:
        return
    for name, value in trained.items():
        if name != "root" and data.get(name) != value:
            raise ValueError(
                f"the denoiser was trained on these very images with {name}={value}, but they are "
                f"compared with {name}={data.get(name)}: the reference would be images at another "
                f"scale or that training has seen; give data the settings of the training."
            )


def tuned(denoiser: EDMPrecond, plan: Plan, memory: Memory) -> PatchDenoiser:
    """Sets the precision, compiles and sizes the calls, as asked for."""
    denoiser.autocast_dtype = autocast_dtype(plan.settings.precision)
    if plan.settings.compile:
        denoiser.network.compile()
    return with_batch(denoiser, plan.settings.window_batch, memory)


def fresh_results(
    plan: Plan,
    arguments: list[str],
    processes: Processes,
    features: FeatureNetwork,
    canvas: Canvas,
    strip: int,
) -> Results:
    """Returns the record of a run that has not begun."""
    settings = plan.settings
    data = type(settings.data).__name__.lower()
    return Results(
        name=settings.name or f"{data}-{settings.strategy.replace(',', '-')}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "benchmarks.run", *arguments]),
        settings=plan.record,
        environment=describe_environment(processes.device)
        | {"sources": sha256_of_sources(map(type, plan.strategies.values()))},
        denoiser=describe_checkpoint(settings.denoiser),
        data=settings.data.description,
        features=features.description,
        num_samples=settings.num_samples,
        num_reference=settings.num_reference,
        canvas=(canvas.height, canvas.width),
        drift_distance=drift_distance(canvas.width, strip),
    )
