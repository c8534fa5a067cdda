"""95 % intervals, by resampling canvases: what other canvases, as many, would have given.

An interval is `value +- 1.96 s`, cut off where a figure cannot be. The deviation `s` is that of
bootstrap resamples ([BOOT] Sec. 13.3), and no percentile of them is used: a resample holds only
63 % of the canvases, which shifts a biased figure a second time. Where canvases that are repeated
would be wrong, as among nearest neighbours or in a covariance of many dimensions, `s` comes from
leaving groups of them out ([JACK]).

Everything is seeded, and rows come sorted by sample index: any number of processes draws the same.

References:
    [BOOT] Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
    [JACK] Busing, Meijer and Van der Leeden, Delete-m Jackknife for Unequal m, 1999. Statistics and
    Computing 9:3-8.
"""

import math

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from benchmarks.metrics.estimates import Estimate
from sampling.noise import seed_of

__all__ = ["bootstrap_counts", "estimate", "group_labels", "jackknife", "margins"]

NORMAL_QUANTILE = 1.959964  # of 97.5 %: a two-sided 95 % interval
RESAMPLES = 200  # a deviation is then known to 5 %


def bootstrap_counts(
    samples: int, *, resamples: int = RESAMPLES, seed: int
) -> Float64[Tensor, "resamples samples"]:
    """Returns how often each sample is in each resample: `samples` draws with replacement.

    Raises:
        ValueError: If there are fewer than 2 samples or resamples.
    """
    if samples < 2:
        raise ValueError(f"an interval needs at least 2 canvases, got {samples}.")
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2, got {resamples}.")
    generator = torch.Generator().manual_seed(seed_of(seed, "bootstrap"))
    counts = torch.zeros(resamples, samples, dtype=torch.float64)
    for row in counts:
        drawn = torch.randint(samples, (samples,), generator=generator)
        row += drawn.bincount(minlength=samples)
    return counts


def group_labels(samples: int, groups: int, *, seed: int) -> Int64[Tensor, " samples"]:
    """Returns the group of each sample, drawn at random; sizes differ by at most 1.

    Raises:
        ValueError: If a group would be empty, or there are fewer than 2.
    """
    if not 2 <= groups <= samples:
        raise ValueError(f"groups must be from 2 to {samples}, the canvases, got {groups}.")
    generator = torch.Generator().manual_seed(seed_of(seed, "groups"))
    return torch.randperm(samples, generator=generator) % groups


def jackknife(
    value: float, deleted: Float64[Tensor, " groups"], sizes: Int64[Tensor, " groups"]
) -> tuple[float, float]:
    """Returns the value freed of a bias c / samples, and the value's standard deviation.

    With h = samples / sizes and the pseudo-values `v = h value - (h - 1) deleted`, these are
    `sum v / h` and the root of `mean (v - corrected)^2 / (h - 1)` ([JACK]). The first is exact for
    a bias of that form, whatever the sizes.

    Args:
        value: The figure of all samples.
        deleted: The figure without group k.
        sizes: Samples of group k.
    """
    h = sizes.sum() / sizes.double().cpu()
    pseudo = h * value - (h - 1) * deleted.cpu()
    corrected = (pseudo / h).sum()
    variance = ((pseudo - corrected).square() / (h - 1)).mean()
    return corrected.item(), variance.sqrt().item()


def margins(resampled: Float64[Tensor, "resamples ..."]) -> Float64[Tensor, "..."]:
    """Returns 1.96 deviations over resamples; infinite where a resample is."""
    finite = resampled.isfinite().all(0)
    deviations = torch.where(finite, resampled, 0.0).std(0)
    return NORMAL_QUANTILE * deviations.masked_fill(~finite, math.inf)


def estimate(
    value: float, margin: float, *, lowest: float = -math.inf, highest: float = math.inf
) -> Estimate:
    """Returns `value +- margin`, cut off at what the figure can be; a point where it is infinite.

    >>> estimate(0.5, 1.0, lowest=0.0)
    Estimate(value=0.5, low=0.0, high=1.5)
    """
    if not math.isfinite(value):
        return Estimate(value, value, value)
    return Estimate(value, max(lowest, value - margin), min(highest, value + margin))
