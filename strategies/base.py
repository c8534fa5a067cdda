"""What a strategy is, and what the parallel ones share."""

import abc
import dataclasses
from typing import Any

import torch
from typing_extensions import override

from denoisers.contract import Denoiser, Image, PatchDenoiser, Sigma
from sampling.noise import CanvasNoise
from sampling.solvers import Heun, Solver
from strategies.canvas import Borders, Canvas, Known
from strategies.collage import Collage, Weighted
from strategies.windows import planned_length

__all__ = ["ParallelStrategy", "Strategy", "replaced"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strategy(abc.ABC):
    """A way to make a canvas with a denoiser of patches.

    Args:
        solver: Carries noise to images; the same for all strategies of a comparison.
        window: Side of the square windows, in pixels; None for the denoiser's patch size.
        max_batch: Most windows in one network call, those of all samples together; None for no
            limit.
    """

    solver: Solver = dataclasses.field(default_factory=Heun)
    window: int | None = None
    max_batch: int | None = None

    def __post_init__(self) -> None:
        for name in ("window", "max_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
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
            context: What the denoiser is conditioned on: a tensor with one row a sample, or None.

        Raises:
            ValueError: If the canvas is smaller than a window, the denoiser cannot take the
                windows, or `known` has another size; before the first network call.
        """

    @abc.abstractmethod
    def borders(self, denoiser: PatchDenoiser, canvas: Canvas) -> Borders:
        """Returns where seams would be: the edges of windows inside the canvas."""

    def refuse_misfits(
        self, denoiser: PatchDenoiser, canvas: Canvas, noise: CanvasNoise, known: Known | None
    ) -> None:
        """Checks that the arguments of `generate` belong together.

        Raises:
            ValueError: If channels, sizes or numbers of samples differ.
        """
        if canvas.channels != denoiser.channels:
            raise ValueError(
                f"a canvas must have the denoiser's {denoiser.channels} channels, got "
                f"{canvas.channels}."
            )
        if known is not None:
            known.refuse_misfits(canvas, len(noise))

    def window_of(self, denoiser: PatchDenoiser) -> int:
        """Returns the side of the windows, in pixels.

        Raises:
            ValueError: If the denoiser cannot take windows of that size.
        """
        window = self.window or denoiser.patch_size
        if window % denoiser.multiple:
            raise ValueError(
                f"window must be a multiple of the denoiser's {denoiser.multiple} px, got {window}."
            )
        return window


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelStrategy(Strategy):
    """All windows at once: a rule that turns the patch denoiser into a canvas denoiser.

    The solver then runs on the canvas, once. Windows that do not tile the canvas run on the next
    larger one that they do, and the surplus is cut off.
    """

    @abc.abstractmethod
    def overlap_of(self, denoiser: PatchDenoiser) -> int:
        """Returns how much neighbouring windows share, in pixels."""

    @abc.abstractmethod
    def groups(self, denoiser: PatchDenoiser, height: int, width: int) -> list[Weighted]:
        """Returns the regions of a canvas that the windows tile exactly, with their weights."""

    def planned(self, denoiser: PatchDenoiser, canvas: Canvas) -> tuple[int, int]:
        """Returns the height and width that the windows tile, at least those of the canvas."""
        window, overlap = self.window_of(denoiser), self.overlap_of(denoiser)
        return (
            planned_length(canvas.height, window, overlap),
            planned_length(canvas.width, window, overlap),
        )

    def canvas_denoiser(self, denoiser: PatchDenoiser, height: int, width: int) -> Denoiser:
        """Lifts the patch denoiser to canvases of a size that the windows tile exactly."""
        return Collage(
            denoiser,
            self.groups(denoiser, height, width),
            height=height,
            width=width,
            max_batch=self.max_batch,
        )

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
        self.refuse_misfits(denoiser, canvas, noise, known)
        height, width = self.planned(denoiser, canvas)
        estimate = conditioned(self.canvas_denoiser(denoiser, height, width), context)
        if known is not None:
            estimate = replaced(estimate, known.padded(height, width))
        eps = noise.draw("start", 0, (canvas.channels, height, width))
        image = self.solver(estimate, eps, noise.stream("churn"))
        image = image[..., : canvas.height, : canvas.width]
        return image if known is None else known.pasted(image)

    @override
    def borders(self, denoiser: PatchDenoiser, canvas: Canvas) -> Borders:
        regions = self.groups(denoiser, *self.planned(denoiser, canvas))[0].regions
        rows = {top + edge for top, _ in regions.corners for edge in (0, regions.height)}
        columns = {left + edge for _, left in regions.corners for edge in (0, regions.width)}
        return Borders(
            tuple(row for row in sorted(rows) if 0 < row < canvas.height),
            tuple(column for column in sorted(columns) if 0 < column < canvas.width),
        )


def conditioned(denoiser: Denoiser, context: Any) -> Denoiser:
    """Gives every evaluation the same context."""

    def with_context(x_t: Image, sigma: Sigma, own: Any = None) -> Image:
        return denoiser(x_t, sigma, context if own is None else own)

    return with_context


def replaced(denoiser: Denoiser, known: Known) -> Denoiser:
    """Overwrites the clean estimate by what is known (DiffCollage, Algorithm 4)."""

    def with_known(x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        return known.pasted(denoiser(x_t, sigma, context))

    return with_known
