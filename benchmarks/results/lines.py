"""A row of the comparison on one line, for logs."""

from benchmarks.metrics.catalogue import FIGURES
from benchmarks.results.records import Row

__all__ = ["line_of"]


def line_of(row: Row) -> str:
    """Returns a row's figures and its cost; intervals and curves are in the files."""
    figures = [
        f"{figure.title} {row.figures[name].value:.4g}"
        for name, figure in FIGURES.items()
        if name in row.figures
    ]
    if row.cost is not None:
        figures += [
            f"{row.cost.network_calls:,} network calls",
            f"{row.cost.seconds_per_canvas:.3g} s a canvas",
        ]
    return f"{row.strategy}: {', '.join(figures) or 'no figures'}"
