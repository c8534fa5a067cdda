"""What every metric of canvases shares: one row of statistics a canvas, and its sample index.

A row is a function of one canvas alone, and rows are sorted by sample index before any formula sees
them. So a figure depends neither on the batch size, nor on the order of updates, nor on the number
of processes; only the rounding of a feature network may, where it depends on the batch.
"""

import abc
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat
from typing_extensions import override

from benchmarks.metrics.crops import square_crops
from benchmarks.metrics.estimates import Curve, Estimate
from benchmarks.metrics.features import FeatureNetwork
from benchmarks.metrics.resampling import bootstrap_counts, estimate, margins

__all__ = [
    "FOR_NETWORKS",
    "CanvasMetric",
    "Canvases",
    "CropMetric",
    "Figures",
    "SumMetric",
    "chunks",
    "validate_fit",
]

Canvases = UInt8[Tensor, "n 3 height width"]
Figures = dict[str, Estimate | Curve]
IN_FLIGHT = 2**18  # values looked at at once: four times as fast as 2^23, which no cache holds
FOR_NETWORKS = 2**30  # the same where a network splits its images itself


class CanvasMetric(Metric, abc.ABC):
    """Gathers a row of float64 statistics for every canvas; formulas are apart.

    Under a process group `compute` gathers the rows of all processes, each of which must have
    called `update`, with no canvases if it has no share of them.

    Args:
        columns: Length of a row.
        seed: Seeds the resampling.
        limit: Only canvases whose sample index is below it are looked at; None for all.
    """

    full_state_update = False
    in_flight: ClassVar[int] = IN_FLIGHT
    indices: list[Tensor]
    rows: list[Tensor]

    def __init__(self, *, columns: int, seed: int, limit: int | None = None) -> None:
        super().__init__()
        self.columns = columns
        self.seed = seed
        self.limit = limit
        self.add_state("indices", [], dist_reduce_fx="cat")
        self.add_state("rows", [], dist_reduce_fx="cat")

    @override
    def update(self, canvases: Canvases, indices: Int64[Tensor, " n"]) -> None:
        """Adds canvases, by their sample indices; none at all is allowed."""
        if self.limit is not None:
            taken = (indices < self.limit).cpu()
            canvases, indices = canvases[taken.to(canvases.device)], indices[taken]
        rows = [torch.empty(0, self.columns, dtype=torch.float64)]
        for part in chunks(len(canvases), canvases[:1].numel(), self.in_flight):
            rows.append(self.statistics(canvases[part], indices[part]))
        self.indices.append(indices.to(self.device))
        self.rows.append(torch.cat([part.to(self.device, torch.float64) for part in rows]))

    @override
    @abc.abstractmethod
    def compute(self) -> Figures:
        """Returns the figures, by their names in `benchmarks.metrics.catalogue`."""

    @abc.abstractmethod
    def statistics(
        self, canvases: Canvases, indices: Int64[Tensor, " n"]
    ) -> Float[Tensor, "n columns"]:
        """Returns the row of every canvas: of each alone, whatever it was batched with."""

    def sorted_rows(self) -> Float64[Tensor, "samples columns"]:
        """Returns the rows of all canvases by ascending sample index.

        Raises:
            ValueError: If there are fewer than 2 canvases, or one was given twice.
        """
        # Lists before processes have exchanged them, tensors after.
        indices = dim_zero_cat(self.indices) if len(self.indices) else torch.empty(0)
        if len(indices) < 2:
            raise ValueError(f"an interval needs at least 2 canvases, got {len(indices)}.")
        ascending, order = indices.sort()
        repeated = ascending[1:][ascending.diff() == 0]
        if len(repeated):
            raise ValueError(
                f"every canvas must be given once, got sample index {repeated[0].item()} twice."
            )
        return dim_zero_cat(self.rows)[order]

    @override
    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        # torchmetrics looks for tensors inside what is computed, and refuses frozen dataclasses.
        wrapped = super()._wrap_compute(lambda: _Sealed(compute()))
        return lambda: wrapped().figures


