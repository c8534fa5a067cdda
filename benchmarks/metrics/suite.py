"""The suite: every strategy's canvases against the same real images, at the same places."""

import dataclasses
import functools
import math
from typing import Any

import torch
from jaxtyping import Float64, UInt8
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from benchmarks.metrics.clip import ClipImages
from benchmarks.metrics.consistency import Consistency
from benchmarks.metrics.correlation import Autocorrelation
from benchmarks.metrics.drift import ColourDrift
from benchmarks.metrics.estimates import Curve, Estimate
from benchmarks.metrics.features import FeatureNetwork
from benchmarks.metrics.frechet import FrechetDistance
from benchmarks.metrics.kernel import KernelDistance
from benchmarks.metrics.layout import Layout, SkyAtTop, profile_of
from benchmarks.metrics.manifold import NEIGHBOURS, PrecisionRecall
from benchmarks.metrics.palette import PaletteDistance, palette_of
from benchmarks.metrics.reference import Reference
from benchmarks.metrics.repetition import Repetition
from benchmarks.metrics.seams import SeamRatio, WrapError
from datamodules.patches import PatchData
from strategies.canvas import Canvas, WindowEdges

__all__ = ["LONG_CROPS", "Figures", "MetricSuite", "drift_distance", "inside", "read_off"]

Canvases = UInt8[Tensor, "samples 3 height width"]
Metrics = dict[str, Metric | MetricCollection]
Palettes = Float64[Tensor, "seeds directions quantiles"]
Profiles = Float64[Tensor, "seeds channels rows"]
SeedImages = UInt8[Tensor, "seeds 3 seed_height seed_width"]
# Real canvases for seams and curves: their bootstrap standard errors are then 0.007 of a seam ratio
# of 1, and 4 to 5 % of the drift, on landscapes and on photographs.
LONG_CROPS = 256
NO_BORDERS = WindowEdges((), ())


