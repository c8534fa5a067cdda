"""What a run leaves behind: every figure with what made it, as JSON."""

import dataclasses
from typing import Any, ClassVar

from benchmarks.experiment.record import Record

__all__ = ["CompletionResults", "CompletionRow", "Figure"]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure and its standard error, over images."""

    value: float
    error: float


@dataclasses.dataclass(frozen=True)
class CompletionRow:
    """The figures of one way to complete photographs under one mask.

    Args:
        mask: Which pixels are given.
        name: What the row is called; `real` for the photographs themselves.
        settings: Every setting of the strategy, its solver's included; empty for photographs.
        steps: Solver steps; 0 for photographs.
        evaluations: Pixels evaluated for each pixel of the canvas.
        gradients: Pixels of backward passes for each pixel of the canvas.
        seconds: Seconds for each image, in batches.
        figures: By their names.
        pictures: Files of the first images, relative to the run's folder.
    """

    mask: str
    name: str
    settings: dict[str, Any]
    steps: int
    evaluations: float
    gradients: float
    seconds: float
    figures: dict[str, Figure]
    pictures: list[str]

    @property
    def key(self) -> tuple[str, str]:
        """What tells rows apart."""
        return self.mask, self.name

    @property
    def line(self) -> str:
        """Its figures on one line, for logs."""
        figures = [f"{name} {figure.value:.4g}" for name, figure in self.figures.items()]
        if self.steps:
            figures += [f"{self.steps} steps", f"{self.seconds:.3g} s an image"]
        return f"{self.mask} {self.name}: {', '.join(figures)}"


@dataclasses.dataclass
class CompletionResults(Record):
    """A whole run.

    Args:
        denoiser: Weights file, hash, size, provenance.
        data: The data's own description.
        features: Name, fingerprint, dimensions, resizer and dtype of the feature network.
        canvas: Height and width, in pixels.
        reference_sha256: Hash over the crops of the Frechet distance; None until it is known.
        rows: One for each finished way, in order.
        failures: Why there is no row, by mask and name.
    """

    FILE: ClassVar[str] = "completions.json"
    AGREE: ClassVar[tuple[str, ...]] = ("settings", "environment", "denoiser", "data", "features")

    denoiser: dict[str, Any]
    data: dict[str, Any]
    features: dict[str, Any]
    canvas: tuple[int, int]
    reference_sha256: str | None = None
    rows: list[CompletionRow] = dataclasses.field(default_factory=list)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)

    def row(self, mask: str, name: str) -> CompletionRow | None:
        """Returns a row, if it is there."""
        return next((row for row in self.rows if row.key == (mask, name)), None)
