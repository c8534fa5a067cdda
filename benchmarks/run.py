"""`python -m benchmarks.run strategy=all`: one denoiser, every strategy, one table."""

import dataclasses
import errno
import shlex
import sys
from datetime import UTC, datetime
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.accounting import Metered
from benchmarks.command_line import Plan, parse
from benchmarks.contact_sheet import contact_sheet
from benchmarks.environment import (
    autocast_dtype,
    describe_environment,
    resolve_device,
    sha256_of_sources,
)
from benchmarks.features import FeatureNetwork, build_features
from benchmarks.folder import RunFolder
from benchmarks.generation import generate_canvases, measure_latency
from benchmarks.progress import progress_bars
from benchmarks.records import Results, Row, plain
from benchmarks.report import write_report
from benchmarks.ruler import Ruler, drift_distance
from benchmarks.table import comparison, markdown
from denoisers.checkpoint import describe_checkpoint, load_denoiser
from denoisers.precond import EDMPrecond
from strategies.base import Strategy
from strategies.canvas import Canvas
from strategies.parallel import ParallelStrategy

__all__ = ["Run", "main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs the harness.

    Returns:
        0 when every strategy has its row, 1 when one failed, 2 when nothing could be begun or the
        disk gave out, 130 when interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        run = Run.prepare(parse(arguments), arguments)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        console.print(f"error: {error}", markup=False)
        return 2
    try:
        return run.execute(console)
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on from here.")
        return 130
    except OSError as error:
        console.print(
            f"error: {error}: what was finished is kept; mend this and give the same command.",
            markup=False,
        )
        return 2


@dataclasses.dataclass
class Run:
    """A comparison, from checked settings to the report.

    Args:
        plan: What was asked for.
        device: Where it runs.
        denoiser: The shared denoiser, under the meter.
        canvas: What every strategy makes.
        features: The network behind FID+.
        folder: Where everything goes.
        results: What is known so far.
    """

    plan: Plan
    device: torch.device
    denoiser: Metered
    canvas: Canvas
    features: FeatureNetwork
    folder: RunFolder
    results: Results

    @classmethod
    def prepare(cls, plan: Plan, arguments: list[str]) -> "Run":
        """Checks all that can be checked before the work; finds or makes the folder.

        Raises:
            ValueError: If something does not fit.
            OSError: If a file is missing or the folder cannot be written.
            RuntimeError: If the weights of the feature network cannot be had.
        """
        settings = plan.settings
        device = resolve_device(settings.device)
        denoiser = load_denoiser(settings.denoiser, device=device)
        canvas = canvas_of(denoiser, plan)
        for name, strategy in plan.strategies.items():
            try:
                strategy.borders(denoiser, canvas)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        side = min(canvas.height, canvas.width)
        settings.data.crop("test", 0, side, side)
        refuse_other_split(describe_checkpoint(settings.denoiser), settings.data.description)
        features = build_features(
            settings.features,
            weights=settings.features_weights,
            # random_conv computes in float64, which MPS has not.
            device="cpu" if device.type == "mps" else device,
        )
        fresh = fresh_results(plan, arguments, device, features, canvas, denoiser.patch_size)
        folder, results = RunFolder.for_run(fresh, settings.results, set(plan.strategies))
        settings.data.write_manifest(folder.path / "manifest.json")
        tuned(denoiser, plan)
        return cls(plan, device, Metered(denoiser), canvas, features, folder, results)

    def execute(self, console: Console) -> int:
        """Fills the table row by row; a finished row is on disk before the next begins."""
        console.print(f"writing to {self.folder.path}", markup=False)
        self.results.failures.clear()
        with progress_bars(console) as progress:
            ruler = self._ruler(progress)
            finished = {row.strategy for row in self.results.rows}
            for name, strategy in self.plan.strategies.items():
                if name not in finished:
                    self._attempt(name, strategy, ruler, progress)
        self._write_pages()
        Console().print(comparison(self.results))
        console.print(f"report: {self.folder.path / 'report.html'}", markup=False)
        return 1 if self.results.failures else 0

    def _ruler(self, progress: Progress) -> Ruler:
        """Builds the ruler and measures real images with it."""
        settings = self.plan.settings
        task = progress.add_task("real images", total=2)
        ruler = Ruler.of(
            settings.data,
            self.features,
            self.canvas,
            num_reference=settings.num_reference,
            strip=self.denoiser.patch_size,
            seed=settings.seed,
        )
        progress.advance(task)
        if ruler.why_no_long_crops:
            progress.console.print(
                f"no real canvases for seams and drift: {ruler.why_no_long_crops}", markup=False
            )
        if self.results.real is None:
            self.results.real = self._real_row(ruler)
            self.folder.write(self.results)
        progress.advance(task)
        return ruler

    def _real_row(self, ruler: Ruler) -> Row:
        """Measures real crops that the reference does not hold, as many as there are samples."""
        settings, side = self.plan.settings, min(self.canvas.height, self.canvas.width)
        first = settings.num_reference
        others = settings.data.crops("test", settings.num_samples, side, side, first=first)
        pictures = [] if ruler.long_crops is None else ruler.long_crops[: settings.pictures]
        return Row(
            strategy="real",
            parallel=None,
            border_columns=[],
            settings={},
            fid_plus=ruler.fid_plus(others),
            seam_ratio=None,
            seam_ratio_real=None,
            colour_drift=ruler.drift(ruler.long_crops),
            cost=None,
            canvases=self.folder.write_pictures("real", pictures) if len(pictures) else [],
        )

    def _attempt(self, name: str, strategy: Strategy, ruler: Ruler, progress: Progress) -> None:
        """Adds a strategy's row, or the reason why there is none."""
        try:
            self.results.rows.append(self._row(name, strategy, ruler, progress))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (
                errno.ENOSPC,
                errno.EDQUOT,
                errno.EROFS,
            ):
                raise  # every strategy would fail alike
            # One strategy's failure must not cost the others their rows.
            self.results.failures[name] = f"{type(error).__name__}: {error}"
            self.folder.write_error(name)
            progress.console.print(f"{name} failed: {error}", markup=False)
        self.folder.write(self.results)

    def _row(self, name: str, strategy: Strategy, ruler: Ruler, progress: Progress) -> Row:
        settings = self.plan.settings
        task = progress.add_task(name, total=settings.num_samples)
        # First, since its warm-up run spares the batches the cold start.
        cost = measure_latency(
            strategy,
            self.denoiser,
            self.canvas,
            repeats=settings.latency_repeats,
            seed=settings.seed,
            device=self.device,
        )
        generated = generate_canvases(
            strategy,
            self.denoiser,
            self.canvas,
            count=settings.num_samples,
            batch_size=settings.batch_size,
            seed=settings.seed,
            device=self.device,
            folder=self.folder.samples(name),
            advance=lambda count: progress.advance(task, count),
        )
        canvases = generated.canvases
        borders = strategy.borders(self.denoiser, self.canvas)
        return Row(
            strategy=name,
            parallel=isinstance(strategy, ParallelStrategy),
            border_columns=list(borders.columns),
            settings=plain(strategy),
            fid_plus=ruler.fid_plus(canvases),
            seam_ratio=ruler.seams(canvases, borders),
            seam_ratio_real=ruler.seams(ruler.long_crops, borders),
            colour_drift=ruler.drift(canvases),
            cost=dataclasses.replace(
                cost,
                seconds_per_canvas=generated.seconds / len(canvases),
                network_share=generated.network_seconds / generated.seconds,
            ),
            canvases=self.folder.write_pictures(name, canvases[: settings.pictures]),
        )

    def _write_pages(self) -> None:
        rows = [*self.results.rows, *([self.results.real] if self.results.real else [])]
        pictures = {
            row.strategy: self.folder.read_pictures(row.canvases) for row in rows if row.canvases
        }
        if pictures:
            borders = {row.strategy: row.border_columns for row in rows}
            contact_sheet(pictures, self.folder.path / "contact_sheet.png", borders=borders)
        (self.folder.path / "table.md").write_text(markdown(self.results))
        write_report(self.results, self.folder.path)


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


def tuned(denoiser: EDMPrecond, plan: Plan) -> None:
    """Sets the precision and compiles, as asked for."""
    denoiser.autocast_dtype = autocast_dtype(plan.settings.precision)
    if plan.settings.compile:
        denoiser.network.compile()


def fresh_results(
    plan: Plan,
    arguments: list[str],
    device: torch.device,
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
        environment=describe_environment(device)
        | {"sources": sha256_of_sources(map(type, plan.strategies.values()))},
        denoiser=describe_checkpoint(settings.denoiser),
        data=settings.data.description,
        features={
            "name": features.name,
            "fingerprint": features.fingerprint,
            "dimensions": features.dimensions,
        },
        num_samples=settings.num_samples,
        num_reference=settings.num_reference,
        canvas=(canvas.height, canvas.width),
        drift_distance=drift_distance(canvas.width, strip),
    )


if __name__ == "__main__":
    sys.exit(main())
