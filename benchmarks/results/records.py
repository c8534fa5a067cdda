"""What a run of the harness leaves behind: every figure with what made it, as JSON."""

import dataclasses
from typing import Any, ClassVar

from benchmarks.experiment.record import Record
from benchmarks.metrics.estimates import Curve, Estimate, Spread

__all__ = ["Cost", "Results", "Row"]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one canvas costs, in units that no machine changes and in this machine's.

    Args:
        nfe: Calls of the network for one canvas alone.
        patch_evaluations: Windows evaluated for it, halves counted as windows of their own.
        nfe_per_pixel: Pixels the network evaluated for each pixel of the canvas.
        backward_passes: Backward passes through the network.
        latency: Seconds for one canvas alone, after warm-up.
        seconds_per_canvas: Seconds a canvas in batches, over the whole run.
        network_share: Share of that time spent inside the network, in [0, 1].
        peak_memory_mib: Peak memory of the device, or of the process on a CPU, in MiB.
    """

    nfe: int
    patch_evaluations: int
    nfe_per_pixel: float
    backward_passes: int
    latency: Spread
    seconds_per_canvas: float
    network_share: float
    peak_memory_mib: float


@dataclasses.dataclass(frozen=True)
class Row:
    """One strategy's figures; the rows of real images and of plain patches have no cost.

    Args:
        strategy: Short name or dotted path, with `@` and a budget where it was given one; `real`
            for real images, `patches` for squares that the denoiser makes by itself.
        parallel: Whether all windows are denoised at once; None for real images and patches.
        edge_columns: Columns before which its windows begin or end, in pixels.
        settings: Every setting of the strategy, its solver's included.
        fingerprint: What the figures rest on, by name; `benchmarks.results.fingerprint` says
            which of it must be equal for two rows to be compared.
        figures: By their names in `benchmarks.metrics.catalogue`.
        real: The same figures of real long crops, measured at the same places.
        curves: Figures against distance, by their names in the same catalogue.
        real_curves: The same curves of real long crops.
        cost: What a canvas costs.
        canvases: Files of sample canvases, relative to the run's folder.
        budget: Pixels that the network may evaluate for each pixel of the canvas; None without.
    """

    strategy: str
    parallel: bool | None
    edge_columns: list[int]
    settings: dict[str, Any]
    fingerprint: dict[str, Any]
    figures: dict[str, Estimate]
    real: dict[str, Estimate]
    curves: dict[str, Curve]
    real_curves: dict[str, Curve]
    cost: Cost | None
    canvases: list[str]
    budget: float | None = None


@dataclasses.dataclass
class Results(Record):
    """A whole run.

    Args:
        denoiser: Weights file, hash, size, provenance; empty where canvases were not made here.
        data: The data's own description.
        features: Name, fingerprint, dimensions, resizer and dtype of the feature network.
        num_samples: Canvases of each strategy.
        num_reference: Real crops that they are compared with.
        canvas: Height and width, in pixels.
        drift_distance: Pixels over which colour drift is measured; None on canvases too short.
        real: Figures of other crops of the same held-out images: a floor that no strategy, which
            knows none of these images, can be expected to reach.
        patches: Squares that the denoiser makes by itself: what it is worth before any strategy.
        rows: One for each finished strategy.
        failures: Why a strategy has no row, by its name.
        seconds: Wall time of the run by what it was spent on, over all its interruptions.
    """

    FILE: ClassVar[str] = "results.json"
    AGREE: ClassVar[tuple[str, ...]] = (
        *("settings", "environment"),
        *("denoiser", "data", "features", "canvas"),
    )
    IGNORED: ClassVar[frozenset[str]] = Record.IGNORED | {
        *("batch_size", "devices", "num_nodes"),
        *("loggers", "latency", "repeats"),
    }

    denoiser: dict[str, Any]
    data: dict[str, Any]
    features: dict[str, Any]
    num_samples: int
    num_reference: int
    canvas: tuple[int, int]
    drift_distance: int | None
    real: Row | None = None
    patches: Row | None = None
    rows: list[Row] = dataclasses.field(default_factory=list)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def made_here(self) -> bool:
        """Whether the run made its canvases; an evaluation measures those of others."""
        return bool(self.denoiser)
