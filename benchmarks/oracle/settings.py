"""Every setting of the oracle, with its unit and its default."""

import dataclasses
from collections import Counter

from benchmarks.experiment.settings import StrategySettings
from denoisers.gaussian import Covariance, GaussianField
from patchcanvas.cli.keys import chosen
from patchcanvas.cli.settings import SolverSettings, validate_minimum
from sampling.solvers import Heun, Solver
from strategies.canvas import Canvas

__all__ = ["DEFAULT_SOLVER", "Case", "Line", "OracleSettings", "Plane"]

DEFAULT_SOLVER = Heun(num_steps=80)
FIELDS = ("line", "plane")


@dataclasses.dataclass(frozen=True)
class Case:
    """One field, and how it is to be tiled.

    Args:
        name: What it is called in tables and files.
        field: The field.
        canvas: Size of the canvases.
        window: Height and width of the windows, in pixels.
        overlap: What neighbouring windows share, in pixels.
    """

    name: str
    field: GaussianField
    canvas: Canvas
    window: tuple[int, int]
    overlap: int


def _several(length: float | tuple[float, ...]) -> tuple[float, ...]:
    return length if isinstance(length, tuple) else (length,)


def _validate_windows(name: str, window: int, overlap: int, **sides: int) -> None:
    """Refuses windows that do not fit a canvas, or overlap by more than half."""
    for side, length in sides.items():
        if not 2 <= window <= length:
            raise ValueError(
                f"{name}.window must be in [2, {name}.{side}], got {window} for {side}={length}."
            )
    if not 0 < overlap <= window // 2:
        raise ValueError(
            f"{name}.overlap must be in (0, {name}.window / 2], got {overlap} for window={window}."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A one-dimensional field: canvases one pixel high, which may close to a loop.

    Args:
        width: Pixels of a canvas.
        window: Pixels of a window.
        overlap: Pixels that neighbouring windows share.
        covariance: Family of the field's covariance.
        length: Its correlation length, in pixels, or several, with a field for each.
        wrap_width: Whether the right edge continues at the left, in the field as on the canvas: a
            loop. Windows must close it.
    """

    width: int = 96
    window: int = 16
    overlap: int = 8
    covariance: Covariance = "exponential"
    length: float | tuple[float, ...] = (4.0, 16.0)
    wrap_width: bool = False

    def __post_init__(self) -> None:
        _validate_windows("line", self.window, self.overlap, width=self.width)

    def cases(self, mean: float, variance: float) -> list[Case]:
        """Returns one case for each length."""
        return [
            Case(
                name=f"{'loop' if self.wrap_width else 'line'}, {self.covariance}, "
                f"length {length:g}",
                field=GaussianField(
                    rows="independent",
                    columns=self.covariance,
                    columns_length=length,
                    columns_loop=self.width if self.wrap_width else None,
                    mean=mean,
                    variance=variance,
                ),
                canvas=Canvas(height=1, width=self.width, channels=1, wrap_width=self.wrap_width),
                window=(1, self.window),
                overlap=self.overlap,
            )
            for length in _several(self.length)
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plane:
    """A two-dimensional field whose covariance is the product of those along its axes.

    Args:
        height: Pixels of a canvas from top to bottom.
        width: Pixels of a canvas from left to right.
        window: Side of a window, in pixels.
        overlap: Pixels that neighbouring windows share.
        covariance: Family of the field's covariance along either axis.
        length: Its correlation length, in pixels, or several, with a field for each.
        wrap_height: Whether the bottom continues at the top, in the field as on the canvas.
        wrap_width: Whether the right edge continues at the left; with both it is a torus.
    """

    height: int = 20
    width: int = 20
    window: int = 8
    overlap: int = 4
    covariance: Covariance = "exponential"
    length: float | tuple[float, ...] = 2.0
    wrap_height: bool = False
    wrap_width: bool = False

    def __post_init__(self) -> None:
        _validate_windows("plane", self.window, self.overlap, height=self.height, width=self.width)

    def cases(self, mean: float, variance: float) -> list[Case]:
        """Returns one case for each length."""
        return [
            Case(
                name=f"{self._shape}, {self.covariance}, length {length:g}",
                field=GaussianField(
                    rows=self.covariance,
                    columns=self.covariance,
                    rows_length=length,
                    columns_length=length,
                    rows_loop=self.height if self.wrap_height else None,
                    columns_loop=self.width if self.wrap_width else None,
                    mean=mean,
                    variance=variance,
                ),
                canvas=Canvas(
                    height=self.height,
                    width=self.width,
                    channels=1,
                    wrap_height=self.wrap_height,
                    wrap_width=self.wrap_width,
                ),
                window=(self.window, self.window),
                overlap=self.overlap,
            )
            for length in _several(self.length)
        ]

    @property
    def _shape(self) -> str:
        """What the canvas is called."""
        wraps = (self.wrap_height, self.wrap_width)
        names = ("plane", "plane that wraps across", "plane that wraps down", "torus")
        return names[2 * wraps[0] + wraps[1]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OracleSettings(SolverSettings, StrategySettings):
    """Every strategy against a field whose answer is known.

    Args:
        fields: `line`, `plane`, or both with a comma between.
        line: The one-dimensional fields.
        plane: The two-dimensional fields.
        mean: Mean of every pixel.
        variance: Variance of every pixel.
        sequential_steps: Steps of the strategies that fill one window after another; null for
            those of the solver.
        true_start: Whether these strategies are given a true sample of the window in the middle,
            so that what is measured is how they go on from there.
        num_samples: Canvases of a strategy whose exact answer cannot be had, since it is not affine
            in its noise, or since that takes too much; and most unit vectors.
        batch_size: Canvases made at a time. Other sizes make other samples.
    """

    fields: str = "line,plane"
    line: Line = Line()
    plane: Plane = Plane()
    mean: float = 0.0
    variance: float = 1.0
    solver: Solver = DEFAULT_SOLVER
    sequential_steps: int | None = 40
    true_start: bool = True
    num_samples: int = 10000
    batch_size: int = 1000
    name: str = "oracle"

    def __post_init__(self) -> None:
        chosen("fields", self.fields, FIELDS)
        validate_minimum(self, ("num_samples", 2), ("batch_size", 1), ("sequential_steps", 2))
        self.cases()

    def cases(self) -> list[Case]:
        """Returns every field that is asked for.

        Raises:
            ValueError: If there is none, or one twice, or one that cannot be.
        """
        cases = []
        for name in FIELDS:
            if name in self.fields.split(","):
                found = getattr(self, name).cases(self.mean, self.variance)
                if not found:
                    raise ValueError(f"{name}.length must have at least one length, got none.")
                cases += found
        twice = [name for name, count in Counter(case.name for case in cases).items() if count > 1]
        if twice:
            raise ValueError(f"lengths must differ, got this field twice: {twice[0]}.")
        return cases
