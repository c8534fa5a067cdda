"""The study's figures as tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.metrics.estimates import Estimate
from benchmarks.oracle.records import OracleRow
from benchmarks.tables.columns import ABSENT, PLUS_MINUS, columns_of, fixed, markdown
from studies.harness import Run
from studies.harness import cells as harness_cells

__all__ = ["canvas_table", "excess_table", "perfect_table"]

Entry = tuple[tuple[str, str], Any]  # names of a line, and what was found

# Figures of a row of the harness, with the heads of their columns.
FIGURES = {
    "fid_plus": "FID+",
    "recall": "recall",
    "seam_ratio": "seams",
    "colour_drift": "colour drift",
    "correlation_gap": "autocorrelation gap",
}


def perfect_table(found: Mapping[tuple[str, str], OracleRow]) -> str:
    """Returns a table of the oracle's rows, by field and way."""
    cells: dict[str, Callable[[Entry], str]] = {
        "field": lambda entry: entry[0][0],
        "variables": _way,
        "W2²": lambda entry: f"{entry[1].w2:.4f}",
        "error of the mean": lambda entry: f"{entry[1].mean_w2:.4f}",
        "variance at seams": lambda entry: f"{entry[1].border_variance:.3f}",
    }
    return markdown(columns_of([*found.items()], cells))


def excess_table(found: Mapping[tuple[str, str], list[Estimate]], levels: Sequence[float]) -> str:
    """Returns a table of excess errors in percent, by denoiser and way."""
    cells: dict[str, Callable[[Entry], str]] = {"denoiser": _denoiser, "variables": _way}
    for number, level in enumerate(levels):
        cells[f"sigma {level:g}"] = lambda entry, number=number: _percent(entry[1][number])
    return markdown(columns_of([*found.items()], cells))


def canvas_table(found: Mapping[tuple[str, str], Run]) -> str:
    """Returns a table of the harness's rows, by denoiser and way, and of real panoramas."""
    rows = [
        (f"`{denoiser}`", f"`{way}`", row.figures, row.cost)
        for (denoiser, way), run in found.items()
        for row in run.results.rows
    ]
    real = next(iter(found.values())).results.real
    rows.append(("other real panoramas", ABSENT, real.figures if real else {}, None))
    cells: dict[str, Callable[[Any], str]] = {
        "denoiser": lambda entry: entry[0],
        "variables": lambda entry: entry[1],
        **harness_cells(FIGURES, lambda entry: entry[2]),
        "pixels evaluated per pixel": lambda entry: fixed(
            entry[3] and entry[3].pixels_per_pixel, 0
        ),
    }
    return markdown(columns_of(rows, cells))


def _denoiser(entry: Entry) -> str:
    return f"`{entry[0][0]}`"


def _way(entry: Entry) -> str:
    return f"`{entry[0][1]}`"


def _percent(excess: Estimate) -> str:
    """Returns an excess in percent, and half of its 95 % interval.

    >>> _percent(Estimate(0.0213, 0.0173, 0.0253)), _percent(Estimate(0.95, 0.8, 1.1))
    ('2.1 ± 0.4', '95 ± 15')
    """
    value, reach = 100 * excess.value, 50 * (excess.high - excess.low)
    digits = 0 if abs(value) >= 20 else 1
    return f"{fixed(value, digits)} {PLUS_MINUS} {fixed(reach, digits)}"
