"""What joining windows leaves on a canvas: steps at their edges, and where a loop closes."""

import dataclasses

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from typing_extensions import override

from benchmarks.metrics.state import Canvases, SumMetric, validate_fit
from strategies.canvas import WindowEdges

__all__ = ["SeamRatio", "WrapError"]


class StepRatio(SumMetric):
    """How much larger the step between neighbours is at marked places than at others.

    With `d_c = mean |x[c] - x[c - 1]|` over canvases, channels and rows, and likewise along
    columns,

        ratio = (sum of d over marked places) / (sum over marked places of the mean d at others),

    where a place is compared with its own axis only; each axis counts in proportion to its
    marked places. Where neighbours differ nowhere it is 1; where they differ at marked places only
    it is infinite.

    Args:
        name: The figure's name.
        axes: Those with marked places, at least one.
        size: Height and width of the canvases, in pixels.
        seed: Seeds the resampling.
    """

    def __init__(
        self, name: str, *, axes: tuple["_Axis", ...], size: tuple[int, int], seed: int
    ) -> None:
        super().__init__(columns=2 * len(axes), seed=seed)
        self.name = name
        self.axes = axes
        self.size = size

    @override
    def statistics(self, canvases: Canvases, indices: Int64[Tensor, " n"]) -> Tensor:
        validate_fit(canvases, self.size)
        return torch.cat([axis.step_sums(canvases) for axis in self.axes], dim=1)

    @override
    def formula(
        self, totals: Float64[Tensor, "sets columns"], count: int
    ) -> dict[str, Float64[Tensor, " sets"]]:
        return {self.name: _ratio(totals, self.axes, self.size)}


class SeamRatio(StepRatio):
    """`seam_ratio`: steps across window edges over steps elsewhere.

    Without unit: 1 means that edges cannot be told from the rest, 2 that steps across them are
    twice as large. Below 1 the edges are blurred.

    Args:
        edges: Border c lies between columns c - 1 and c, and likewise for rows. WindowEdges outside
            the canvas, which a plan larger than the canvas has, are left out, and so are
            repetitions.
        height: Of the canvases, in pixels.
        width: Of the canvases, in pixels.
        seed: Seeds the resampling.

    Raises:
        ValueError: If no border lies inside, or an axis with edges has nothing but edges.
    """

    def __init__(self, *, edges: WindowEdges, height: int, width: int, seed: int = 0) -> None:
        axes = _bordered_axes(list(edges.columns), list(edges.rows), height, width)
        super().__init__("seam_ratio", axes=axes, size=(height, width), seed=seed)


class WrapError(StepRatio):
    """`wrap_error`: the step across the line where a loop closes over the step elsewhere.

    Elsewhere is inside the canvas and off the edges of windows. A closing line at which nothing
    can be seen has 1; a canvas that does not close has far more.

    Args:
        wrap_height: Whether the bottom edge continues at the top.
        wrap_width: Whether the right edge continues at the left.
        edges: Where windows begin or end.
        height: Of the canvases, in pixels.
        width: Of the canvases, in pixels.
        seed: Seeds the resampling.

    Raises:
        ValueError: If no axis wraps, or one has no step off the edges.
    """

    def __init__(
        self,
        *,
        wrap_height: bool,
        wrap_width: bool,
        edges: WindowEdges,
        height: int,
        width: int,
        seed: int = 0,
    ) -> None:
        if not (wrap_height or wrap_width):
            raise ValueError("a canvas must wrap along an axis to close, got one that does not.")
        axes = [
            _Axis.of(axis, length, marked=[0], left_out=edges_of)
            for wraps, axis, length, edges_of in (
                (wrap_width, 3, width, edges.columns),
                (wrap_height, 2, height, edges.rows),
            )
            if wraps
        ]
        super().__init__("wrap_error", axes=tuple(axes), size=(height, width), seed=seed)


@dataclasses.dataclass(frozen=True)
class _Axis:
    """Places along an axis; step c is that from c - 1 to c, and step 0 closes the circle.

    Attributes:
        axis: Of a batch of canvases: 2 goes down, 3 across.
        marked: Steps that are compared.
        others: Steps that they are compared with.
    """

    axis: int
    marked: tuple[int, ...]
    others: tuple[int, ...]

    @classmethod
    def of(
        cls, axis: int, length: int, *, marked: list[int], left_out: tuple[int, ...] = ()
    ) -> "_Axis":
        others = sorted(set(range(1, length)) - set(marked) - set(left_out))
        if not others:
            raise ValueError(
                f"a canvas of {length} px must have a step that is no border, got "
                f"{sorted({*marked, *left_out})}."
            )
        return cls(axis, tuple(marked), tuple(others))

    def step_sums(self, canvases: Canvases) -> Float64[Tensor, "n 2"]:
        """Returns the sums of absolute steps at marked and at other places, in levels: exact."""
        x = canvases.to(torch.int16)
        steps = (x - x.roll(1, self.axis)).abs_().sum((1, 5 - self.axis), dtype=torch.int64)
        sums = [steps[:, list(places)].sum(1) for places in (self.marked, self.others)]
        return torch.stack(sums, dim=1).double()


def _bordered_axes(
    columns: list[int], rows: list[int], height: int, width: int
) -> tuple[_Axis, ...]:
    axes = []
    for edges, length, axis in ((columns, width, 3), (rows, height, 2)):
        inside = sorted({border for border in edges if 0 < border < length})
        axes += [_Axis.of(axis, length, marked=inside)] if inside else []
    if not axes:
        raise ValueError(
            f"a border must lie inside the canvas of {height} x {width} px, got "
            f"columns={columns}, rows={rows}."
        )
    return tuple(axes)


def _ratio(
    totals: Float64[Tensor, "sets columns"], axes: tuple[_Axis, ...], size: tuple[int, int]
) -> Float64[Tensor, " sets"]:
    """The number of canvases and channels cancels out, that of pixels in a line does not."""
    at_marked, expected = torch.zeros_like(totals[:, 0]), torch.zeros_like(totals[:, 0])
    for axis, sums in zip(axes, totals.split(2, dim=1), strict=True):
        marked, others = sums.mT
        line = size[3 - axis.axis]
        at_marked += marked / line
        expected += len(axis.marked) * others / (line * len(axis.others))
    return torch.where(at_marked + expected == 0, 1.0, at_marked / expected)
