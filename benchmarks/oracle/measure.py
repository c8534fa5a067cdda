"""A strategy on a field: run as it is, on the exact denoiser, and measured."""

import time
from collections.abc import Callable

import torch

from benchmarks.accounting import Metered
from benchmarks.oracle.figures import (
    correlation_by_distance,
    correlation_of_neighbours,
    relative_w2,
    variance_at_borders,
    variance_at_the_end,
)
from benchmarks.oracle.probe import BulkNoise, Outcome, outcome
from benchmarks.oracle.records import CaseRecord, Evaluations, OracleRow
from benchmarks.oracle.settings import Case, OracleSettings
from benchmarks.records import plain
from denoisers.contract import Image, PatchDenoiser
from denoisers.gaussian import GaussianDenoiser
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Known
from strategies.sequential import SequentialStrategy

__all__ = ["case_record", "denoiser_of", "drawn", "measured", "true_samples"]

PICTURED = 16  # samples of each strategy in the picture


def denoiser_of(case: Case) -> PatchDenoiser:
    """Returns the exact denoiser."""
    return GaussianDenoiser(case.field, patch_size=max(case.window))


def measured(case: Case, name: str, strategy: Strategy, settings: OracleSettings) -> OracleRow:
    """Measures a strategy on a field."""
    begun = time.perf_counter()
    denoiser = denoiser_of(case)
    made = outcome(
        maker(case, strategy, denoiser, settings),
        samples=settings.samples,
        batch_size=settings.batch_size,
        seed=settings.seed,
    )
    true = case.field.covariance(case.canvas.height, case.canvas.width)
    borders = strategy.borders(denoiser, case.canvas)
    border_variance = variance_at_borders(made.covariance, case.canvas, borders)
    error = (made.mean - case.field.mean).square().mean().sqrt()
    return OracleRow(
        strategy=name,
        settings=plain(strategy),
        exact=made.exact,
        canvases=made.canvases,
        w2=relative_w2(true, made.covariance),
        floor=None if made.exact else relative_w2(true, floor(case, made, settings)),
        mean_error=(error / case.field.variance**0.5).item(),
        seam_correlation=correlation_of_neighbours(made.covariance, case.canvas, borders),
        border_variance=border_variance and border_variance / case.field.variance,
        end_variance=variance_at_the_end(made.covariance, case.canvas) / case.field.variance,
        correlation=correlation_by_distance(made.covariance, case.canvas).tolist(),
        evaluations=evaluations(case, strategy, settings),
        seconds=time.perf_counter() - begun,
    )


def maker(
    case: Case, strategy: Strategy, denoiser: PatchDenoiser, settings: OracleSettings
) -> Callable[[CanvasNoise], Image]:
    """Returns what makes canvases out of noise: the strategy, and its true start if it has one."""

    def make(noise: CanvasNoise) -> Image:
        known = None
        if settings.true_start and isinstance(strategy, SequentialStrategy):
            known = true_start(case, strategy, denoiser, noise)
        return strategy.generate(denoiser, case.canvas, noise, known=known)

    return make


def true_start(
    case: Case, strategy: SequentialStrategy, denoiser: PatchDenoiser, noise: CanvasNoise
) -> Known:
    """Returns a true sample of the window in the middle, for every sample of the noise."""
    rows, columns = (
        slice(axis.middle, axis.middle + axis.window)
        for axis in strategy.axes(denoiser, case.canvas)
    )
    eps = noise.draw("true start", 0, (1, *case.window))
    y = eps.new_zeros(len(noise), 1, case.canvas.height, case.canvas.width)
    y[..., rows, columns] = case.field.sample(eps)
    mask = torch.zeros(1, 1, *y.shape[-2:], dtype=torch.bool)
    mask[..., rows, columns] = True
    return Known(y, mask)


def floor(case: Case, made: Outcome, settings: OracleSettings) -> torch.Tensor:
    """Returns the covariance of as many true samples: no estimate is nearer than theirs."""
    count = made.canvases
    shape = (1, case.canvas.height, case.canvas.width)
    total = torch.zeros_like(made.covariance)
    for first in range(0, count, settings.batch_size):
        noise = BulkNoise(settings.seed, first, min(settings.batch_size, count - first))
        values = case.field.sample(noise.draw("floor", 0, shape)).flatten(1) - case.field.mean
        total += values.mT @ values
    return total / count


def drawn(case: Case, strategy: Strategy, settings: OracleSettings) -> Image:
    """Returns a few samples to look at."""
    noise = CanvasNoise(settings.seed, range(PICTURED), dtype=torch.float64)
    return maker(case, strategy, denoiser_of(case), settings)(noise)


def true_samples(case: Case, seed: int) -> Image:
    """Returns a few true samples to look at."""
    noise = CanvasNoise(seed, range(PICTURED), dtype=torch.float64)
    return case.field.sample(noise.draw("true", 0, (1, case.canvas.height, case.canvas.width)))


def evaluations(case: Case, strategy: Strategy, settings: OracleSettings) -> Evaluations:
    """Counts what one canvas asks of the denoiser."""
    metered = Metered(denoiser_of(case))
    maker(case, strategy, metered, settings)(CanvasNoise(settings.seed, [0], dtype=torch.float64))
    return Evaluations(
        network_calls=metered.calls,
        patch_evaluations=metered.patches,
        pixels_per_pixel=metered.pixels / (case.canvas.height * case.canvas.width),
        gradient_passes=metered.gradient_passes,
    )


def case_record(case: Case) -> CaseRecord:
    """Returns the record of a case that has not begun."""
    height, width = case.canvas.height, case.canvas.width
    correlation = correlation_by_distance(case.field.covariance(height, width), case.canvas)
    return CaseRecord(
        name=case.name,
        field=plain(case.field),
        canvas=(height, width),
        window=case.window,
        overlap=case.overlap,
        neighbours=correlation[1].item(),
        correlation=correlation.tolist(),
    )
