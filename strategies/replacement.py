"""Replacement outpainting: window after window, the known half pasted into every estimate.

The autoregressive baseline of DiffCollage ([DC] Algorithm 4, Table 1 "Replacement"; ILVR, DDRM):
the middle square first, then half-overlapping windows outwards. It is biased: the unknown half
learns of the known one through `x_t` alone, so at each level it follows noisy pixels and not the
clean ones, and correlations across the border come out too weak.

References:
    [DC] Zhang, Song, Huang, Chen, Liu: DiffCollage: Parallel Generation of Large Content with
    Diffusion Models, 2023. arXiv:2303.17076
"""

import dataclasses

from typing_extensions import override

from denoisers.contract import Denoiser, Image
from sampling.noise import WindowNoise
from strategies.canvas import Known
from strategies.conditioning import replaced
from strategies.sequential import Outpainting

__all__ = ["Replacement"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replacement(Outpainting):
    """The clean estimate is overwritten where it is known; one whole solver run a window.

    Args:
        solver: Carries noise to images; the same for all strategies of a comparison.
        window: Side of the square windows, in pixels, or their height and width; None for the
            denoiser's patch size.
        max_batch: Most windows in one network call, those of all samples together; None for no
            limit.
        order: `raster` fills one window after another, row by row; `wavefront` fills windows that
            know nothing of each other in one batch. The images are the same.
        overlap: What a window knows of its neighbour, in pixels: at most half a window; None for
            half a window.
    """

    @override
    def fill(self, denoiser: Denoiser, known: Known, noise: WindowNoise) -> Image:
        eps = noise.draw("start", 0, tuple(known.y.shape[1:]))
        return self.solver(replaced(denoiser, known), eps, noise.stream("churn"))
