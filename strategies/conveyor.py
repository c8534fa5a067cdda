"""The conveyor: an endless strip, block after block, at a constant price for every column.

A window slides along the strip. Its columns are blocks: finished ones on the left, at level 0, then
blocks on their way down the noise schedule, each `lag` steps behind the one before it, the newest
of them pure noise. This is the schedule `wavefront` of [AP] without an end: every call of the
denoiser advances all blocks that are under way, each at a level of its own, and every `lag` steps,
which are a cycle, one of them reaches 0. It leaves, the window moves on by a block, and another one
enters.

On a Markov field nothing is lost but what the solver loses: the window's finished columns say all
that the strip so far knows, and what lies beyond it would be pure noise, which knows nothing.

At the beginning nothing is known on the left, and the window does not move until finished blocks
fill their share of it. Meanwhile blocks that are still to begin wait on its right, as the noise
that they will begin from and at its level.

References:
    [AP] AsyncPatch Diffusion: spatially-flexible image generation, 2026. arXiv:2606.07079
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from denoisers.contract import Denoiser, Image, PatchDenoiser
from sampling.noise import CanvasNoise
from sampling.solvers import Heun, SingleStepSolver, Solver
from strategies.async_patch import never_clean
from strategies.conditioning import conditioned
from strategies.sequential import single_step

__all__ = ["Belt", "Conveyor", "State"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Belt:
    """Where the blocks of a window are, and how far down the noise schedule: integers, no pixels.

    Blocks are numbered along the strip from 0; those that it was begun with come before, and end
    with -1. Block k is finished by cycle k + active - 1.

    >>> belt = Belt(height=1, block=4, blocks=4, steps=6, lag=3)
    >>> belt.active, belt.past
    (2, 8)
    >>> [belt.taken(cycle=0, step=step, given=0) for step in (0, 1, 2, 3)]
    [[0, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0], [3, 0, 0, 0]]
    >>> [belt.taken(cycle=9, step=step, given=0) for step in (0, 1, 2, 3)]
    [[6, 6, 3, 0], [6, 6, 4, 1], [6, 6, 5, 2], [6, 6, 6, 3]]

    Args:
        height: Pixels from top to bottom.
        block: Columns of a block.
        blocks: Blocks of a window.
        steps: Steps down the noise schedule.
        lag: Steps between the starts of two blocks, which are a cycle.
    """

    height: int
    block: int
    blocks: int
    steps: int
    lag: int

    @property
    def active(self) -> int:
        """Blocks that are under way at a time."""
        return -(-self.steps // self.lag)

    @property
    def past(self) -> int:
        """Finished columns that a window shows."""
        return (self.blocks - self.active) * self.block

    @property
    def width(self) -> int:
        """Columns of a window."""
        return self.blocks * self.block

    def first(self, *, cycle: int, given: int) -> int:
        """Returns the number of the window's first block, where the strip began with `given`."""
        return max(-given, cycle + 1 - self.blocks)

    def taken(self, *, cycle: int, step: int, given: int) -> list[int]:
        """Returns how many steps each block of the window has taken, `step` steps into a cycle.

        The newest block waits for its first steps where the noise schedule is no whole number of
        lags.
        """
        first = self.first(cycle=cycle, given=given)
        return [self._taken_by(first + place, cycle, step) for place in range(self.blocks)]

    def _taken_by(self, number: int, cycle: int, step: int) -> int:
        if number < 0:
            return self.steps
        missing = (number + self.active - cycle) * self.lag - step
        return max(0, min(self.steps, self.steps - missing))


