"""The kernel distance between two sets of features: the squared MMD of [KID], without bias.

With the kernel `k(x, y) = (x.y / dimensions + 1)^3` and means over all pairs of different vectors,

    kid = mean k(x, x') + mean k(y, y') - 2 mean k(x, y).

Over all pairs at once, in float64: what [KID] and other implementations draw subsets for is the
mean of, without their noise. Near 0 it may be negative, as any estimate without bias.

References:
    [KID] Binkowski et al., Demystifying MMD GANs, 2018. arXiv:1801.01401
"""

import torch
from jaxtyping import Float64
from torch import Tensor
from typing_extensions import override

from benchmarks.metrics.resampling import bootstrap_counts, estimate, margins
from benchmarks.metrics.state import CropMetric, Figures

__all__ = ["KernelDistance"]

BLOCK = 512  # rows of a kernel matrix at once: bounds memory


class KernelDistance(CropMetric):
    """`kid`, its interval by a bootstrap that leaves out pairs of a canvas with itself.

    Costs samples^2 x (dimensions + resamples) products.
    """

    @override
    def compute(self) -> Figures:
        rows = self.sorted_rows()
        counts = bootstrap_counts(len(rows), seed=self.seed)
        sets = torch.cat([torch.ones_like(counts[:1]), counts])
        distances = _distances(rows, self.reference.to(rows), sets.to(rows)).cpu()
        return {"kid": estimate(distances[0].item(), margins(distances[1:]).item())}


def _distances(
    features: Float64[Tensor, "samples dimensions"],
    reference: Float64[Tensor, "reference_samples dimensions"],
    counts: Float64[Tensor, "sets samples"],
) -> Float64[Tensor, " sets"]:
    """Returns the distance of every set, in which vector k is taken `counts[set, k]` times."""
    every = torch.ones_like(reference[:, :1]).T
    cross = torch.cat([_kernel(block, reference).mean(1) for block in features.split(BLOCK)])
    within = _mean_of_pairs(features, counts) + _mean_of_pairs(reference, every)
    return within - 2 * counts @ cross / counts.sum(1)


def _mean_of_pairs(
    rows: Float64[Tensor, "samples dimensions"], counts: Float64[Tensor, "sets samples"]
) -> Float64[Tensor, " sets"]:
    """Mean kernel over pairs of different vectors, each as often as both were taken."""
    total = torch.zeros_like(counts[:, 0])
    for block, part in zip(rows.split(BLOCK), counts.split(BLOCK, dim=1), strict=True):
        total += (part.T * (_kernel(block, rows) @ counts.T)).sum(0)
    itself = (rows.square().mean(1) + 1) ** 3
    squared = counts.square()
    return (total - squared @ itself) / (counts.sum(1).square() - squared.sum(1))


def _kernel(
    x: Float64[Tensor, "rows dimensions"], y: Float64[Tensor, "columns dimensions"]
) -> Float64[Tensor, "rows columns"]:
    return (x @ y.T / x.shape[1] + 1) ** 3
