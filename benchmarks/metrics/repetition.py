"""Whether a canvas repeats itself: how near its nearest pair of squares are, in features."""

import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor
from typing_extensions import override

from benchmarks.metrics.features import FeatureNetwork
from benchmarks.metrics.state import FOR_NETWORKS, Canvases, SumMetric, validate_fit

__all__ = ["LIMIT", "Repetition"]

LIMIT = 256  # canvases whose every square is looked at: Inception sees six squares a second


class Repetition(SumMetric):
    """`repetition`: distance of a square to the nearest other square of the same canvas.

    Canvases are cut into disjoint squares, as many as fit from the top left corner on; the mean
    is over squares, then over canvases, in units of the features. It is 0 where every square has
    a copy, and says something only beside real crops as large, cut into as many squares: the more
    there are, the nearer is the nearest.

    Only canvases with a sample index below `limit` are looked at, whatever their number, so that
    long runs can afford it; they are the same ones on any number of processes.

    Args:
        features: Makes the vectors.
        height: Of the canvases, in pixels.
        width: Of the canvases, in pixels.
        side: Of a square, in pixels.
        limit: Sample indices below it are looked at.
        seed: Seeds the resampling.

    Raises:
        ValueError: If fewer than 2 squares fit.
    """

    in_flight = FOR_NETWORKS

    def __init__(
        self,
        features: FeatureNetwork,
        *,
        height: int,
        width: int,
        side: int,
        limit: int = LIMIT,
        seed: int = 0,
    ) -> None:
        super().__init__(columns=1, seed=seed, limit=limit)
        if side < 1 or (height // side) * (width // side) < 2:
            raise ValueError(
                f"two squares must fit into a canvas of {height} x {width} px, got a side of "
                f"{side} px."
            )
        self.features = features
        self.size = (height, width)
        self.side = side

    @override
    def statistics(
        self, canvases: Canvases, indices: Int64[Tensor, " n"]
    ) -> Float64[Tensor, "n 1"]:
        validate_fit(canvases, self.size)
        squares = disjoint_squares(canvases, side=self.side)
        features = self.features(squares.flatten(0, 1)).double()
        return nearest_distances(features.unflatten(0, squares.shape[:2])).mean(1, keepdim=True)

    @override
    def formula(
        self, totals: Float64[Tensor, "sets columns"], count: int
    ) -> dict[str, Float64[Tensor, " sets"]]:
        return {"repetition": totals[:, 0] / count}


def disjoint_squares(
    canvases: Canvases, *, side: int
) -> UInt8[Tensor, "n squares 3 {side} {side}"]:
    """Cuts every canvas into squares, row by row."""
    squares = canvases.unfold(2, side, side).unfold(3, side, side)
    return squares.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def nearest_distances(
    features: Float[Tensor, "n squares dimensions"],
) -> Float[Tensor, "n squares"]:
    """Returns the distance of every vector to the nearest other one of the same canvas."""
    # Differences and no product of matrices: equal vectors are then at 0 exactly.
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(features, features, compute_mode=exact)
    itself = torch.eye(features.shape[1], dtype=torch.bool, device=features.device)
    return distances.masked_fill(itself, torch.inf).amin(-1)
