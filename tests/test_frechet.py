import pytest
import torch
from torch import nn
from torch_fidelity import calculate_metrics
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchvision.transforms.functional import to_pil_image

from benchmarks.metrics import frechet
from benchmarks.metrics.crops import square_crops
from benchmarks.metrics.estimates import Estimate
from benchmarks.metrics.features import Inception, RandomConv
from benchmarks.metrics.frechet import (
    FrechetDistance,
    frechet_distance,
    frechet_with_interval,
)
from benchmarks.metrics.resampling import group_labels, jackknife
from sampling.noise import seed_of


def normal(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def frechet_limit(features: torch.Tensor, reference: torch.Tensor, *, seed: int = 0) -> Estimate:
    """`fid_plus_limit`, of rows too few for a network's dimensions."""
    comparison = frechet._Comparison.of(features, reference)
    return frechet._LeftOut.of(comparison, frechet.GROUPS, seed).limit()


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
    found = frechet_with_interval(features, reference, groups=400)
    # The delta method on (mean - mean_ref)^2 + (std - std_ref)^2, with var(mean) = std^2 / n and
    # var(std) = std^2 / 2n. Of 400 groups a deviation is known to 3.5 %: allow 15 %.
    of_mean, of_std = 2 * (mean - mean_ref), 2 * (std - std_ref)
    error = (of_mean**2 * std**2 / count + of_std**2 * std**2 / (2 * count)) ** 0.5
    assert found.value == pytest.approx(2.0)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.15)
    assert (found.high + found.low) / 2 == pytest.approx(found.value)


def test_interval_covers_what_other_canvases_would_have_given():
    reference = normal(2000, 6, seed=12)
    runs = [
        frechet_with_interval(0.5 + 1.3 * normal(150, 6, seed=100 + run), reference, groups=40)
        for run in range(200)
    ]
    expected = sum(run.value for run in runs) / len(runs)
    covered = sum(run.low <= expected <= run.high for run in runs) / len(runs)
    # 200 runs: the standard error of a coverage of 0.95 is 0.015.
    assert covered == pytest.approx(0.95, abs=0.05)


def test_interval_is_about_the_value_and_repeats_by_seed():
    features, reference = normal(60, 20, seed=13), normal(90, 20, seed=14)
    first = frechet_with_interval(features, reference, groups=10, seed=3)
    assert first.value == frechet_distance(features, reference)
    assert first.low < first.value < first.high
    assert frechet_with_interval(features, reference, groups=10, seed=3) == first
    assert frechet_with_interval(features, reference, groups=10, seed=4) != first


def test_no_distance_is_below_zero_and_no_interval_reaches_there():
    found = frechet_with_interval(normal(60, 1, seed=21), normal(2000, 1, seed=22))
    assert 0 < found.value < found.high - found.value
    assert found.low == 0.0


def test_resampling_leaves_the_callers_random_state_alone():
    before = torch.get_rng_state()
    frechet_with_interval(normal(10, 2, seed=0), normal(10, 2, seed=1), groups=2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("counts", [(1, 5), (0, 5), (5, 1)])
def test_too_few_samples_are_refused(counts):
    features, reference = (torch.zeros(count, 3) for count in counts)
    with pytest.raises(ValueError, match=r"at least 2 (features|reference), got [01]"):
        frechet_distance(features, reference)


def test_differing_dimensions_are_refused():
    with pytest.raises(ValueError, match="dimensions, got 3 and 4"):
        frechet_distance(torch.zeros(5, 3), torch.zeros(5, 4))


def test_features_that_are_not_finite_are_refused():
    features = normal(5, 3, seed=0)
    features[2, 1] = float("nan")
    with pytest.raises(ValueError, match="features must be finite"):
        frechet_distance(features, normal(5, 3, seed=1))


def test_too_few_groups_are_refused():
    with pytest.raises(ValueError, match=r"groups .* got 1"):
        frechet_with_interval(normal(5, 3, seed=0), normal(5, 3, seed=1), groups=1)


def test_an_interval_needs_three_canvases():
    with pytest.raises(ValueError, match="got 2 in all"):
        frechet_with_interval(normal(2, 3, seed=0), normal(5, 3, seed=1))
    three = frechet_with_interval(normal(3, 3, seed=0), normal(5, 3, seed=1))
    assert three.low < three.value < three.high < float("inf")


def test_the_limit_has_no_bias_where_the_distance_has():
    mean, std, dimensions = 0.5, 1.3, 6
    reference = normal(4000, dimensions, seed=12)
    many = mean + std * normal(200_000, dimensions, seed=15)
    expected = frechet_distance(many, reference)
    runs = [mean + std * normal(50, dimensions, seed=100 + run) for run in range(200)]
    distances = torch.tensor([frechet_distance(run, reference) for run in runs])
    limits = torch.tensor([frechet_limit(run, reference).value for run in runs])
    error = limits.std().item() / len(runs) ** 0.5
    assert distances.mean().item() - expected > 6 * error
    # What is left is of second order, about a tenth of an error here.
    assert limits.mean().item() == pytest.approx(expected, abs=3 * error)


def test_the_interval_of_the_limit_is_the_jackknifes_widened_by_the_gap_to_halves():
    features, reference = 0.3 + normal(40, 5, seed=16), normal(70, 5, seed=17)
    value = frechet_distance(features, reference)
    labels = group_labels(40, 40, seed=7)
    deleted = [frechet_distance(features[labels != group], reference) for group in range(40)]
    limit, deviation = jackknife(
        value, torch.tensor(deleted, dtype=torch.float64), labels.bincount()
    )
    halves = []
    for halving in range(8):
        labels = group_labels(40, 2, seed=seed_of(7, "halves", halving))
        halves += [frechet_distance(features[labels == half], reference) for half in range(2)]
    gap = abs(limit - (2 * value - sum(halves) / len(halves)))
    found = frechet_limit(features, reference, seed=7)
    assert found.value == pytest.approx(limit, rel=1e-9)
    assert found.high - limit == pytest.approx(1.959964 * deviation + gap, rel=1e-9)
    assert limit - found.low == pytest.approx(1.959964 * deviation + gap, rel=1e-9)
    assert gap > 0.01 * deviation


def test_the_limit_of_groups_of_several():
    features, reference = 0.3 + normal(230, 3, seed=18), normal(70, 3, seed=19)
    labels = group_labels(230, 50, seed=0)
    deleted = [frechet_distance(features[labels != group], reference) for group in range(50)]
    limit, _ = jackknife(
        frechet_distance(features, reference),
        torch.tensor(deleted, dtype=torch.float64),
        labels.bincount(),
    )
    assert frechet_limit(features, reference).value == pytest.approx(limit, rel=1e-9)


def test_the_limit_needs_two_rows_in_either_half():
    with pytest.raises(ValueError, match=r"halves .* got 3 in all"):
        frechet_limit(normal(3, 2, seed=0), normal(9, 2, seed=1))


def noise(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 12, 30), dtype=torch.uint8, generator=generator)


