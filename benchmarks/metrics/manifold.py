"""Precision and recall of [PR]: which crops lie among real ones, and which real ones among them.

A set of features is taken for the balls around its vectors that reach to their third nearest
neighbours. Precision is the share of generated vectors in a ball of a real one, recall the share
of real vectors in a ball of a generated one. Values are torch-fidelity's; so that both can be had
without each of some groups of canvases, for the intervals, the balls are computed here once more.

References:
    [PR] Kynkaanniemi et al., Improved Precision and Recall Metric for Assessing Generative Models,
    2019. arXiv:1904.06991
    [WILSON] Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
"""

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor
from torch_fidelity.metric_prc import calculate_precision_recall_part
from typing_extensions import override

from benchmarks.metrics.resampling import NORMAL_QUANTILE, estimate, group_labels, jackknife
from benchmarks.metrics.state import CropMetric, Figures

__all__ = ["PrecisionRecall", "precision_recall"]

NEIGHBOURS = 3  # as in [PR]
GROUPS = 50  # left out one by one
BLOCK = 1000  # rows of a matrix of distances at once: bounds memory


class PrecisionRecall(CropMetric):
    """`precision` and `recall`; their intervals leave groups of canvases out.

    Resamples in which canvases are repeated would be wrong: a ball that reaches to a copy of
    its own centre is empty. Where no canvas, or every one, is inside, they tell nothing, and the
    interval of [WILSON] stands in.

    Costs samples x (samples + reference) distances, twice, and 50 comparisons of each.
    """

    @override
    def compute(self) -> Figures:
        rows = self.sorted_rows()
        if len(rows) < NEIGHBOURS + 2:
            raise ValueError(
                f"{NEIGHBOURS + 2} canvases are needed, so that without one there are neighbours, "
                f"got {len(rows)}."
            )
        reference = self.reference.to(rows)
        groups = min(GROUPS, len(rows))
        labels = group_labels(len(rows), groups, seed=self.seed)
        deleted = _without_each_group(rows, reference, labels.to(rows.device), groups)
        figures: Figures = {}
        values = precision_recall(rows, reference)
        for name, value, shares in zip(("precision", "recall"), values, deleted, strict=True):
            _, deviation = jackknife(value, shares, labels.bincount())
            margin = NORMAL_QUANTILE * deviation
            if value in (0.0, 1.0):
                margin = max(margin, NORMAL_QUANTILE**2 / (len(rows) + NORMAL_QUANTILE**2))
            figures[name] = estimate(value, margin, lowest=0.0, highest=1.0)
        return figures


def precision_recall(
    features: Float[Tensor, "samples dimensions"],
    reference: Float[Tensor, "reference_samples dimensions"],
) -> tuple[float, float]:
    """Returns precision and recall, each in [0, 1].

    Raises:
        ValueError: If either set has too few rows to have third neighbours.
    """
    for name, rows in (("features", features), ("reference", reference)):
        if len(rows) <= NEIGHBOURS:
            raise ValueError(f"balls need at least {NEIGHBOURS + 1} {name}, got {len(rows)}.")
    sets = (features.double(), reference.to(features.device, torch.float64))
    shares = calculate_precision_recall_part(*sets, neighborhood=NEIGHBOURS, batch_size=BLOCK)
    # They come as float32: back to what was counted.
    precision, recall = (
        round(share * len(rows)) / len(rows) for share, rows in zip(shares, sets, strict=True)
    )
    return precision, recall


def _without_each_group(
    features: Float64[Tensor, "samples dimensions"],
    reference: Float64[Tensor, "reference_samples dimensions"],
    labels: Int64[Tensor, " samples"],
    groups: int,
) -> tuple[Float64[Tensor, " groups"], Float64[Tensor, " groups"]]:
    """Returns precision and recall of what is left without group k."""
    sizes = labels.bincount(minlength=groups)
    inside = _is_in_a_ball(features, reference, _radii(reference)[:, None])[:, 0]
    left_inside = inside.sum() - torch.bincount(labels[inside], minlength=groups)
    precision = left_inside.double() / (len(features) - sizes)
    # Radius of ball i without group k; a ball of that group is none.
    radii = _radii_without_each_group(features, labels, groups)
    radii[torch.arange(len(features), device=labels.device), labels] = -1
    return precision, _is_in_a_ball(reference, features, radii).double().mean(0)


def _radii(rows: Float64[Tensor, "samples dimensions"]) -> Float64[Tensor, " samples"]:
    """Distance of every vector to its third neighbour, itself not counted."""
    return torch.cat(
        [torch.cdist(block, rows).kthvalue(NEIGHBOURS + 1).values for block in rows.split(BLOCK)]
    )


def _radii_without_each_group(
    rows: Float64[Tensor, "samples dimensions"], labels: Int64[Tensor, " samples"], groups: int
) -> Float64[Tensor, "samples groups"]:
    """The same with the members of group k left out of the neighbours.

    The nearest four without a group are among the nearest four of each of the others.
    """
    order = labels.argsort(stable=True)
    sizes = labels.bincount(minlength=groups)
    depth = int(sizes.max())
    places = torch.arange(len(rows), device=rows.device) - (sizes.cumsum(0) - sizes)[labels[order]]
    nearest = min(NEIGHBOURS + 1, depth)
    radii = []
    for block in rows.split(BLOCK):
        distances = torch.full_like(block[:, :1, None], torch.inf).repeat(1, groups, depth)
        distances[:, labels[order], places] = torch.cdist(block, rows[order])
        of_groups = distances.topk(nearest, largest=False).values
        radii.append(
            torch.stack(
                [
                    torch.cat([of_groups[:, :group], of_groups[:, group + 1 :]], dim=1)
                    .flatten(1)
                    .kthvalue(NEIGHBOURS + 1)
                    .values
                    for group in range(groups)
                ],
                dim=1,
            )
        )
    return torch.cat(radii)


def _is_in_a_ball(
    rows: Float64[Tensor, "rows dimensions"],
    centres: Float64[Tensor, "centres dimensions"],
    radii: Float64[Tensor, "centres sets"],
) -> Bool[Tensor, "rows sets"]:
    """Whether a row is in any of the balls, for each set of radii."""
    inside = []
    for block in rows.split(BLOCK):
        distances = torch.cdist(block, centres)
        inside.append(torch.stack([(distances <= reach).any(1) for reach in radii.T], dim=1))
    return torch.cat(inside)
