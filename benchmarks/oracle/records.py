"""What a run of the oracle leaves behind: every figure with what made it, as JSON."""

import dataclasses
from typing import Any, ClassVar

from benchmarks.experiment.record import Record
from benchmarks.oracle.probe import Method

__all__ = ["CaseRecord", "Evaluations", "OracleResults", "OracleRow", "Place", "Sampling"]


@dataclasses.dataclass(frozen=True)
class Evaluations:
    """What one canvas asks of the denoiser.

    Args:
        nfe: Calls for one canvas alone.
        patch_evaluations: Windows evaluated, halves counted as windows of their own.
        nfe_per_pixel: Pixels evaluated for each pixel of the canvas.
        backward_passes: Backward passes.
    """

    nfe: int
    patch_evaluations: int
    nfe_per_pixel: float
    backward_passes: int


@dataclasses.dataclass(frozen=True)
class Place:
    """A rectangle of the canvas, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class Sampling:
    """What is to be known of figures that were estimated from samples.

    Args:
        w2: The W2^2 of the samples themselves, as it is without any correction.
        floor: That of as many samples of the true field.
        standard_errors: One for each figure, by its name.
    """

    w2: float
    floor: float
    standard_errors: dict[str, float]


@dataclasses.dataclass(frozen=True)
class OracleRow:
    """A strategy's figures on one field.

    Args:
        strategy: Short name, or dotted path.
        settings: Every setting of the strategy, its solver's included.
        steps: Steps down the schedule of levels.
        true_start: Where it was given a true sample to go on from; None if nowhere.
        edge_rows: Rows above which its windows meet; 0 where a loop closes.
        edge_columns: Columns before which its windows meet; 0 where a loop closes.
        method: How canvases were probed: `unit vectors` and `gradient` are exact, `samples` not.
        canvases: Unit vectors, or pixels whose gradient was taken, or samples.
        numbers: Random numbers that one canvas draws.
        nonlinearity: How far canvases are from affine in these, over their own size.
        w2: Relative squared 2-Wasserstein distance to the true field, per pixel. From samples it is
            corrected for their number, by the jackknife, and so are the other figures.
        mean_w2: What the error of the mean would add to that: its square over the field's variance.
        seam_correlation: Correlation of neighbours across window edges.
        edge_variance: Variance next to window edges, over the field's.
        end_variance: Variance of the last column, over the field's; None on a loop.
        correlation: Correlation of two pixels of a row, by distance.
        sampling: What samples add to that; None where figures are exact.
        evaluations: What one canvas asks of the denoiser.
        seconds: Time all this took.
    """

    strategy: str
    settings: dict[str, Any]
    steps: int
    true_start: Place | None
    edge_rows: list[int]
    edge_columns: list[int]
    method: Method
    canvases: int
    numbers: int
    nonlinearity: float
    w2: float
    mean_w2: float
    seam_correlation: float | None
    edge_variance: float | None
    end_variance: float | None
    correlation: list[float]
    sampling: Sampling | None
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
        neighbours: True correlation of neighbours along a row.
        correlation: True correlation of two pixels of a row, by distance.
        wraps: Whether the bottom continues at the top, and the right edge at the left.
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
    wraps: tuple[bool, bool] = (False, False)
    rows: list[OracleRow] = dataclasses.field(default_factory=list)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class OracleResults(Record):
    """A whole run.

    Args:
        cases: The fields.
    """

    FILE: ClassVar[str] = "oracle.json"

    cases: list[CaseRecord]
