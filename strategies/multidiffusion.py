"""MultiDiffusion: overlapping windows, averaged at every evaluation.

    eps(canvas) = sum_f w_f eps_f / sum_f w_f        per pixel

The least-squares consensus of the windows ([MD] Eq. 5), followed by one solver step on the
canvas. Averaging the estimates of windows that disagree shrinks variance; that bias is the
method's own.

References:
    [MD] Bar-Tal, Yariv, Lipman, Dekel: MultiDiffusion: Fusing Diffusion Paths for Controlled
    Image Generation, 2023. arXiv:2302.08113
"""

import dataclasses
from typing import Literal, get_args

import torch
from jaxtyping import Float64
from torch import Tensor
from typing_extensions import override

from denoisers.contract import PatchDenoiser
from strategies.canvas import Canvas
from strategies.collage import Weighted, cut, total_weight
from strategies.parallel import ParallelStrategy
from strategies.windows import grid

__all__ = ["MultiDiffusion"]

Taper = Literal["uniform", "tapered"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiDiffusion(ParallelStrategy):
    """Averages overlapping windows; one network call an evaluation.

    The settings that it shares with others are those of `ParallelStrategy`.

    Args:
        known_method: How given pixels act on the canvas: `replacement` or `reconstruction`.
        overlap: What neighbouring windows share, in pixels; None for half a window.
        weight: `uniform`, or `tapered`: falling off linearly towards the window's edges.
    """

    overlap: int | None = None
    weight: Taper = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight not in get_args(Taper):
            raise ValueError(
                f"weight must be one of {', '.join(get_args(Taper))}, got {self.weight!r}."
            )

    @override
    def overlap_of(self, denoiser: PatchDenoiser, window: int) -> int:
        overlap = window // 2 if self.overlap is None else self.overlap
        if not 0 <= overlap < window:
            raise ValueError(f"overlap must be in [0, window), got {overlap} for window={window}.")
        return overlap

    @override
    def groups(self, denoiser: PatchDenoiser, canvas: Canvas) -> list[Weighted]:
        regions = grid(*self.spans(denoiser, canvas))
        profile = self._profile(regions.height, regions.width)[None, None, None]
        total = total_weight([Weighted(regions, profile)], canvas)
        return [Weighted(regions, profile / cut(total[None, None], regions))]

    def _profile(self, height: int, width: int) -> Float64[Tensor, "rows columns"]:
        """Unnormalised weight of a window's pixels, positive everywhere."""
        if self.weight == "uniform":
            return torch.ones(height, width, dtype=torch.float64)
        return _taper(height)[:, None] * _taper(width)


def _taper(length: int) -> Float64[Tensor, " pixels"]:
    """Distances from the nearer end."""
    ramp = torch.arange(length, dtype=torch.float64) + 0.5
    return torch.minimum(ramp, length - ramp)