def chunks(count: int, values: int, in_flight: int = IN_FLIGHT) -> list[slice]:
    """Returns slices of `count` canvases of so many values each that bound what is in flight.

    >>> chunks(5, 2**17)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    chunk = max(1, in_flight // max(1, values))
    return [slice(start, min(start + chunk, count)) for start in range(0, count, chunk)]


def validate_fit(canvases: Canvases, size: tuple[int, int]) -> None:
    """Checks that canvases have the height and width that the metric was made for.

    Raises:
        ValueError: If they have not.
    """
    height, width = canvases.shape[-2:]
    if (height, width) != size:
        raise ValueError(f"canvases must be {size[0]} x {size[1]} px, got {height} x {width}.")


class SumMetric(CanvasMetric):
    """Figures that are a function of the sums of all rows, so that resampling is one product.

    Attributes:
        distances: Those of every curve, by its name, in pixels.
    """

    signed: ClassVar[frozenset[str]] = frozenset()  # figures that may be negative

    def __init__(
        self,
        *,
        columns: int,
        seed: int,
        limit: int | None = None,
        distances: Mapping[str, list[int]] | None = None,
    ) -> None:
        super().__init__(columns=columns, seed=seed, limit=limit)
        self.distances = dict(distances or {})

    @abc.abstractmethod
    def formula(
        self, totals: Float64[Tensor, "sets columns"], count: int
    ) -> dict[str, Float64[Tensor, "sets ..."]]:
        """Returns every figure from the sum of the rows of `count` canvases, for many sets."""

    @override
    def compute(self) -> Figures:
        rows = self.sorted_rows()
        counts = bootstrap_counts(len(rows), seed=self.seed).to(rows.device)
        figures = self.formula(torch.cat([torch.ones_like(counts[:1]), counts]) @ rows, len(rows))
        return {name: self._summary(name, values.cpu()) for name, values in figures.items()}

    def _summary(self, name: str, values: Float64[Tensor, "sets ..."]) -> Estimate | Curve:
        """The first set is all canvases, the others are resamples of them."""
        lowest = -math.inf if name in self.signed else 0.0
        value, margin = values[0], margins(values[1:])
        if name not in self.distances:
            return estimate(value.item(), margin.item(), lowest=lowest)
        points = [
            estimate(*point, lowest=lowest)
            for point in zip(value.tolist(), margin.tolist(), strict=True)
        ]
        return Curve(
            self.distances[name],
            [point.value for point in points],
            [point.low for point in points],
            [point.high for point in points],
        )


class CropMetric(CanvasMetric):
    """Figures of the features of one random square crop of every canvas.

    All such metrics with the same network and seed have the very same state: in one
    `MetricCollection` with a compute group of them, features are computed once.

    Args:
        features: Makes them.
        reference: Features of real crops, of the same network.
        side: Of the squares, in pixels; None for the largest that fit.
        seed: Seeds the places of the crops and the resampling.

    Raises:
        ValueError: If the reference has other dimensions, fewer than 2 rows or is not finite.
    """

    in_flight = FOR_NETWORKS

    def __init__(
        self,
        features: FeatureNetwork,
        *,
        reference: Float[Tensor, "reference_samples dimensions"],
        side: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(columns=features.dimensions, seed=seed)
        if reference.shape[1] != features.dimensions:
            raise ValueError(
                f"a reference of {features.name} must have {features.dimensions} dimensions, got "
                f"{reference.shape[1]}."
            )
        if len(reference) < 2 or not reference.isfinite().all():
            raise ValueError(
                "a reference must be at least 2 rows of finite features, got "
                f"{len(reference)} rows, {int((~reference.isfinite()).sum())} values not finite."
            )
        self.features = features
        self.reference = reference
        self.side = side

    @override
    def statistics(
        self, canvases: Canvases, indices: Int64[Tensor, " n"]
    ) -> Float[Tensor, "n columns"]:
        return self.features(square_crops(canvases, indices, seed=self.seed, side=self.side))


class _Sealed:
    """Figures on their way out of torchmetrics."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
