"""What the parallel strategies share: the whole canvas is denoised at once."""

import abc
import dataclasses
from typing import Any, Literal, get_args

import torch
from typing_extensions import override

from denoisers.contract import Denoiser, Image, PatchDenoiser
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas, Known, WindowEdges
from strategies.collage import Collage, Weighted
from strategies.conditioning import conditioned, reconstructed, replaced
from strategies.context import RegionContext, WindowContext
from strategies.needed import needed_windows
from strategies.windows import Span

__all__ = ["ParallelStrategy"]

KnownMethod = Literal["replacement", "reconstruction"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelStrategy(Strategy):
    """All windows at once: a rule that turns the patch denoiser into a canvas denoiser.

    The solver then runs on the canvas, once. Windows that do not tile the canvas run on the next
    larger one that they do, and the surplus is cut off; along an axis that wraps they must close
    the loop, and other lengths are refused.

    The settings that it shares with others are those of `Strategy`.

    Args:
        known_method: How given pixels act on the canvas: `replacement` overwrites the estimate by
            them (DiffCollage, Algorithm 4), `reconstruction` moves it by a gradient through the
            whole canvas denoiser (Algorithm 5). With `replacement` windows of which all is given
            are not evaluated. With `reconstruction` all are: given pixels follow the estimates of
            their windows down to the last level and have a part in every gradient step, whose
            length is that of the whole canvas.
    """

    known_method: KnownMethod = "replacement"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.known_method not in get_args(KnownMethod):
            raise ValueError(
                f"known_method must be one of {', '.join(get_args(KnownMethod))}, got "
                f"{self.known_method!r}."
            )

    @abc.abstractmethod
    def groups(self, denoiser: PatchDenoiser, canvas: Canvas) -> list[Weighted]:
        """Returns the regions of a planned canvas, with their weights."""

    def spans(self, denoiser: PatchDenoiser, canvas: Canvas) -> tuple[list[Span], list[Span]]:
        """Returns the rows and the columns of the windows that tile a planned canvas."""
        rows, columns = self.tilings(denoiser, canvas)
        return rows.spans, columns.spans

    def planned(self, denoiser: PatchDenoiser, canvas: Canvas) -> Canvas:
        """Returns the canvas that the windows tile exactly, as large as asked or larger.

        Raises:
            ValueError: If the canvas is smaller than a window, or a loop that does not close.
        """
        rows, columns = self.tilings(denoiser, canvas)
        return dataclasses.replace(canvas, height=rows.planned, width=columns.planned)

    def canvas_denoiser(self, denoiser: PatchDenoiser, canvas: Canvas) -> Denoiser:
        """Lifts the patch denoiser to a planned canvas."""
        groups = self.groups(denoiser, canvas)
        return Collage(denoiser, groups, canvas, max_batch=self.max_batch)

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
        planned = self.planned(denoiser, canvas)
        if isinstance(context, WindowContext):
            seen = nothing_known(planned, noise) if known is None else known
            seen = seen.padded(planned.height, planned.width).for_each(len(noise))
            context = RegionContext(context, canvas, seen)
        estimate = self.canvas_denoiser(denoiser, planned)
        if known is None:
            estimate = conditioned(estimate, context)
        else:
            given = known.padded(planned.height, planned.width)
            estimate = self._given(estimate, given, planned, canvas, context)
        eps = noise.draw("start", 0, (canvas.channels, planned.height, planned.width))
        image = self.solver(estimate, eps, noise.stream("churn"))
        image = image[..., : canvas.height, : canvas.width]
        return image if known is None else known.pasted(image)

    def _given(
        self, estimate: Denoiser, given: Known, planned: Canvas, canvas: Canvas, context: Any
    ) -> Denoiser:
        """Returns the canvas denoiser under the pixels that are given of the planned canvas."""
        if self.known_method == "reconstruction":
            return reconstructed(conditioned(estimate, context), given)
        if isinstance(estimate, Collage):
            needed = needed_windows(estimate.groups, planned, canvas, given)
            estimate = estimate.asking(needed)
        return replaced(conditioned(estimate, context), given)

    @override
    def window_edges(self, denoiser: PatchDenoiser, canvas: Canvas) -> WindowEdges:
        planned = self.planned(denoiser, canvas)
        slices = [pair for group in self.groups(denoiser, planned) for pair in group.regions.slices]
        return WindowEdges(
            _edges([rows for rows, _ in slices], planned.height, canvas.height),
            _edges([columns for _, columns in slices], planned.width, canvas.width),
        )


def nothing_known(canvas: Canvas, noise: CanvasNoise) -> Known:
    """Returns that nothing is given of a canvas."""
    size = canvas.height, canvas.width
    y = torch.zeros(1, canvas.channels, *size, dtype=noise.dtype, device=noise.device)
    return Known(y, torch.zeros(1, 1, *size, dtype=torch.bool, device=noise.device))


def _edges(windows: list[slice], period: int, length: int) -> tuple[int, ...]:
    """Returns where windows begin or end, modulo `period`, strictly inside `length`."""
    edges = {edge % period for window in windows for edge in (window.start, window.stop)}
    return tuple(edge for edge in sorted(edges) if 0 < edge < length)
