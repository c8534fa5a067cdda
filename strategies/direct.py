"""The network applied to the whole canvas at once.

A fully convolutional denoiser accepts any canvas, whatever it was trained on. On content that
looks the same everywhere this honest baseline can beat every composition of patches; the tables
of the papers leave it out.
"""

import dataclasses

from typing_extensions import override

from denoisers.contract import PatchDenoiser
from strategies.canvas import Borders, Canvas
from strategies.collage import Weighted
from strategies.parallel import ParallelStrategy
from strategies.windows import Regions

__all__ = ["Direct"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Direct(ParallelStrategy):
    """No windows; one network call an evaluation, of memory in proportion to the canvas.

    Args:
        solver: Carries noise to images; the same for all strategies of a comparison.
        window: The least height and width of a canvas, in pixels, and the distance of what
            `borders` returns; None for the denoiser's patch size.
        max_batch: Most canvases in one network call; None for no limit.
    """

    @override
    def overlap_of(self, denoiser: PatchDenoiser) -> int:
        return 0

    @override
    def planned(self, denoiser: PatchDenoiser, canvas: Canvas) -> tuple[int, int]:
        window, multiple = self.window_of(denoiser), denoiser.multiple
        if min(canvas.height, canvas.width) < window:
            raise ValueError(
                f"a canvas must be at least one window of {window} px along both axes, got "
                f"{canvas.height} x {canvas.width} px."
            )
        return -(-canvas.height // multiple) * multiple, -(-canvas.width // multiple) * multiple

    @override
    def groups(self, denoiser: PatchDenoiser, height: int, width: int) -> list[Weighted]:
        return [Weighted(Regions(height, width, ((0, 0),)), 1.0)]

    @override
    def borders(self, denoiser: PatchDenoiser, canvas: Canvas) -> Borders:
        """Returns multiples of the window: there are no borders, these are for comparison."""
        window = self.window_of(denoiser)
        return Borders(
            tuple(range(window, canvas.height, window)), tuple(range(window, canvas.width, window))
        )
