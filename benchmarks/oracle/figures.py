"""How far the covariance of a strategy's canvases is from the true one."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from strategies.canvas import Canvas, WindowEdges

__all__ = [
    "correlation_by_distance",
    "correlation_of_neighbours",
    "jackknife",
    "relative_w2",
    "variance_at_edges",
    "variance_at_the_end",
]

Square = Float64[Tensor, "n n"]


def relative_w2(true: Square, made: Square) -> float:
    """Squared 2-Wasserstein distance of two centred Gaussians, over the variance of the first.

    tr(S + C - 2 (S^1/2 C S^1/2)^1/2) / tr(S), with S = `true` and C = `made`; 0 where they are
    the same, 1 for canvases that are all alike. Rounding leaves about 1e-8 on singular matrices.
    """
    half = _root(true)
    middle = torch.linalg.eigvalsh(half @ made @ half).clamp(min=0).sqrt().sum()
    return ((true.trace() + made.trace() - 2 * middle) / true.trace()).item()


def correlation_of_neighbours(
    covariance: Square, canvas: Canvas, edges: WindowEdges
) -> float | None:
    """Mean correlation of two pixels with a window border between them; None without edges.

    A border at 0 lies between the last pixel and the first, where a loop closes.
    """
    pairs = _pairs_across(canvas, edges)
    if not len(pairs):
        return None
    return _correlations(covariance)[pairs[:, 0], pairs[:, 1]].mean().item()


def variance_at_edges(covariance: Square, canvas: Canvas, edges: WindowEdges) -> float | None:
    """Mean variance of the pixels next to window edges; None without edges."""
    pairs = _pairs_across(canvas, edges)
    return covariance.diag()[pairs.unique()].mean().item() if len(pairs) else None


def variance_at_the_end(covariance: Square, canvas: Canvas) -> float | None:
    """Mean variance of the last column: the far end of growth to the right; None on a loop."""
    if canvas.wrap_width:
        return None
    return covariance.diag().view(canvas.height, canvas.width)[:, -1].mean().item()


def correlation_by_distance(covariance: Square, canvas: Canvas) -> Float64[Tensor, " distances"]:
    """Mean correlation of two pixels of a row, 0, 1, 2, ... pixels apart; by the shorter way round.

    Where a row is a loop, half of it is as far as two pixels can be from each other.
    """
    rows = _correlations(covariance).view(2 * (canvas.height, canvas.width))
    within = torch.einsum("rirj->ij", rows) / canvas.height
    if canvas.wrap_width:
        place = torch.arange(canvas.width)
        farthest = canvas.width // 2
        return torch.stack([within[place, place - far].mean() for far in range(farthest + 1)])
    return torch.stack([within.diagonal(distance).mean() for distance in range(canvas.width)])


def jackknife(whole: float, left_out: Sequence[float]) -> tuple[float, float]:
    """Returns a figure of samples without the share that falls with their number, and its error.

    With g groups, the figure f of all samples, and the mean m of the figures f_k of all but one
    group: g f - (g - 1) m, whose standard error is ((g - 1) / g sum (f_k - m)^2)^1/2. What is left
    of the bias falls with the square of the number: of the W2^2 of a field of 400 pixels, 0.0245
    by 2,000 samples, -0.0005; of 96 pixels, 0.0055, less than 0.0001.

    >>> jackknife(0.0, [1.0, -1.0])
    (0.0, 1.0)
    """
    groups, mean = len(left_out), math.fsum(left_out) / len(left_out)
    spread = math.fsum((figure - mean) ** 2 for figure in left_out)
    return groups * whole - (groups - 1) * mean, math.sqrt((groups - 1) / groups * spread)


def _correlations(covariance: Square) -> Square:
    """Returns correlations; those of a pixel that never varies are 0."""
    deviations = covariance.diag().clamp(min=0).sqrt()
    products = deviations.outer(deviations)
    return torch.where(products > 0, covariance / products, 0.0)


def _pairs_across(canvas: Canvas, edges: WindowEdges) -> Tensor:
    """Returns the numbers of both pixels of every pair with a border between them."""
    number = torch.arange(canvas.height * canvas.width).view(canvas.height, canvas.width)
    pairs = [torch.stack([number[:, c - 1], number[:, c]], -1) for c in edges.columns]
    pairs += [torch.stack([number[r - 1], number[r]], -1) for r in edges.rows]
    return torch.cat(pairs) if pairs else number.new_zeros(0, 2)


def _root(matrix: Square) -> Square:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.mT
