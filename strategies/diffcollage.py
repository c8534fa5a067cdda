"""DiffCollage: all windows at once, overlaps counted once.

The canvas is a factor graph whose factors are windows and whose variables are what two windows
share; its score is that of the Bethe approximation ([DC] Eq. 6-7, Algorithm 3),

    eps(canvas) = sum_f eps_f + sum_i (1 - d_i) eps_i,

with d_i = 2 for a variable between two windows and 1, which drops out, at the ends. It is exact
where distant windows are independent given what lies between them. Noise takes that away even
from a Markov field, so on one it is exact as sigma reaches 0, and nearly so at every sigma while
the field forgets faster than an overlap is wide.

On a canvas that grows along both axes the regions are the products of the two chains, with the
products of their counting numbers: +1 windows, -1 strips shared by two, +1 corners shared by four
([Y] region graphs).

References:
    [DC] Zhang, Song, Huang, Chen, Liu: DiffCollage: Parallel Generation of Large Content with
    Diffusion Models, 2023. arXiv:2303.17076
    [Y] Yedidia, Freeman, Weiss: Constructing Free-Energy Approximations and Generalized Belief
    Propagation Algorithms, IEEE Transactions on Information Theory, 2005
"""

import dataclasses

from typing_extensions import override

from denoisers.contract import PatchDenoiser
from strategies.collage import Weighted
from strategies.parallel import ParallelStrategy
from strategies.windows import grid, overlaps, spans

__all__ = ["DiffCollage"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffCollage(ParallelStrategy):
    """A chain of windows, or a grid; two network calls an evaluation, four on a grid.

    Args:
        solver: Carries noise to images; the same for all strategies of a comparison.
        window: Side of the square windows, in pixels; None for the denoiser's patch size.
        max_batch: Most windows in one network call, those of all samples together; None for no
            limit.
        overlap: What neighbouring windows share, in pixels: at most half a window and a multiple
            of the denoiser's; None for half a window. The network is evaluated on what is
            shared, so it must know that size: half a patch is what it is trained on.
    """

    overlap: int | None = None

    @override
    def overlap_of(self, denoiser: PatchDenoiser) -> int:
        window = self.window_of(denoiser)
        overlap = window // 2 if self.overlap is None else self.overlap
        if not 0 < overlap <= window // 2 or overlap % denoiser.multiple:
            raise ValueError(
                f"overlap must be in (0, window / 2] and a multiple of {denoiser.multiple}, the "
                f"denoiser's, got {overlap} for window={window}."
            )
        return overlap

    @override
    def groups(self, denoiser: PatchDenoiser, height: int, width: int) -> list[Weighted]:
        window, overlap = self.window_of(denoiser), self.overlap_of(denoiser)
        chains = []
        for length in (height, width):
            factors = spans(length, window, overlap)
            chains.append(((1.0, factors), (-1.0, overlaps(factors))))
        products = [
            (row_count * column_count, grid(rows, columns))
            for row_count, rows in chains[0]
            for column_count, columns in chains[1]
        ]
        return [Weighted(regions, count) for count, regions in products if regions is not None]
