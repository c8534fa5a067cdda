"""The study's figures as tables."""

from collections.abc import Mapping, Sequence

from benchmarks.metrics.estimates import Estimate
from benchmarks.oracle.records import OracleRow
from benchmarks.tables.columns import ABSENT, PLUS_MINUS, by_rows, fixed, markdown
from studies.half_patches.estimates import Way
from studies.harness import Run, cells

__all__ = ["canvas_table", "excess_table", "perfect_table"]

# Figures of a row of the harness, with the heads of their columns.
FIGURES = {
    "fid_plus": "FID+",
    "recall": "recall",
    "seam_ratio": "seams",
    "colour_drift": "colour drift",
    "correlation_gap": "autocorrelation gap",
}


def perfect_table(found: Mapping[tuple[str, Way], OracleRow]) -> str:
    """Returns a table of the oracle's rows, by field and way."""
    head = ["field", "variables", "W2²", "error of the mean", "variance at seams"]
    rows = [
        [field, f"`{way}`", f"{row.w2:.4f}", f"{row.mean_w2:.4f}", f"{row.edge_variance:.3f}"]
        for (field, way), row in found.items()
    ]
    return markdown(by_rows(head, rows))


def excess_table(found: Mapping[tuple[str, Way], list[Estimate]], levels: Sequence[float]) -> str:
    """Returns a table of excess errors in percent, by denoiser and way."""
    head = ["denoiser", "variables", *(f"sigma {level:g}" for level in levels)]
    rows = [
        [f"`{denoiser}`", f"`{way}`", *map(_percent, excess)]
        for (denoiser, way), excess in found.items()
    ]
    return markdown(by_rows(head, rows))


def canvas_table(found: Mapping[tuple[str, Way], Run]) -> str:
    """Returns a table of the harness's rows, by denoiser and way."""
    head = ["denoiser", "variables", *FIGURES.values(), "pixels evaluated per pixel"]
    rows = []
    for (denoiser, way), run in found.items():
        (row,) = run.results.rows
        cost = f"{row.cost.nfe_per_pixel:.0f}" if row.cost else ABSENT
        rows.append([f"`{denoiser}`", f"`{way}`", *cells(row.figures, FIGURES), cost])
    real = next(iter(found.values())).results.real
    rows.append(
        ["other real panoramas", ABSENT, *cells(real.figures if real else {}, FIGURES), ABSENT]
    )
    return markdown(by_rows(head, rows))


def _percent(excess: Estimate) -> str:
    """Returns an excess in percent, and half of its 95 % interval.

    >>> _percent(Estimate(0.0213, 0.0173, 0.0253)), _percent(Estimate(0.95, 0.8, 1.1))
    ('2.1 ± 0.4', '95 ± 15')
    """
    value, reach = 100 * excess.value, 50 * (excess.high - excess.low)
    digits = 0 if abs(value) >= 20 else 1
    return f"{fixed(value, digits)} {PLUS_MINUS} {fixed(reach, digits)}"
