"""What the parallel strategies share: the whole canvas is denoised at once."""

import abc
import dataclasses
from typing import Any

import torch
from typing_extensions import override

from denoisers.contract import Denoiser, Image, PatchDenoiser
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Borders, Canvas, Known
from strategies.collage import Collage, Weighted
from strategies.conditioning import conditioned, replaced
from strategies.windows import planned_length

__all__ = ["ParallelStrategy"]


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