@dataclasses.dataclass(frozen=True)
class Figures:
    """What a suite reads off: single figures, figures against distance, and what has no value."""

    single: dict[str, Estimate]
    curves: dict[str, Curve]
    undefined: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class MetricSuite:
    """Measures canvases of one size against real images.

    Args:
        features: The network behind FID+.
        reference: Its features of the real square crops; None leaves out what compares with them.
        canvas: What is measured.
        num_samples: How many canvases there will be.
        strip: Width of the strips whose colours are compared, in pixels.
        seed: Seeds the places of the crops and the resampling.
        long_crops: Real crops of the canvas's size; None where no image is large enough.
        why_no_long_crops: The reason, in that case.
        clip: Embeds squares, for their consistency; None leaves it out.
        seeds: The images that samples were conditioned on, of any size, image k for sample k; None
            leaves out what compares canvases with them.
        side: Of the squares that are compared, in pixels; None for the largest that fit.
        only: Which metrics are wanted, by their keys in `metrics`; None for all that can be had.

    Raises:
        ValueError: If there is not one seed image a sample.
    """

    features: FeatureNetwork
    reference: Reference | None
    canvas: Canvas
    num_samples: int
    strip: int
    seed: int
    long_crops: Canvases | None
    why_no_long_crops: str | None
    clip: ClipImages | None = None
    seeds: SeedImages | None = None
    side: int | None = None
    only: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.seeds is not None and len(self.seeds) != self.num_samples:
            raise ValueError(
                f"there must be one seed image for each of {self.num_samples} samples, got "
                f"{len(self.seeds)}."
            )

    @classmethod
    def of(
        cls,
        data: PatchData | None,
        features: FeatureNetwork,
        reference: Reference | None,
        canvas: Canvas,
        *,
        num_samples: int,
        strip: int,
        seed: int,
        clip: ClipImages | None = None,
        seeds: SeedImages | None = None,
    ) -> "MetricSuite":
        """Takes real long crops from the data's `test` split, behind those of the reference."""
        long_crops, why = None, "there is no data (data=none)" if data is None else None
        if data is not None and reference is not None:
            first, size = len(reference.features), (canvas.height, canvas.width)
            try:
                long_crops = data.crops("test", LONG_CROPS, *size, first=first)
            except ValueError as error:
                why = str(error)
        return cls(
            features, reference, canvas, num_samples, strip, seed, long_crops, why, clip, seeds
        )

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What figures rest on, whoever made the canvases."""
        features, canvas = self.features.description, self.canvas
        return {
            "features": features["name"],
            "features_sha256": features["fingerprint"],
            "features_dtype": features["dtype"],
            "resizer": features["resizer"],
            "clip": None if self.clip is None else self.clip.settings,
            "clip_sha256": None if self.clip is None else self.clip.fingerprint,
            "num_samples": self.num_samples,
            "reference_sha256": None if self.reference is None else self.reference.sha256,
            "crop_seed": self.seed,
            "strip": self.strip,
            "canvas": f"{canvas.height} x {canvas.width} px",
            "wraps": f"height: {canvas.wrap_height}, width: {canvas.wrap_width}",
        } | ({} if self.side is None else {"crop_side": self.side})

    def crop_metrics(self) -> MetricCollection:
        """Returns the figures of one square a canvas, which share its features."""
        return MetricCollection(self._of_crops(), compute_groups=[list(self._of_crops())])

    def metrics(self, edges: WindowEdges = NO_BORDERS, *, starts_at: int = 0) -> MetricCollection:
        """Returns all figures of canvases whose windows meet at `edges`.

        Args:
            edges: Where seams would be.
            starts_at: Column where the strategy began.
        """
        of_crops = self._of_crops()
        others = self._of_canvases(edges, starts_at) | self._beside_seeds()
        groups = [*([list(of_crops)] if of_crops else []), *([name] for name in others)]
        return MetricCollection(of_crops | others, compute_groups=groups)

    def real(self, edges: WindowEdges, *, starts_at: int) -> Figures:
        """Measures real long crops at the same places; nothing, where there are none.

        They have no seed images, and so none of the figures that need one.
        """
        if self.long_crops is None:
            return Figures({}, {})
        metrics = MetricCollection(self._of_canvases(edges, starts_at), compute_groups=False)
        for metric in metrics.values():
            metric.distributed_available_fn = alone
        metrics.update(self.long_crops, torch.arange(len(self.long_crops)))
        return read_off(metrics)

    def _of_crops(self) -> Metrics:
        if self.reference is None:
            return {}
        of_reference: dict[str, Any] = {
            "reference": self.reference.features,
            "side": self.side,
            "seed": self.seed,
        }
        metrics: Metrics = {
            "frechet": FrechetDistance(self.features, **of_reference),
            "kernel": KernelDistance(self.features, **of_reference),
        }
        # Also without one canvas, which the interval leaves out, there must be enough neighbours.
        if min(self.num_samples - 1, len(self.reference.features)) > NEIGHBOURS:
            metrics["manifold"] = PrecisionRecall(self.features, **of_reference)
        return self._wanted(metrics)

    def _of_canvases(self, edges: WindowEdges, starts_at: int) -> Metrics:
        """Returns the figures that need no reference, those that the canvas has room for."""
        height, width, seed = self.canvas.height, self.canvas.width, self.seed
        size = {"height": height, "width": width}
        metrics: Metrics = {
            "drift": ColourDrift(
                **size,
                strip=self.strip,
                distance=drift_distance(width, self.strip),
                start=starts_at,
                seed=seed,
            )
        }
        if inside(edges, self.canvas):
            metrics["seams"] = SeamRatio(**size, edges=edges, seed=seed)
        if self.canvas.wrap_height or self.canvas.wrap_width:
            metrics["wrap"] = WrapError(
                **size,
                wrap_height=self.canvas.wrap_height,
                wrap_width=self.canvas.wrap_width,
                edges=edges,
                seed=seed,
            )
        if width > self.strip:
            metrics["correlation"] = Autocorrelation(
                **size, longest=width - self.strip, real=self._real_autocorrelation, seed=seed
            )
        side = self.side or min(height, width)
        if (height // side) * (width // side) >= 2:
            metrics["repetition"] = Repetition(self.features, **size, side=side, seed=seed)
            if self.clip is not None:
                metrics["consistency"] = Consistency(self.clip, side=side, seed=seed)
        if self.seeds is not None:
            metrics["sky"] = SkyAtTop(seed=seed)
        return self._wanted(metrics)

    def _wanted(self, metrics: Metrics) -> Metrics:
        return {name: metric for name, metric in metrics.items() if self._wants(name)}

    def _wants(self, name: str) -> bool:
        return self.only is None or name in self.only

    def _beside_seeds(self) -> Metrics:
        """Returns the figures that compare sample k with seed image k; none without such images."""
        if self._of_seeds is None:
            return {}
        palettes, profiles = self._of_seeds
        return {
            "palette": PaletteDistance(palettes=palettes, seed=self.seed),
            "layout": Layout(profiles=profiles, seed=self.seed),
        }

    @functools.cached_property
    def _of_seeds(self) -> tuple[Palettes, Profiles] | None:
        return None if self.seeds is None else (palette_of(self.seeds), profile_of(self.seeds))

    @functools.cached_property
    def _real_autocorrelation(self) -> Curve | None:
        """Of the real long crops, on every process alike."""
        width = self.canvas.width
        if self.long_crops is None or width <= self.strip or not self._wants("correlation"):
            return None
        metric = Autocorrelation(
            height=self.canvas.height, width=width, longest=width - self.strip, seed=self.seed
        )
        metric.distributed_available_fn = alone
        metric.update(self.long_crops, torch.arange(len(self.long_crops)))
        curve = metric.compute()["autocorrelation"]
        assert isinstance(curve, Curve)
        return curve


def alone() -> bool:
    """Keeps a metric from asking other processes: each has measured all canvases itself."""
    return False


def inside(edges: WindowEdges, canvas: Canvas) -> bool:
    """Whether any border lies on the canvas, which one of a larger plan need not."""
    return any(0 < column < canvas.width for column in edges.columns) or any(
        0 < row < canvas.height for row in edges.rows
    )


def read_off(metrics: MetricCollection) -> Figures:
    """Computes all figures, over all processes.

    Those that are not finite are named as undefined: steps at edges over steps elsewhere where
    there are none elsewhere, or an interval that needs more canvases.
    """
    everything = metrics.compute()
    computed = {name: one for name, one in everything.items() if _finite(one)}
    return Figures(
        {name: one for name, one in computed.items() if isinstance(one, Estimate)},
        {name: one for name, one in computed.items() if isinstance(one, Curve)},
        tuple(name for name in everything if name not in computed),
    )


def _finite(figure: Estimate | Curve) -> bool:
    if isinstance(figure, Estimate):
        return all(map(math.isfinite, (figure.value, figure.low, figure.high)))
    return all(map(math.isfinite, (*figure.values, *figure.low, *figure.high)))


def drift_distance(width: int, strip: int) -> int | None:
    """Returns the pixels over which drift is measured: four strips, or None if they do not fit.

    >>> drift_distance(192, strip=32), drift_distance(128, strip=32)
    (128, None)
    """
    return 4 * strip if width >= 5 * strip else None
