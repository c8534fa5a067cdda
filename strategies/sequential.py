"""What the sequential strategies share: one window is filled after another.

A sequential strategy is an order of windows, which is here, and a rule to fill one window given
the pixels of it that are known, which is the strategy's own.
"""

import abc
import dataclasses
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from typing_extensions import override

from denoisers.contract import Denoiser, Image, Mask, PatchDenoiser
from sampling.noise import CanvasNoise, WindowNoise
from sampling.solvers import SingleStepSolver
from strategies.base import Strategy
from strategies.batching import limited
from strategies.canvas import Canvas, Known, WindowEdges
from strategies.conditioning import conditioned
from strategies.context import Place, WindowContext, conditions_at
from strategies.order import Axis, Filling, fillings, lattice

__all__ = ["Order", "Outpainting", "SequentialStrategy"]

Order = Literal["wavefront", "raster"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequentialStrategy(Strategy):
    """One window after another, each given what the windows before it have painted.

    Growth starts where most pixels are given: at a user's photograph, say. Where nothing is given
    it starts in the middle or at the top left corner. Samples that are given different pixels grow
    apart, in network calls of their own.

    The settings that it shares with others are those of `Strategy`.

    Args:
        order: `raster` fills one window after another, row by row; `wavefront` fills windows that
            know nothing of each other in one batch. The images are the same.
    """

    order: Order = "wavefront"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in get_args(Order):
            raise ValueError(
                f"order must be one of {', '.join(get_args(Order))}, got {self.order!r}."
            )

    @property
    @abc.abstractmethod
    def from_the_middle(self) -> bool:
        """Whether growth from nothing starts in the middle, not at the top left corner."""

    @abc.abstractmethod
    def fill(self, denoiser: Denoiser, known: Known, noise: WindowNoise) -> Image:
        """Returns windows that go with their known pixels; those need not come back exactly.

        Args:
            denoiser: Denoises a batch of windows, whatever its size; needs no context.
            known: One window for each sample and each place that is filled at this turn. Where
                nothing is known the mask is False everywhere.
            noise: Draws noise for this batch.
        """

    @override
    @torch.no_grad()
    def generate(
        self,
        denoiser: PatchDenoiser,
        canvas: Canvas,
        noise: CanvasNoise,
        *,
        known: Known | None = None,
        context: Any = None,
    ) -> Image:
        self.validate_fit(denoiser, canvas, noise, known)
        axes = self.axes(denoiser, canvas)
        if known is None or len(known.mask) == 1:
            return self._painted(denoiser, canvas, axes, noise, known, context)
        # A plan for every mask: what a sample becomes must not depend on what others are given.
        groups, parts = alike(known.mask), []
        for group in groups:
            same = Known(known.y[group], known.mask[group])
            own = None if context is None else context[group]
            chosen = Chosen(noise, group.tolist())
            parts.append(self._painted(denoiser, canvas, axes, chosen, same, own))
        return torch.cat(parts)[torch.cat(groups).argsort()]

    def _painted(
        self,
        denoiser: PatchDenoiser,
        canvas: Canvas,
        axes: tuple[Axis, Axis],
        noise: CanvasNoise,
        known: Known | None,
        context: Any,
    ) -> Image:
        """Returns canvases of which the same pixels are given, hence of one plan."""
        painting = Painting(canvas.channels, *axes, noise, known)
        asked = limited(denoiser, self.max_batch)
        plan = self.plan(*axes, canvas, painting.given)
        if isinstance(context, WindowContext):
            # A window sees all of the turns before its own, which a raster row by row has not made.
            plan.sort(key=attrgetter("turn"))
        for turn in self.turns(plan):
            windows = WindowNoise(noise, [f"window {filling.number}" for filling in turn])
            cut = painting.cut(turn)
            seen = painting.seen(before=turn[0].turn)
            conditions = conditions_at(
                context, [place_of(one) for one in turn], canvas, seen, cut.mask
            )
            painting.paint(turn, self.fill(conditioned(asked, conditions), cut, windows))
        return painting.image[..., : canvas.height, : canvas.width]

    def axes(self, denoiser: PatchDenoiser, canvas: Canvas) -> tuple[Axis, Axis]:
        """Returns the windows down and along the canvas.

        Raises:
            ValueError: If the canvas is smaller than a window, or is a loop that cannot close.
        """
        rows, columns = self.tilings(denoiser, canvas)
        return lattice(rows), lattice(columns)

    def plan(
        self, rows: Axis, columns: Axis, canvas: Canvas, given: Bool[Tensor, "height width"]
    ) -> list[Filling]:
        """Returns the windows to fill, in order; those without a pixel to make are left out."""
        first = first_window(rows, columns, given, from_the_middle=self.from_the_middle)
        size = canvas.height, canvas.width
        both_ways = self.from_the_middle
        return fillings(rows, columns, first, both_ways=both_ways, given=given, size=size)

    @override
    def starts_at(self, denoiser: PatchDenoiser, canvas: Canvas) -> int:
        rows, columns = self.axes(denoiser, canvas)
        nothing = torch.zeros(rows.length, columns.length, dtype=torch.bool)
        first = first_window(rows, columns, nothing, from_the_middle=self.from_the_middle)
        return columns.begins[first[1]]

    def turns(self, plan: list[Filling]) -> Iterator[list[Filling]]:
        """Yields the windows that are filled together."""
        if self.order == "raster":
            yield from ([filling] for filling in plan)
            return
        by_turn = attrgetter("turn")
        for _, turn in groupby(sorted(plan, key=by_turn), key=by_turn):
            yield list(turn)

    @override
    def window_edges(self, denoiser: PatchDenoiser, canvas: Canvas) -> WindowEdges:
        """Returns where pixels of different windows meet, as painted from nothing."""
        rows, columns = self.axes(denoiser, canvas)
        painter = torch.zeros(rows.length, columns.length, dtype=torch.int64)
        nothing = torch.zeros_like(painter, dtype=torch.bool)
        for number, filling in enumerate(self.plan(rows, columns, canvas, nothing)):
            place = (filling.rows[:, None], filling.columns)
            painter[place] = painter[place].where(filling.known, number)
        # All lie on the canvas: no window stands beyond it.
        return WindowEdges(_changes(painter.mT), _changes(painter))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outpainting(SequentialStrategy):
    """The middle window first, then overlapping windows outwards, along both axes.

    The settings that it shares with others are those of `SequentialStrategy`.

    Args:
        overlap: What a window knows of its neighbour, in pixels: at most half a window; None for
            half a window.
    """

    overlap: int | None = None

    @property
    @override
    def from_the_middle(self) -> bool:
        return True

    @override
    def overlap_of(self, denoiser: PatchDenoiser, window: int) -> int:
        overlap = window // 2 if self.overlap is None else self.overlap
        if not 0 < overlap <= window // 2:
            raise ValueError(
                f"overlap must be in (0, window / 2], got {overlap} for window={window}."
            )
        return overlap


class Chosen(CanvasNoise):
    """The noise of some of the samples.

    Args:
        noise: That of all samples.
        places: Which of them, counted from 0 in this batch.
    """

    def __init__(self, noise: CanvasNoise, places: list[int]) -> None:
        indices = [noise.indices[place] for place in places]
        super().__init__(noise.seed, indices, device=noise.device, dtype=noise.dtype)
        self.noise, self.places = noise, places

    @override
    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        return self.noise.draw(purpose, step, shape)[self.places]


class Painting:
    """Canvases as they are painted, and which of their pixels are given.

    Args:
        channels: Channels of the image.
        rows: The windows from top to bottom.
        columns: The windows from left to right.
        noise: Says how many samples there are, where, and in which precision.
        known: The pixels that are given, on the canvas that was asked for; the same ones for all
            samples, if not of the same values.
    """

    def __init__(
        self, channels: int, rows: Axis, columns: Axis, noise: CanvasNoise, known: Known | None
    ) -> None:
        size = rows.length, columns.length
        shape = len(noise), channels, *size
        self.image = torch.zeros(shape, dtype=noise.dtype, device=noise.device)
        self.mask = torch.zeros(1, 1, *size, dtype=torch.bool, device=noise.device)
        if known is not None:
            padded = known.padded(*size)
            self.image, self.mask = padded.pasted(self.image), padded.mask
        # The turn at which a pixel is painted; after all of them where it is not.
        self.turns = torch.full(size, torch.iinfo(torch.int64).max, device=noise.device)

    @property
    def given(self) -> Bool[Tensor, "height width"]:
        """Where all channels are given, on the CPU, where windows are planned."""
        return self.mask[0].all(0).cpu()

    def cut(self, turn: list[Filling]) -> Known:
        """Returns the windows of a turn and what is known of them: all samples of each in turn."""
        windows, masks = [], []
        for filling in turn:
            place = (..., filling.rows[:, None], filling.columns)
            windows.append(self.image[place])
            mask = self.mask[place] | filling.known.to(self.mask.device)
            masks.append(mask.expand(len(self.image), *mask.shape[1:]))
        return Known(torch.cat(windows), torch.cat(masks))

    def seen(self, *, before: int) -> Known:
        """Returns what is given or was painted in the turns before, one row a sample."""
        mask = self.mask | (self.turns < before)
        return Known(self.image, mask.expand(len(self.image), *mask.shape[1:]))

    def paint(self, turn: list[Filling], windows: Image) -> None:
        """Puts the windows of a turn in place, but for the pixels that were there."""
        for filling, window in zip(turn, windows.chunk(len(turn)), strict=True):
            place = (..., filling.rows[:, None], filling.columns)
            there = self.mask[place] | filling.known.to(self.mask.device)
            self.image[place] = self.image[place].where(there, window)
            known = filling.known.to(self.turns.device)
            self.turns[place] = self.turns[place].where(known, filling.turn)


def first_window(
    rows: Axis,
    columns: Axis,
    given: Bool[Tensor, "height width"],
    *,
    from_the_middle: bool,
) -> tuple[int, int]:
    """Returns the lattice place that most is given of; of equal ones the nearest to the start."""
    aims = [axis.middle if from_the_middle else 0 for axis in (rows, columns)]

    def rank(place: tuple[int, int]) -> tuple[float, float]:
        begins = rows.begins[place[0]], columns.begins[place[1]]
        covered = rows.covered(begins[0])[:, None], columns.covered(begins[1])
        distance = sum(abs(begin - aim) for begin, aim in zip(begins, aims, strict=True))
        return -float(given[covered].sum()), float(distance)

    places = [(i, j) for i in range(len(rows.begins)) for j in range(len(columns.begins))]
    return min(places, key=rank)


def alike(mask: Mask) -> list[Int64[Tensor, " group"]]:
    """Returns the places of the samples, those together that are given the same pixels."""
    masks, kinds = mask.all(1).unique(dim=0, return_inverse=True)
    return [(kinds == kind).nonzero()[:, 0] for kind in range(len(masks))]


def single_step(solver: Any, *, why: str) -> SingleStepSolver:
    """Returns the solver if its steps remember nothing.

    Raises:
        ValueError: If they do; `why` says what they cannot be used for.
    """
    if isinstance(solver, SingleStepSolver):
        return solver
    raise ValueError(
        f"{why}, which a solver that remembers earlier steps cannot follow: choose solver=heun or "
        f"solver=euler (which is DDIM), got {type(solver).__name__}."
    )


def place_of(filling: Filling) -> Place:
    """Returns where a window lies."""
    size = len(filling.rows), len(filling.columns)
    return Place(int(filling.rows[0]), int(filling.columns[0]), *size)


def _changes(painter: Tensor) -> tuple[int, ...]:
    """Returns the columns that differ from the one before them anywhere."""
    changed = (painter[:, 1:] != painter[:, :-1]).any(0)
    return tuple((changed.nonzero()[:, 0] + 1).tolist())