@dataclasses.dataclass(frozen=True)
class State:
    """All that a conveyor remembers, between two cycles.

    Args:
        pixels: The window, every block at its own level.
        cycle: Cycles so far.
        given: Blocks of a strip that this one goes on from, as many of them as a window shows.
    """

    pixels: Image
    cycle: int
    given: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conveyor:
    """Makes strips without an end; no strategy, which fills a canvas, but their neighbour.

    With w columns in a window and T = solver.num_steps, as many blocks are under way as the window
    has room for beside the past, (w - past) / block; `lag` is T over that, rounded up. Blocks that
    this leaves without work are past too. A block of columns costs `lag` steps on a whole window,
    so that a column costs lag w / block steps of a pixel column: about T w / (w - past), whatever
    the block; a step of Heun's is two evaluations. Memory is one window, and does not grow.

    A strip is a function of the noise's seed and its number, of this, and of the denoiser.

    Args:
        solver: Carries noise to images; one whose steps remember nothing.
        height: Pixels of the strip, and of the window, from top to bottom; None for the denoiser's
            patch size.
        window: Columns of the window; None for the denoiser's patch size.
        past: Least finished columns that the window shows; None for half of it. What a denoiser
            cannot see from there a strip forgets.
        block: Columns that are finished at a time, at most what the past leaves of the window, of
            whose width it must be a divisor; None for a quarter of the window.
        clean_level: Level that finished pixels are said to have: 0, or the smallest that a denoiser
            was trained on, for one that never saw a 0.
    """

    solver: Solver = dataclasses.field(default_factory=Heun)
    height: int | None = None
    window: int | None = None
    past: int | None = None
    block: int | None = None
    clean_level: float = 0.0

    def __post_init__(self) -> None:
        self._single_step()
        for name in ("height", "window", "past", "block"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1 px, got {value}.")
        if self.clean_level < 0:
            raise ValueError(f"clean_level must be at least 0, got {self.clean_level}.")

    def belt(self, denoiser: PatchDenoiser) -> Belt:
        """Returns how the blocks of a window are laid out for this denoiser.

        Raises:
            ValueError: If the denoiser cannot take such windows, or they have no room.
        """
        if "place" in getattr(denoiser, "takes", ()):
            raise ValueError(
                "an endless strip has no places, but this denoiser must be told where its windows "
                "lie: take one trained with position none."
            )
        if not denoiser.takes_noise_maps:
            raise ValueError(
                "a conveyor gives every block a noise level of its own, but this denoiser was "
                "trained on one level an image (takes_noise_maps is False): take one trained with "
                "noise maps."
            )
        height, width = self._window_of(denoiser)
        past = max(1, width // 2) if self.past is None else self.past
        block = max(1, width // 4) if self.block is None else self.block
        if width % block or block > width - past:
            raise ValueError(
                f"block must be a divisor of the window's {width} px and at most the {width - past}"
                f" px that a past of {past} px leaves of it, got {block}."
            )
        steps = self.solver.num_steps
        room = (width - past) // block
        return Belt(
            height=height, block=block, blocks=width // block, steps=steps, lag=-(-steps // room)
        )

    def begin(
        self, denoiser: PatchDenoiser, noise: CanvasNoise, *, known: Image | None = None
    ) -> State:
        """Returns the state before the first cycle.

        Args:
            denoiser: Denoises the windows.
            noise: Numbers the strips, and says where and in which precision they are made.
            known: A strip to go on from, one for all or one for each: the first block stands at its
                right edge. Only its last columns are looked at, whole blocks that fit the past.

        Raises:
            ValueError: If the denoiser cannot take the windows, or the known strip has other
                channels, another height, or less than a block of columns.
        """
        belt = self.belt(denoiser)
        given = 0
        if known is not None:
            _validate_fit(known, belt, denoiser.channels, len(noise))
            given = min(known.shape[-1], belt.past) // belt.block
        start = [
            self._entering(noise, number, belt, denoiser.channels)
            for number in range(belt.blocks - given)
        ]
        if known is not None and given:
            last = known[..., known.shape[-1] - given * belt.block :]
            start.insert(0, last.to(start[0]).expand(len(noise), -1, -1, -1))
        return State(torch.cat(start, dim=-1), cycle=0, given=given)

    @torch.no_grad()
    def advance(
        self, denoiser: PatchDenoiser, noise: CanvasNoise, state: State, *, context: Any = None
    ) -> tuple[State, Image | None]:
        """Returns the state a cycle later, and the block that the cycle has finished.

        A function of its arguments and of nothing else, so a state that was kept on disk goes on as
        if nothing had happened. The first cycles finish no block.

        Args:
            denoiser: Denoises the windows.
            noise: The strips' noise, as at the beginning.
            state: Where the strips are; it is not changed.
            context: What the denoiser is conditioned on: a tensor with one row a strip, or None.

        Raises:
            ValueError: If the state is another conveyor's.
        """
        belt = self.belt(denoiser)
        expected = (len(noise), denoiser.channels, belt.height, belt.width)
        if state.pixels.shape != expected:
            raise ValueError(
                f"the state must hold windows of (samples, channels, height, width) = {expected}, "
                f"got {tuple(state.pixels.shape)}: go on with the conveyor that it was made by."
            )
        pixels = self._descended(conditioned(denoiser, context), noise, state, belt)
        return self._moved_on(noise, dataclasses.replace(state, pixels=pixels), belt)

    def blocks(
        self, denoiser: PatchDenoiser, noise: CanvasNoise, state: State, *, context: Any = None
    ) -> Iterator[tuple[State, Image]]:
        """Yields blocks of columns from left to right, forever, with the state after each."""
        while True:
            state, block = self.advance(denoiser, noise, state, context=context)
            if block is not None:
                yield state, block

    def _descended(self, denoiser: Denoiser, noise: CanvasNoise, state: State, belt: Belt) -> Image:
        """Returns the window after the steps of a cycle; pixels that wait are as they were."""
        if self.clean_level:
            denoiser = never_clean(denoiser, self.clean_level)
        churn = noise.stream("churn")
        churn.step = state.cycle * belt.lag
        levels = iter(self._sigmas(belt, state))
        return self._single_step().descend(denoiser, state.pixels, levels, churn)

    def _sigmas(self, belt: Belt, state: State) -> list[Float[Tensor, "1 1 1 width"]]:
        """Returns the maps of levels of a cycle."""
        sigmas = self.solver.sigmas()
        maps = []
        for step in range(belt.lag + 1):
            taken = belt.taken(cycle=state.cycle, step=step, given=state.given)
            maps.append(sigmas[taken].repeat_interleave(belt.block).view(1, 1, 1, -1))
        return maps

    def _moved_on(self, noise: CanvasNoise, state: State, belt: Belt) -> tuple[State, Image | None]:
        """Takes the finished block out, and moves the window on once its past is full."""
        pixels, first = state.pixels, belt.first(cycle=state.cycle, given=state.given)
        finished = state.cycle + 1 - belt.active
        block = None
        if finished >= 0:
            left = (finished - first) * belt.block
            block = pixels[..., left : left + belt.block].clone()
        later = dataclasses.replace(state, cycle=state.cycle + 1)
        if belt.first(cycle=later.cycle, given=later.given) > first:
            new = self._entering(noise, first + belt.blocks, belt, pixels.shape[1])
            later = dataclasses.replace(
                later, pixels=torch.cat([pixels[..., belt.block :], new], dim=-1)
            )
        return later, block

    def _entering(self, noise: CanvasNoise, number: int, belt: Belt, channels: int) -> Image:
        """Returns the noise that a block begins from."""
        eps = noise.draw("block", number, (channels, belt.height, belt.block))
        return float(self.solver.sigmas()[0]) * eps

    def _single_step(self) -> SingleStepSolver:
        return single_step(self.solver, why="a conveyor needs maps of levels")

    def _window_of(self, denoiser: PatchDenoiser) -> tuple[int, int]:
        """Returns the height and width of the window, in pixels."""
        height, width = self.height or denoiser.patch_size, self.window or denoiser.patch_size
        for name, side in (("height", height), ("window", width)):
            if side % denoiser.multiple:
                raise ValueError(
                    f"{name} must be a multiple of the denoiser's {denoiser.multiple} px, got "
                    f"{side}."
                )
            if 2 * side < denoiser.patch_size and not (name == "height" and side == 1):
                raise ValueError(
                    f"{name} must be at least half the denoiser's patch of {denoiser.patch_size} "
                    f"px, got {side}."
                )
        if width < 2:
            raise ValueError(f"window must be at least 2 px, got {width}.")
        return height, width


def _validate_fit(known: Image, belt: Belt, channels: int, samples: int) -> None:
    """Refuses a strip that cannot be gone on from."""
    count, *size = known.shape
    if size[:2] != [channels, belt.height] or size[2] < belt.block:
        raise ValueError(
            f"a strip to go on from must have {channels} channels, {belt.height} rows and at least "
            f"the {belt.block} columns of a block, got {size[0]}, {size[1]} and {size[2]}."
        )
    if count not in (1, samples):
        raise ValueError(
            f"a strip to go on from must be given once or for each of {samples}, got {count}."
        )
