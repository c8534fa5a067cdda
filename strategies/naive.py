"""Naive tiling: independent patches side by side.

The baseline of DiffCollage (Zhang et al. 2023, arXiv:2303.17076, Table 1): every patch is as good
as the denoiser makes it, and every border shows what seams cost.
"""

import dataclasses

from typing_extensions import override

from denoisers.contract import PatchDenoiser
from strategies.canvas import Canvas
from strategies.collage import Weighted
from strategies.parallel import ParallelStrategy
from strategies.windows import grid

__all__ = ["Naive"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Naive(ParallelStrategy):
    """Windows that share nothing; one network call an evaluation.

    The settings that it shares with others are those of `ParallelStrategy`.

    Args:
        known_method: How given pixels act on the canvas: `replacement` or `reconstruction`.
    """

    @override
    def overlap_of(self, denoiser: PatchDenoiser, window: int) -> int:
        return 0

    @override
    def groups(self, denoiser: PatchDenoiser, canvas: Canvas) -> list[Weighted]:
        return [Weighted(grid(*self.spans(denoiser, canvas)), 1.0)]
