"""A strategy on a field: run as it is, on the exact denoiser, and measured."""

import inspect
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.oracle.figures import (
    correlation_by_distance,
    correlation_of_neighbours,
    jackknife,
    relative_w2,
    variance_at_edges,
    variance_at_the_end,
)
from benchmarks.oracle.probe import BulkNoise, Moments, Outcome, outcome
from benchmarks.oracle.records import CaseRecord, Evaluations, OracleRow, Place, Sampling
from benchmarks.oracle.settings import Case, OracleSettings
from denoisers.contract import Image, PatchDenoiser
from denoisers.gaussian import GaussianDenoiser
from patchcanvas.accounting import NFECounter
from patchcanvas.records import plain
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Known, WindowEdges
from strategies.sequential import SequentialStrategy

__all__ = ["Trial", "case_record", "denoiser_of", "true_samples"]

PICTURED = 16  # samples of each strategy in the picture

Figure = Callable[[Moments], float | None]


def denoiser_of(case: Case) -> PatchDenoiser:
    """Returns the exact denoiser."""
    return GaussianDenoiser(case.field, patch_size=max(case.window))


class Trial:
    """A strategy on a field.

    Args:
        case: The field.
        name: What the strategy is called.
        strategy: The strategy.
        settings: What else there is to know.

    Raises:
        ValueError: If the strategy cannot tile the canvas.
    """

    def __init__(self, case: Case, name: str, strategy: Strategy, settings: OracleSettings) -> None:
        self.case, self.name, self.strategy, self.settings = case, name, strategy, settings
        self.denoiser = denoiser_of(case)
        self.true_start: Place | None = None
        if settings.true_start and isinstance(strategy, SequentialStrategy):
            rows, columns = strategy.axes(self.denoiser, case.canvas)
            self.true_start = Place(rows.middle, columns.middle, rows.window, columns.window)
        self.window_edges = self._borders()

    def measured(self, advance: Callable[[float], None] = lambda share: None) -> OracleRow:
        """Measures the strategy.

        Args:
            advance: Told the share of the work that has been done.

        Raises:
            ValueError: If its canvases are not finite.
        """
        begun = time.perf_counter()
        made = self.outcome(advance)
        values, sampling = self._values(made)
        return OracleRow(
            strategy=self.name,
            settings=plain(self.strategy),
            steps=self.strategy.solver.num_steps,
            true_start=self.true_start,
            edge_rows=list(self.window_edges.rows),
            edge_columns=list(self.window_edges.columns),
            method=made.method,
            canvases=made.canvases,
            numbers=made.numbers,
            nonlinearity=made.nonlinearity,
            **values,
            correlation=correlation_by_distance(made.covariance, self.case.canvas).tolist(),
            sampling=sampling,
            evaluations=self.evaluations(),
            seconds=time.perf_counter() - begun,
        )

    def outcome(self, advance: Callable[[float], None] = lambda share: None) -> Outcome:
        """Returns the mean and the covariance of its canvases."""
        return outcome(
            self.make,
            samples=self.settings.num_samples,
            batch_size=self.settings.batch_size,
            seed=self.settings.seed,
            differentiable=self.make_differentiably,
            advance=advance,
        )

    def make(self, noise: CanvasNoise) -> Image:
        """Returns a canvas for each sample of the noise."""
        known = self._known(noise)
        return self.strategy.generate(self.denoiser, self.case.canvas, noise, known=known)

    def make_differentiably(self, noise: CanvasNoise) -> Image:
        """Returns the same, but gradients flow if `no_grad` is all that is in their way.

        It is a decorator of `generate`, and what it decorates can be had as it is.
        """
        generate = inspect.unwrap(type(self.strategy).generate)
        known = self._known(noise)
        return generate(self.strategy, self.denoiser, self.case.canvas, noise, known=known)

    def drawn(self) -> Image:
        """Returns a few samples to look at."""
        return self.make(CanvasNoise(self.settings.seed, range(PICTURED), dtype=torch.float64))

    def evaluations(self) -> Evaluations:
        """Counts what one canvas asks of the denoiser."""
        metered = NFECounter(self.denoiser)
        noise = CanvasNoise(self.settings.seed, [0], dtype=torch.float64)
        self.strategy.generate(metered, self.case.canvas, noise, known=self._known(noise))
        return Evaluations(
            nfe=metered.calls,
            patch_evaluations=metered.patches,
            nfe_per_pixel=metered.pixels / (self.case.canvas.height * self.case.canvas.width),
            backward_passes=metered.backward_passes,
        )

    def _known(self, noise: CanvasNoise) -> Known | None:
        """Returns a true sample of the window in the middle, for every sample of the noise."""
        if self.true_start is None:
            return None
        place = self.true_start
        eps = noise.draw("true start", 0, (1, place.height, place.width))
        image = self.case.field.sample(eps)
        return Known.placed(image, self.case.canvas, top=place.top, left=place.left)

    def _borders(self) -> WindowEdges:
        """Returns where windows meet, those of growth from the true start if there is one."""
        canvas = self.case.canvas
        if not isinstance(self.strategy, SequentialStrategy):
            edges = self.strategy.window_edges(self.denoiser, canvas)
            # All windows at once begin at the first pixel, so that a loop closes between two.
            return WindowEdges(
                (0,) * canvas.wrap_height + edges.rows, (0,) * canvas.wrap_width + edges.columns
            )
        rows, columns = self.strategy.axes(self.denoiser, canvas)
        painter = torch.full((rows.length, columns.length), -1)
        given = torch.zeros_like(painter, dtype=torch.bool)
        if self.true_start is not None:
            place = self.true_start
            given[place.top :, place.left :][: place.height, : place.width] = True
        plan = self.strategy.plan(rows, columns, canvas, given)
        for number, filling in enumerate(plan):
            window = (filling.rows[:, None], filling.columns)
            painter[window] = painter[window].where(filling.known | given[window], number)
        painter = painter[: canvas.height, : canvas.width]
        return WindowEdges(
            _changes(painter.mT, wraps=canvas.wrap_height),
            _changes(painter, wraps=canvas.wrap_width),
        )

    def _values(self, made: Outcome) -> tuple[dict[str, Any], Sampling | None]:
        """Returns the figures, and what samples add to them."""
        figures = self._figures()
        values: dict[str, Any] = {name: figure(made) for name, figure in figures.items()}
        if made.groups is None:
            return values, None
        without = [made.groups.without(group) for group in range(len(made.groups))]
        errors = {}
        raw = values["w2"]
        for name, figure in figures.items():
            if values[name] is not None:
                left_out: list[Any] = [figure(moments) for moments in without]
                values[name], errors[name] = jackknife(values[name], left_out)
        return values, Sampling(raw, self._floor(made.canvases), errors)

    def _figures(self) -> dict[str, Figure]:
        """Returns the figures by name, as functions of a mean and a covariance."""
        canvas, field, edges = self.case.canvas, self.case.field, self.window_edges
        true = field.covariance(canvas.height, canvas.width)

        def edge_variance(made: Moments) -> float | None:
            variance = variance_at_edges(made.covariance, canvas, edges)
            return variance and variance / field.variance

        def end_variance(made: Moments) -> float | None:
            variance = variance_at_the_end(made.covariance, canvas)
            return variance and variance / field.variance

        return {
            "w2": lambda made: relative_w2(true, made.covariance),
            "mean_w2": lambda made: (
                (made.mean - field.mean).square().mean().item() / field.variance
            ),
            "seam_correlation": lambda made: correlation_of_neighbours(
                made.covariance, canvas, edges
            ),
            "edge_variance": edge_variance,
            "end_variance": end_variance,
        }

    def _floor(self, samples: int) -> float:
        """Returns the W2^2 of as many true samples: no estimate comes nearer by itself."""
        canvas, field = self.case.canvas, self.case.field
        true = field.covariance(canvas.height, canvas.width)
        total, batch = torch.zeros_like(true), self.settings.batch_size
        for first in range(0, samples, batch):
            noise = BulkNoise(self.settings.seed, first, min(batch, samples - first))
            eps = noise.draw("floor", 0, (1, canvas.height, canvas.width))
            values = field.sample(eps).flatten(1) - field.mean
            total += values.mT @ values
        return relative_w2(true, total / samples)


def true_samples(case: Case, seed: int) -> Image:
    """Returns a few true samples to look at."""
    noise = CanvasNoise(seed, range(PICTURED), dtype=torch.float64)
    return case.field.sample(noise.draw("true", 0, (1, case.canvas.height, case.canvas.width)))


def case_record(case: Case) -> CaseRecord:
    """Returns the record of a case that has not begun."""
    height, width = case.canvas.height, case.canvas.width
    correlation = correlation_by_distance(case.field.covariance(height, width), case.canvas)
    return CaseRecord(
        name=case.name,
        field=plain(case.field),
        canvas=(height, width),
        wraps=(case.canvas.wrap_height, case.canvas.wrap_width),
        window=case.window,
        overlap=case.overlap,
        neighbours=correlation[1].item(),
        correlation=correlation.tolist(),
    )


def _changes(painter: torch.Tensor, *, wraps: bool) -> tuple[int, ...]:
    """Returns the columns that differ from the one before them anywhere."""
    changed = (painter != painter.roll(1, 1)).any(0)
    changed[0] &= wraps
    return tuple(changed.nonzero()[:, 0].tolist())
