"""What a strategy is."""

import abc
import dataclasses
from typing import Any

from denoisers.contract import Image, PatchDenoiser
from sampling.noise import CanvasNoise
from sampling.solvers import Heun, Solver
from strategies.canvas import Canvas, Known, WindowEdges
from strategies.windows import Tiling

__all__ = ["Strategy"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strategy(abc.ABC):
    """A way to make a canvas with a denoiser of patches.

    Args:
        solver: Carries noise to images; the same for all strategies of a comparison.
        window: Side of the square windows, in pixels, or their height and width; None for the
            denoiser's patch size.
        max_batch: Most windows in one network call, those of all samples together; None for no
            limit.
    """

    solver: Solver = dataclasses.field(default_factory=Heun)
    window: int | tuple[int, int] | None = None
    max_batch: int | None = None

    def __post_init__(self) -> None:
        for name in ("window", "max_batch"):
            value = getattr(self, name)
            sides = value if isinstance(value, tuple) else (value,)
            if value is not None and min(sides) < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")

    @abc.abstractmethod
    def generate(
        self,
        denoiser: PatchDenoiser,
        canvas: Canvas,
        noise: CanvasNoise,
        *,
        known: Known | None = None,
        context: Any = None,
    ) -> Image:
        """Returns one canvas for each sample of `noise`; known pixels come back bit by bit.

        Args:
            denoiser: Denoises the windows.
            canvas: The size of what is made.
            noise: Numbers the samples, and says where and in which precision they are made.
            known: Pixels that are given, one canvas for all samples or one for each.
            context: What the denoiser is conditioned on: a tensor with one row a sample, a
                `strategies.context.WindowContext`, which tells each window its own, or None.

        Raises:
            ValueError: If the canvas is smaller than a window, the denoiser cannot take the
                windows, or `known` has another size; before the first network call.
        """

    @property
    def core(self) -> "Strategy":
        """What orders and weighs the windows: this strategy, but for one that wraps another."""
        return self

    def denoised(self, canvas: Canvas) -> Canvas:
        """Returns the canvas that the denoiser works on, in its own pixels: this one."""
        return canvas

    @abc.abstractmethod
    def window_edges(self, denoiser: PatchDenoiser, canvas: Canvas) -> WindowEdges:
        """Returns where seams would be: the edges of windows inside the canvas."""

    def starts_at(self, denoiser: PatchDenoiser, canvas: Canvas) -> int:
        """Returns the column where the first window begins; 0 where all begin at once."""
        return 0

    def with_steps(self, num_steps: int) -> "Strategy":
        """Returns the same with as many solver steps."""
        solver = dataclasses.replace(self.solver, num_steps=num_steps)
        return dataclasses.replace(self, solver=solver)

    def validate_denoiser(self, denoiser: PatchDenoiser) -> None:
        """Checks that a denoiser can do what this strategy asks of one, whatever the canvas.

        Raises:
            ValueError: If it cannot, or the solver starts at a level that it does not know.
        """
        self.solver.validate_fit(denoiser)

    def validate_fit(
        self, denoiser: PatchDenoiser, canvas: Canvas, noise: CanvasNoise, known: Known | None
    ) -> None:
        """Checks that the arguments of `generate` belong together.

        Raises:
            ValueError: If channels, sizes or numbers of samples differ, or as `validate_denoiser`
                does.
        """
        self.validate_denoiser(denoiser)
        if canvas.channels != denoiser.channels:
            raise ValueError(
                f"a canvas must have the denoiser's {denoiser.channels} channels, got "
                f"{canvas.channels}."
            )
        if known is not None:
            known.validate_fit(canvas, len(noise))

    @abc.abstractmethod
    def overlap_of(self, denoiser: PatchDenoiser, window: int) -> int:
        """Returns what neighbours share along an axis on which windows are `window` px long.

        Raises:
            ValueError: If what was asked for does not go with such windows.
        """

    def window_of(self, denoiser: PatchDenoiser) -> tuple[int, int]:
        """Returns the height and width of the windows, in pixels.

        Raises:
            ValueError: If the denoiser cannot take windows of that size.
        """
        window = self.window or denoiser.patch_size
        sides = window if isinstance(window, tuple) else (window, window)
        for side in sides:
            if side % denoiser.multiple:
                raise ValueError(
                    f"window must be a multiple of the denoiser's {denoiser.multiple} px, got "
                    f"{side}."
                )
        longest = getattr(denoiser, "longest", None)
        if longest is not None and max(sides) > longest:
            raise ValueError(
                f"window must be at most the {longest} px that the denoiser knows places up to, "
                f"got {max(sides)}."
            )
        return sides

    def tilings(self, denoiser: PatchDenoiser, canvas: Canvas) -> tuple[Tiling, Tiling]:
        """Returns how windows lie down and along the canvas, which they need not fit exactly.

        Along an axis with room for one window they share nothing, whatever the overlap.
        """
        lengths, wraps = (canvas.height, canvas.width), (canvas.wrap_height, canvas.wrap_width)
        down, across = (
            Tiling(
                length=length,
                window=window,
                overlap=0 if length == window and not wrap else self.overlap_of(denoiser, window),
                wraps=wrap,
            )
            for length, window, wrap in zip(lengths, self.window_of(denoiser), wraps, strict=True)
        )
        return down, across