def test_the_metric_is_the_distance_of_one_crop_a_canvas():
    network = RandomConv()
    canvases, indices = noise(40, seed=0), torch.arange(100, 140)
    reference = network(noise(60, seed=1)[..., 9:21])
    metric = FrechetDistance(network, reference=reference, seed=3)
    metric.update(canvases, indices)
    features = network(square_crops(canvases, indices, seed=3))
    expected = frechet_with_interval(features, reference, seed=3)
    # 40 canvases are too few for a limit in 146 dimensions.
    assert metric.compute() == {"fid_plus": expected}


def test_the_metric_has_a_limit_of_many_canvases():
    network = RandomConv()
    squares = noise(300, seed=4)[..., :12]
    reference = network(noise(60, seed=5)[..., :12])
    metric = FrechetDistance(network, reference=reference, seed=3)
    metric.update(squares[:291], torch.arange(291))
    assert set(metric.compute()) == {"fid_plus"}
    metric.update(squares[291:292], torch.tensor([291]))
    figures = metric.compute()
    assert figures["fid_plus_limit"] == frechet_limit(network(squares[:292]), reference, seed=3)
    assert figures["fid_plus"] == frechet_with_interval(network(squares[:292]), reference, seed=3)


def test_a_set_of_squares_has_no_distance_to_itself():
    network, squares = RandomConv(), noise(50, seed=2)[..., :12]
    metric = FrechetDistance(network, reference=network(squares).flip(0))
    metric.update(squares, torch.arange(50))
    assert metric.compute()["fid_plus"].value == pytest.approx(0, abs=1e-6)


def test_equal_to_other_implementations_from_the_images_on(tmp_path, inception_weights):
    # 32 px are resized to 299: smooth, or there would be nothing to see.
    coarse = normal(6, 3, 4, 4, seed=20)
    smooth = nn.functional.interpolate(coarse, size=32, mode="bicubic")
    shift = torch.tensor([110.0] * 3 + [140.0] * 3).view(-1, 1, 1, 1)
    images = (shift + 50 * smooth).round().clamp(0, 255).to(torch.uint8)
    fake, real = images[:3], images[3:]
    for name, part in (("fake", fake), ("real", real)):
        (tmp_path / name).mkdir()
        for index, image in enumerate(part):
            to_pil_image(image).save(tmp_path / name / f"{index}.png")

    network = Inception(inception_weights)
    network.chunk = 2
    metric = FrechetDistance(network, reference=network(real))
    metric.update(fake, torch.arange(3))
    value = metric.compute()["fid_plus"].value

    torch_fidelitys = calculate_metrics(
        input1=str(tmp_path / "fake"),
        input2=str(tmp_path / "real"),
        fid=True,
        feature_extractor_weights_path=str(inception_weights),
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )["frechet_inception_distance"]
    torchmetrics_metric = FrechetInceptionDistance(
        feature=2048, feature_extractor_weights_path=str(inception_weights), antialias=False
    )
    torchmetrics_metric.update(real, real=True)
    torchmetrics_metric.update(fake, real=False)
    # The networks run in float32, in batches of their own. With its default, antialias=True,
    # torchmetrics resizes otherwise than the original network does: 2 % more on these images.
    assert value == pytest.approx(torch_fidelitys, rel=1e-4)
    assert value == pytest.approx(torchmetrics_metric.compute().item(), rel=1e-4)
