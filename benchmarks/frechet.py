"""The Frechet distance between two sets of features, and how far to trust it.

The squared 2-Wasserstein distance of the Gaussians fitted to both sets, [FID] Eq. (6):

    |mean - mean_ref|^2 + tr(cov + cov_ref - 2 (cov cov_ref)^(1/2)).

Everything is float64. With `cov_ref = root root^T`, the trace of the square root is the sum of the
square roots of the eigenvalues of the symmetric matrix `root^T cov root`: real by construction,
where the textbook's square root of a product of covariances is complex by rounding.

The figure is biased upwards by about 1 / samples, so only figures from equally many samples
and the same reference are comparable.

References:
    [FID] Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
    Equilibrium, 2017. arXiv:1706.08500
    [BIAS] Chong and Forsyth, Effectively Unbiased FID and Inception Score and where to find them,
    2020. arXiv:1911.07023
    [BOOT] Efron and Tibshirani, An Introduction to the Bootstrap, 1993, Sec. 13.3.
"""

import dataclasses

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

__all__ = ["frechet_distance", "frechet_with_interval"]

NORMAL_QUANTILE = 1.959964  # of 97.5 %: a two-sided 95 % interval


def frechet_distance(
    features: Float[Tensor, "samples dimensions"],
    reference: Float[Tensor, "reference_samples reference_dimensions"],
) -> float:
    """Returns the distance, in squared units of the features; 0 for equal means and covariances.

    Exact for any number of samples from 2 up, fewer than dimensions included.

    Raises:
        ValueError: If either set has fewer than 2 samples or a value that is not finite, or if
            their dimensions differ.
    """
    return _Comparison.of(features, reference).distance().item()


def frechet_with_interval(
    features: Float[Tensor, "samples dimensions"],
    reference: Float[Tensor, "reference_samples reference_dimensions"],
    *,
    resamples: int = 100,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Returns the distance and its 95 % interval, `(value, low, high)`, by resampling canvases.

    Row k of `features` must be the one crop of canvas k, so that rows are independent. The
    interval is `value +- 1.96 s`, where `s` is the standard deviation over bootstrap resamples
    ([BOOT] Sec. 13.3), and no percentile of them: a resample holds only 63 % of the canvases, so
    its distance is biased upwards a second time, often past `high`. That shift leaves the spread
    alone. `low` is never negative, as no distance is.

    It covers what other canvases, as many, would have given. It does not cover the choice of the
    reference, which is held fixed, nor the bias of a finite number of canvases ([BIAS]).

    A resample costs an eigenvalue problem of size min(samples, dimensions).

    Raises:
        ValueError: As `frechet_distance`; also if there are fewer than 2 resamples.
    """
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2, got {resamples}.")
    comparison = _Comparison.of(features, reference)
    generator = torch.Generator().manual_seed(seed)
    samples = len(features)
    resampled = []
    for _ in range(resamples):
        rows = torch.randint(samples, (samples,), generator=generator)
        resampled.append(comparison.distance(rows.bincount(minlength=samples)))
    value = comparison.distance().item()
    margin = NORMAL_QUANTILE * torch.stack(resampled).std().item()
    return value, max(0.0, value - margin), value + margin


@dataclasses.dataclass(frozen=True)
class _Comparison:
    """Features seen from a reference, with all that resampling them does not change.

    Attributes:
        offsets: Features minus the reference's mean.
        projected: `offsets @ root`, with `cov_ref = root @ root.T`.
        trace_ref: Trace of `cov_ref`.
    """

    offsets: Float64[Tensor, "samples dimensions"]
    projected: Float64[Tensor, "samples rank"]
    trace_ref: Float64[Tensor, ""]

    @classmethod
    def of(
        cls,
        features: Float[Tensor, "samples dimensions"],
        reference: Float[Tensor, "reference_samples reference_dimensions"],
    ) -> "_Comparison":
        """Refuses what cannot be compared; computes in float64 on the features' device."""
        if features.shape[1] != reference.shape[1]:
            raise ValueError(
                "features and reference must have the same dimensions, got "
                f"{features.shape[1]} and {reference.shape[1]}."
            )
        for name, rows in (("features", features), ("reference", reference)):
            if len(rows) < 2:
                raise ValueError(f"a covariance needs at least 2 {name}, got {len(rows)}.")
            if not rows.isfinite().all():
                raise ValueError(f"{name} must be finite, got NaN or infinity.")
        reference = reference.to(features.device, torch.float64)
        mean_ref = reference.mean(0)
        offsets = features.double() - mean_ref
        # cov_ref = R^T R with the triangle R of a QR decomposition: at most `dimensions` rows.
        root = torch.linalg.qr(reference - mean_ref, mode="r").R.T / (len(reference) - 1) ** 0.5
        return cls(offsets, offsets @ root, root.square().sum())

    def distance(self, counts: Int64[Tensor, " samples"] | None = None) -> Float64[Tensor, ""]:
        """Returns the distance with row k taken `counts[k]` times; once, if None."""
        samples = len(self.offsets)
        if counts is None:
            counts = torch.ones(samples, dtype=torch.int64)
        taken = counts.nonzero().squeeze(1).to(self.offsets.device)
        weights = counts.to(self.offsets)[taken, None]
        offsets, projected = self.offsets[taken], self.projected[taken]
        mean = (weights * offsets).sum(0) / samples
        mean_projected = (weights * projected).sum(0) / samples
        scale = (weights / (samples - 1)).sqrt()
        trace = (scale * (offsets - mean)).square().sum()
        cross = _root_trace(scale * (projected - mean_projected))
        distance = mean.square().sum() + trace + self.trace_ref - 2 * cross
        return distance.clamp(min=0)  # equal sets may come out at -1e-16


def _root_trace(factor: Float64[Tensor, "rows columns"]) -> Float64[Tensor, ""]:
    """Returns tr((factor^T factor)^(1/2)), the sum of its singular values.

    Through the smaller of both Gram matrices: several times faster than singular values, and a
    value that is zero comes out below 1e-8 of the largest.
    """
    rows, columns = factor.shape
    gram = factor @ factor.T if rows < columns else factor.T @ factor
    return torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().sum()
