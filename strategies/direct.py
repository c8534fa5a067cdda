"""The network applied to the whole canvas at once.

A fully convolutional denoiser accepts any canvas, whatever it was trained on. On content that
looks the same everywhere this honest baseline can beat every composition of patches; the tables
of the papers leave it out.
"""

import dataclasses

import torch
from typing_extensions import override

from denoisers.contract import PatchDenoiser
from strategies.canvas import Canvas, WindowEdges
from strategies.collage import Weighted
from strategies.parallel import ParallelStrategy
from strategies.windows import Regions

__all__ = ["Direct"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Direct(ParallelStrategy):
    """No windows; one network call an evaluation, of memory in proportion to the canvas.

    Where the canvas wraps, the network sees the wrap: it is given the canvas continued by half a
    window on both sides, whose estimates have weight 0. That is one window more along each axis
    that wraps: a loop of six windows costs 7 / 6. Its length must be a multiple of the denoiser's.

    Args:
        solver: Carries noise to images; the same for all strategies of a comparison.
        window: The least height and width of a canvas, in pixels, and the distances of what
            `edges` returns; None for the denoiser's patch size.
        max_batch: Most canvases in one network call; None for no limit.
        known_method: How given pixels act on the canvas: `replacement` or `reconstruction`.
    """

    @override
    def overlap_of(self, denoiser: PatchDenoiser, window: int) -> int:
        return 0

    @override
    def planned(self, denoiser: PatchDenoiser, canvas: Canvas) -> Canvas:
        (rows, columns), multiple = self.window_of(denoiser), denoiser.multiple
        if canvas.height < rows or canvas.width < columns:
            window = f"{rows} px" if rows == columns else f"{rows} x {columns} px"
            raise ValueError(
                f"a canvas must be at least one window of {window} along both axes, got "
                f"{canvas.height} x {canvas.width} px."
            )
        longest = getattr(denoiser, "longest", None)
        if longest is not None and max(canvas.height, canvas.width) > longest:
            raise ValueError(
                f"the network knows places up to {longest} px along an axis and takes no larger "
                f"canvas whole, got {canvas.height} x {canvas.width} px: take another strategy."
            )
        return dataclasses.replace(
            canvas,
            height=_next_multiple(canvas.height, multiple, wraps=canvas.wrap_height),
            width=_next_multiple(canvas.width, multiple, wraps=canvas.wrap_width),
        )

    @override
    def groups(self, denoiser: PatchDenoiser, canvas: Canvas) -> list[Weighted]:
        margins = [
            _next_multiple(-(-side // 2), denoiser.multiple) for side in self.window_of(denoiser)
        ]
        top, left = margins[0] * canvas.wrap_height, margins[1] * canvas.wrap_width
        height, width = canvas.height + 2 * top, canvas.width + 2 * left
        weight = torch.zeros(1, 1, 1, height, width, dtype=torch.float64)
        weight[..., top : top + canvas.height, left : left + canvas.width] = 1
        return [Weighted(Regions(height, width, ((0, 0),)), weight)]

    @override
    def window_edges(self, denoiser: PatchDenoiser, canvas: Canvas) -> WindowEdges:
        """Returns multiples of the window: there are no edges, these are for comparison.

        Raises:
            ValueError: If the canvas is one that `generate` would refuse.
        """
        self.planned(denoiser, canvas)
        rows, columns = self.window_of(denoiser)
        return WindowEdges(
            tuple(range(rows, canvas.height, rows)), tuple(range(columns, canvas.width, columns))
        )


def _next_multiple(length: int, multiple: int, *, wraps: bool = False) -> int:
    """Returns the next multiple from `length` up; where the axis wraps it must be one itself."""
    below = length // multiple * multiple
    if wraps and below != length:
        raise ValueError(
            f"the length of a loop must be a multiple of the denoiser's {multiple} px, got "
            f"{length} px; the nearest are {below} and {below + multiple} px."
        )
    return below if below == length else below + multiple
