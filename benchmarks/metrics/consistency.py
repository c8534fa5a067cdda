"""Whether both ends of a canvas show the same scene, by the embeddings of their squares."""

from collections.abc import Callable

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from benchmarks.metrics.repetition import LIMIT
from benchmarks.metrics.state import FOR_NETWORKS, Canvases, SumMetric

__all__ = ["Consistency"]


class Consistency(SumMetric):
    """`consistency`: cosine similarity of the embeddings of the first and the last square.

    The first is at the top left corner, the last at the bottom right one; the mean is over canvases
    with a sample index below `limit`, whatever their number, so that long runs can afford it. In
    [-1, 1]; it says something only beside real crops as large, and beside other embeddings
    nothing.

    Args:
        embed: Turns uint8 squares into one vector each; `benchmarks.metrics.clip` has CLIP's.
        side: Of a square, in pixels.
        limit: Sample indices below it are looked at.
        seed: Seeds the resampling.

    Raises:
        ValueError: If `side` is not positive.
    """

    signed = frozenset({"consistency"})
    in_flight = FOR_NETWORKS

    def __init__(
        self,
        embed: Callable[[Tensor], Tensor],
        *,
        side: int,
        limit: int = LIMIT,
        seed: int = 0,
    ) -> None:
        super().__init__(columns=1, seed=seed, limit=limit)
        if side < 1:
            raise ValueError(f"side must be at least 1 px, got {side}.")
        self.embed = embed
        self.side = side

    @override
    def statistics(
        self, canvases: Canvases, indices: Int64[Tensor, " n"]
    ) -> Float64[Tensor, "n 1"]:
        height, width = canvases.shape[-2:]
        if min(height, width) < self.side or max(height, width) < 2 * self.side:
            raise ValueError(
                f"two squares of {self.side} px must fit apart into a canvas, got {height} x "
                f"{width} px."
            )
        corners = canvases[..., : self.side, : self.side], canvases[..., -self.side :, -self.side :]
        first, last = self.embed(torch.cat(corners)).double().chunk(2)
        return F.cosine_similarity(first, last)[:, None]

    @override
    def formula(
        self, totals: Float64[Tensor, "sets columns"], count: int
    ) -> dict[str, Float64[Tensor, " sets"]]:
        return {"consistency": totals[:, 0] / count}
