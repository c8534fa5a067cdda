import pytest
import torch
from torch import nn
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance

from benchmarks.frechet import frechet_distance, frechet_with_interval


def normal(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def samples_of(mean: torch.Tensor, cov: torch.Tensor, *, count: int, seed: int) -> torch.Tensor:
    """Samples whose own mean and covariance are exactly these."""
    drawn = normal(count, len(mean), seed=seed)
    drawn = drawn - drawn.mean(0)
    own_cov = drawn.T @ drawn / (count - 1)
    white = drawn @ torch.linalg.inv(torch.linalg.cholesky(own_cov)).T
    return mean + white @ torch.linalg.cholesky(cov.double()).T


class Identity(nn.Module):
    """Lets torchmetrics take features for images."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features):
        return features


def torchmetrics_distance(features: torch.Tensor, reference: torch.Tensor) -> float:
    metric = FrechetInceptionDistance(feature=Identity(features.shape[1])).set_dtype(torch.float64)
    metric.update(reference, real=True)
    metric.update(features, real=False)
    return metric.compute().item()


def torch_fidelity_distance(features: torch.Tensor, reference: torch.Tensor) -> float:
    statistics = [fid_features_to_statistics(rows) for rows in (features, reference)]
    return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


def test_closed_form_of_commuting_covariances():
    std, std_ref = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([3.0, 2.0, 1.0]).double()
    mean, mean_ref = torch.tensor([0.0, 1.0, 5.0]).double(), torch.tensor([2.0, 1.0, 4.0]).double()
    distance = frechet_distance(
        samples_of(mean, std.square().diag(), count=50, seed=0),
        samples_of(mean_ref, std_ref.square().diag(), count=80, seed=1),
    )
    assert distance == pytest.approx((4 + 0 + 1) + (4 + 0 + 0.25), rel=1e-9)


def test_closed_form_in_the_plane():
    cov = torch.tensor([[2.0, 0.9], [0.9, 1.0]]).double()
    cov_ref = torch.tensor([[1.0, -0.7], [-0.7, 3.0]]).double()
    mean = torch.zeros(2).double()
    distance = frechet_distance(
        samples_of(mean, cov, count=40, seed=2), samples_of(mean, cov_ref, count=60, seed=3)
    )
    # The square root of a 2 x 2 matrix M has trace sqrt(tr M + 2 sqrt(det M)).
    product = cov @ cov_ref
    root_trace = (product.trace() + 2 * product.det().sqrt()).sqrt()
    assert distance == pytest.approx((cov.trace() + cov_ref.trace() - 2 * root_trace).item())


@pytest.mark.parametrize("count", [20, 300], ids=["fewer than dimensions", "more"])
@pytest.mark.parametrize("other", [torchmetrics_distance, torch_fidelity_distance])
def test_equal_to_other_implementations(other, count):
    mixing = normal(40, 40, seed=4)
    features = normal(count, 40, seed=5) @ mixing + 0.3
    reference = normal(250, 40, seed=6) @ (mixing + 0.2 * normal(40, 40, seed=7))
    # Theirs is the root of a product that is not symmetric: good to about 1e-6 when singular.
    expected = other(features, reference)
    assert frechet_distance(features, reference) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("count", [10, 200])
def test_equal_sets_have_no_distance(count):
    features = normal(count, 30, seed=8)
    assert frechet_distance(features, features.flip(0)) == pytest.approx(0, abs=1e-6)


def test_float32_features_are_computed_in_float64():
    # A large common offset costs float32 all its digits.
    features, reference = normal(100, 8, seed=9), normal(100, 8, seed=10)
    exact = frechet_distance(features, reference)
    shifted = [(1000 + rows).float() for rows in (features, reference)]
    # Storing 1000 + x in float32 keeps x to 3e-5.
    assert frechet_distance(*shifted) == pytest.approx(exact, rel=1e-3)


def test_interval_has_the_closed_form_of_one_dimension():
    mean, std, mean_ref, std_ref, count = 1.0, 2.0, 0.0, 1.0, 4000
    features = samples_of(torch.tensor([mean]), torch.tensor([[std**2]]), count=count, seed=11)
    reference = samples_of(torch.tensor([mean_ref]), torch.tensor([[std_ref**2]]), count=99, seed=1)
    value, low, high = frechet_with_interval(features, reference, resamples=400)
    # The delta method on (mean - mean_ref)^2 + (std - std_ref)^2, with var(mean) = std^2 / n and
    # var(std) = std^2 / 2n. Of 400 resamples a deviation is known to 3.5 %: allow 15 %.
    of_mean, of_std = 2 * (mean - mean_ref), 2 * (std - std_ref)
    error = (of_mean**2 * std**2 / count + of_std**2 * std**2 / (2 * count)) ** 0.5
    assert value == pytest.approx(2.0)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.15)
    assert (high + low) / 2 == pytest.approx(value)


def test_interval_covers_what_other_canvases_would_have_given():
    reference = normal(2000, 6, seed=12)
    runs = [
        frechet_with_interval(0.5 + 1.3 * normal(150, 6, seed=100 + run), reference, resamples=40)
        for run in range(200)
    ]
    expected = sum(value for value, _, _ in runs) / len(runs)
    covered = sum(low <= expected <= high for _, low, high in runs) / len(runs)
    # 200 runs: the standard error of a coverage of 0.95 is 0.015.
    assert covered == pytest.approx(0.95, abs=0.05)


def test_interval_is_about_the_value_and_repeats_by_seed():
    features, reference = normal(60, 20, seed=13), normal(90, 20, seed=14)
    first = frechet_with_interval(features, reference, resamples=10, seed=3)
    assert first[0] == frechet_distance(features, reference)
    assert first[1] < first[0] < first[2]
    assert frechet_with_interval(features, reference, resamples=10, seed=3) == first
    assert frechet_with_interval(features, reference, resamples=10, seed=4) != first


def test_resampling_leaves_the_callers_random_state_alone():
    before = torch.get_rng_state()
    frechet_with_interval(normal(10, 2, seed=0), normal(10, 2, seed=1), resamples=2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("counts", [(1, 5), (0, 5), (5, 1)])
def test_too_few_samples_are_refused(counts):
    features, reference = (torch.zeros(count, 3) for count in counts)
    with pytest.raises(ValueError, match=r"at least 2 (features|reference), got [01]"):
        frechet_distance(features, reference)


def test_differing_dimensions_are_refused():
    with pytest.raises(ValueError, match="same dimensions, got 3 and 4"):
        frechet_distance(torch.zeros(5, 3), torch.zeros(5, 4))


def test_features_that_are_not_finite_are_refused():
    features = normal(5, 3, seed=0)
    features[2, 1] = float("nan")
    with pytest.raises(ValueError, match="features must be finite"):
        frechet_distance(features, normal(5, 3, seed=1))


def test_too_few_resamples_are_refused():
    with pytest.raises(ValueError, match="resamples must be at least 2, got 1"):
        frechet_with_interval(normal(5, 3, seed=0), normal(5, 3, seed=1), resamples=1)
