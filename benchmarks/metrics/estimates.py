"""Figures with their intervals, as metrics return them and records keep them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

__all__ = ["Curve", "Estimate", "Spread"]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Curve:
    """A figure against distance, with a 95 % interval at every distance.

    Args:
        distances: In pixels, ascending.
        values: The figure at each.
        low: Lower ends of the intervals.
        high: Upper ends.
    """

    distances: list[int]
    values: list[float]
    low: list[float]
    high: list[float]


@dataclasses.dataclass(frozen=True)
class Spread:
    """The middle half of repeated measurements, by linear interpolation between them.

    >>> Spread.of([4.0, 1.0, 2.0])
    Spread(median=2.0, lower=1.5, upper=3.0, repeats=3)
    """

    median: float
    lower: float
    upper: float
    repeats: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Returns the median and the quartiles of at least one value."""
        lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
        return cls(median, lower, upper, len(values))
