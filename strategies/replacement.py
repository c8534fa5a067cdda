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

    Its settings are those of `Outpainting`.
    """

    @override
    def fill(self, denoiser: Denoiser, known: Known, noise: WindowNoise) -> Image:
        eps = noise.stream("start").like(known.y)
        return self.solver(replaced(denoiser, known), eps, noise.stream("churn"))
