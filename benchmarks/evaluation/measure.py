"""Images that anybody made, measured by the suite of the comparison."""

import dataclasses
import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from benchmarks.evaluation.evaluation import Evaluation
from benchmarks.evaluation.images import ImageFolder
from benchmarks.evaluation.preparation import Prepared, most_in_memory
from benchmarks.evaluation.settings import EvaluationSettings
from benchmarks.experiment.processes import runs_of
from benchmarks.metrics.estimates import Estimate
from benchmarks.metrics.reference import Reference, reference_of
from benchmarks.metrics.suite import Figures, MetricSuite, read_off
from benchmarks.results.lines import line_of
from benchmarks.results.records import Row
from patchcanvas.cli.progress import progress_bars, report_line
from patchcanvas.records import plain
from strategies.canvas import WindowEdges

__all__ = ["evaluate", "fid_plus", "measured"]

Images = UInt8[Tensor, "n 3 height width"]
REAL = "real"  # the row of real images, as `benchmarks.report` knows it
ENVIRONMENT = ("versions", "device", "commit", "sources")
PATHS = ("long_reference", "features_weights", "cache")


def evaluate(
    images: str | Path | Sequence[str | Path],
    reference: str | Path | None = None,
    *,
    metrics: str | Sequence[str] = "all",
    progress: bool = True,
    **settings: Any,
) -> Evaluation:
    """Measures folders of images, made by whatever program, beside a folder of real ones.

    Args:
        images: A folder, or several, which become rows of one table.
        reference: Folder of real images.
        metrics: Names of figures, or `all` that can be had.
        progress: Whether it is said how far the work is.
        settings: Any other of `EvaluationSettings`; `results` and `output` play no part.

    Raises:
        ValueError: If something does not fit, before any long work.
        OSError: If a folder or file is missing.
    """
    folders = [images] if isinstance(images, str | Path) else images
    asked = EvaluationSettings(
        images=[Path(folder) for folder in folders],
        reference=None if reference is None else Path(reference),
        metrics=metrics if isinstance(metrics, str) else ",".join(metrics),
        **settings | {name: Path(settings[name]) for name in PATHS if settings.get(name)},
    )
    console = Console(stderr=True, soft_wrap=True, highlight=False, quiet=not progress)
    return measured(Prepared.of(asked, plain(asked), command_of(asked)), console)


def fid_plus(
    images: str | Path,
    reference: str | Path,
    *,
    features: str = "inception",
    seed: int = 0,
    **settings: Any,
) -> Estimate:
    """Returns FID+ of a folder of images, with its 95 % interval.

    Of images that are longer than high, one random square each is compared; of squares it is FID.

    Args:
        images: The folder.
        reference: Folder of real images.
        features: `inception`, or `random_conv`, whose figures are comparable with nothing else.
        seed: Seeds the places of the squares.
        settings: Any other of `EvaluationSettings`.

    Raises:
        ValueError: If something does not fit, before any long work.
        OSError: If a folder or file is missing.
    """
    chosen: dict[str, Any] = {"metrics": "fid_plus", "features": features, "seed": seed}
    return evaluate(images, reference, **chosen, **settings).fid_plus


def measured(
    run: Prepared, console: Console, keep: Callable[[], None] = lambda: None
) -> Evaluation:
    """Measures every folder, and real images like one of them, where they are as large.

    Args:
        run: What is measured, checked and ready.
        console: Is told how far it is.
        keep: Is called after every row, which is on record then.
    """
    with progress_bars(console) as progress:
        suite = with_real_images(run, progress)
        rows = Rows(run, suite, progress)
        if run.results.real is None and (real := rows.of_real_images()) is not None:
            run.results.real = real
            keep()
        finished = {row.strategy for row in run.results.rows}
        for name, folder in run.folders.items():
            if name not in finished:
                run.results.rows.append(rows.of_folder(name, folder))
                keep()
    return Evaluation(run.results)


