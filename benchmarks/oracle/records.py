"""What a run of the oracle leaves behind, as JSON."""

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.records import write_json

__all__ = ["CaseRecord", "Evaluations", "OracleResults", "OracleRow"]


@dataclasses.dataclass(frozen=True)
class Evaluations:
    """What one canvas asks of the denoiser.

    Args:
        network_calls: Calls for one canvas alone.
        patch_evaluations: Windows evaluated, halves counted as windows of their own.
        pixels_per_pixel: Pixels evaluated for each pixel of the canvas.
        gradient_passes: Backward passes.
    """

    network_calls: int
    patch_evaluations: int
    pixels_per_pixel: float
    gradient_passes: int


@dataclasses.dataclass(frozen=True)
class OracleRow:
    """A strategy's figures on one field.

    Args:
        strategy: Short name, or dotted path.
        settings: Every setting of the strategy, its solver's included.
        exact: Whether the figures are exact, not estimated from samples.
        canvases: Unit vectors that were pushed through, or samples.
        w2: Relative squared 2-Wasserstein distance to the true field, per pixel.
        floor: The same for as many true samples; None where figures are exact.
        mean_error: Root mean square error of the mean, in standard deviations of the field.
        seam_correlation: Correlation of neighbours across window borders.
        border_variance: Variance next to window borders, over the field's.
        end_variance: Variance of the last column, over the field's.
        correlation: Correlation of two pixels of a row, by distance.
        evaluations: What one canvas asks of the denoiser.
        seconds: Time all this took.
    """

    strategy: str
    settings: dict[str, Any]
    exact: bool
    canvases: int
    w2: float
    floor: float | None
    mean_error: float
    seam_correlation: float | None
    border_variance: float | None
    end_variance: float
    correlation: list[float]
    evaluations: Evaluations
    seconds: float


@dataclasses.dataclass
class CaseRecord:
    """All strategies on one field.

    Args:
        name: What the field is called.
        field: Its settings.
        canvas: Height and width, in pixels.
        window: Height and width of the windows, in pixels.
        overlap: What neighbouring windows share, in pixels.
        neighbours: True correlation of neighbours.
        correlation: True correlation of two pixels of a row, by distance.
        rows: One for each finished strategy.
        failures: Why a strategy has no row, by its name.
    """

    name: str
    field: dict[str, Any]
    canvas: tuple[int, int]
    window: tuple[int, int]
    overlap: int
    neighbours: float
    correlation: list[float]
    rows: list[OracleRow] = dataclasses.field(default_factory=list)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class OracleResults:
    """A whole run.

    Args:
        created: When it was begun, ISO 8601, UTC.
        command: The command that makes it again.
        settings: Every setting, defaults included.
        environment: Device, threads, library versions, commit.
        cases: The fields.
    """

    created: str
    command: str
    settings: dict[str, Any]
    environment: dict[str, Any]
    cases: list[CaseRecord] = dataclasses.field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Writes `oracle.json`; a reader never sees half a file."""
        write_json(folder / "oracle.json", dataclasses.asdict(self))