def with_real_images(run: Prepared, progress: Progress) -> MetricSuite:
    """Returns the suite with the features of the reference, and real images to lay beside."""
    canvas = run.suite.canvas
    long_crops, why = None, "there is no reference" if run.long is None else None
    if run.long is not None:
        size = (canvas.height, canvas.width)
        count = min(most_in_memory(canvas), run.long.room(size))
        why = f"none is as large, {size[0]} x {size[1]} px" if count < 2 else None
        if why is None:
            long_crops = run.long.crops(count, size).crops("test", count, *size)
    if why is not None and run.squares is not None:
        progress.console.print(f"no real images for seams and drift: {why}", markup=False)
    return dataclasses.replace(
        run.suite,
        reference=features_of_reference(run, progress),
        long_crops=long_crops,
        why_no_long_crops=why,
    )


def features_of_reference(run: Prepared, progress: Progress) -> Reference | None:
    """Returns the features of the reference's squares, those that are kept already as they are."""
    if run.squares is None:
        return None
    count, canvas = len(run.squares.turns), run.suite.canvas
    task = progress.add_task("reference", total=count)
    return reference_of(
        run.squares,
        run.suite.features,
        run.processes,
        count=count,
        side=run.suite.side or min(canvas.height, canvas.width),
        cache=run.settings.cache_folder,
        advance=lambda crops: progress.advance(task, crops),
    )


@dataclasses.dataclass(frozen=True)
class Rows:
    """Measures rows.

    Args:
        run: What is measured.
        suite: What it is measured by.
        progress: Is told how far it is.
    """

    run: Prepared
    suite: MetricSuite
    progress: Progress

    def of_folder(self, name: str, folder: ImageFolder) -> Row:
        """Measures the images of a folder."""
        edges, start = self.run.edges, self.run.settings.start
        figures = self._figures(name, folder.read, edges)
        real = self.suite.real(edges, starts_at=start)
        return self._row(name, figures, real, edges, images_sha256=folder.sha256)

    def of_real_images(self) -> Row | None:
        """Measures as many real images, cut to the same size; None where there are too few."""
        canvas, count, long = self.suite.canvas, self.suite.num_samples, self.run.long
        size = (canvas.height, canvas.width)
        side = self.suite.side or min(size)
        # Squares cut to squares would be the reference itself.
        if long is None or size == (side, side) or long.room(size) < count:
            return None
        crops = long.crops(count, size)

        def read(run: range) -> Images:
            return crops.crops("test", len(run), *size, first=run.start)

        nowhere = WindowEdges((), ())
        figures = self._figures(REAL, read, nowhere)
        return self._row(REAL, figures, Figures({}, {}), nowhere)

    def _figures(self, name: str, read: Callable[[range], Images], edges: WindowEdges) -> Figures:
        """Measures images a batch at a time."""
        count = self.suite.num_samples
        metrics = self.suite.metrics(edges, starts_at=self.run.settings.start)
        task = self.progress.add_task(name, total=count)
        for run in runs_of(list(range(count)), longest=self.run.settings.batch_size):
            metrics.update(read(run), torch.tensor(run))
            self.progress.advance(task, len(run))
        figures = read_off(metrics)
        if figures.undefined:
            self.progress.console.print(
                f"{name}: {', '.join(figures.undefined)} left out, not finite: too few images, or "
                "nothing to compare with.",
                markup=False,
            )
        return figures

    def _row(
        self, name: str, figures: Figures, real: Figures, edges: WindowEdges, **facts: Any
    ) -> Row:
        """Returns a row with all that its figures rest on."""
        results = self.run.results
        row = Row(
            strategy=name,
            parallel=None,
            edge_columns=list(edges.columns),
            settings={},
            fingerprint=self.suite.fingerprint
            | {"num_reference": results.num_reference, **facts}
            | {fact: results.environment[fact] for fact in ENVIRONMENT},
            figures=figures.single,
            real=real.single,
            curves=figures.curves,
            real_curves=real.curves,
            cost=None,
            canvases=[],
        )
        report_line(self.progress, line_of(row))
        return row


def command_of(settings: EvaluationSettings) -> str:
    """Returns the command line that asks for the same."""
    words = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if value != default:
            listed = isinstance(value, list)
            words.append(f"{field.name}={json.dumps(value, default=str) if listed else value}")
    return shlex.join(["patchcanvas", "evaluate", *words])
