import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.image.kid import poly_mmd

from benchmarks.metrics import kernel
from benchmarks.metrics.features import FeatureNetwork, RandomConv
from benchmarks.metrics.kernel import KernelDistance
from benchmarks.metrics.resampling import bootstrap_counts


def normal(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


class Lookup(FeatureNetwork):
    """Image k, whose pixels are all k, has row k of what it was given."""

    name, fingerprint, resizer, chunk = "lookup", "", "none", 256

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features
        self.dimensions, self.dtype = features.shape[1], features.dtype

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return self.features[images[:, 0, 0, 0].long()]


def metric_of(features: torch.Tensor, reference: torch.Tensor) -> KernelDistance:
    metric = KernelDistance(Lookup(features), reference=reference)
    indices = torch.arange(len(features))
    metric.update(indices.byte().view(-1, 1, 1, 1).expand(-1, 3, 2, 2), indices)
    return metric


def kernel_distance(features: torch.Tensor, reference: torch.Tensor) -> float:
    return metric_of(features, reference).compute()["kid"].value


def distance_alone(features: torch.Tensor, reference: torch.Tensor) -> float:
    """The same without the interval, which costs most of the time."""
    once = torch.ones(1, len(features), dtype=torch.float64)
    return kernel._distances(features, reference, once).item()


def polynomial(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


@pytest.mark.parametrize("block", [7, 512])
def test_equal_to_other_implementations(block, monkeypatch):
    monkeypatch.setattr(kernel, "BLOCK", block)
    features, reference = 0.3 + 1.4 * normal(60, 9, seed=0), normal(60, 9, seed=1)
    distance = kernel_distance(features, reference)
    assert distance == pytest.approx(poly_mmd(reference, features).item(), rel=1e-10)
    of_one_subset = kid_features_to_metric(
        features, reference, kid_subsets=1, kid_subset_size=60, verbose=False
    )
    assert distance == pytest.approx(of_one_subset["kernel_inception_distance_mean"], rel=1e-10)


def test_sets_of_unequal_size_by_the_definition():
    features, reference = normal(4, 3, seed=2), normal(6, 3, seed=3)
    within = polynomial(features, features)
    within_ref = polynomial(reference, reference)
    expected = (
        sum(within[i, j] for i in range(4) for j in range(4) if i != j) / 12
        + sum(within_ref[i, j] for i in range(6) for j in range(6) if i != j) / 30
        - 2 * polynomial(features, reference).mean()
    )
    assert kernel_distance(features, reference) == pytest.approx(expected.item(), rel=1e-12)


def test_no_bias_at_any_number_of_samples():
    reference = normal(500, 4, seed=4)
    few = [distance_alone(normal(3, 4, seed=100 + run), reference) for run in range(3000)]
    many = distance_alone(normal(4000, 4, seed=5), reference)
    # Standard deviation of three samples' figure: about 1, so of the mean of 3000: 0.02.
    assert torch.tensor(few).std() < 2
    assert sum(few) / len(few) == pytest.approx(many, abs=0.1)


def test_float32_features_are_computed_in_float64():
    features, reference = (normal(50, 8, seed=seed).float() for seed in (6, 7))
    exact = kernel_distance(features.double(), reference.double())
    assert kernel_distance(features, reference) == exact


def test_a_resample_leaves_out_pairs_of_a_canvas_with_itself():
    features, reference = normal(5, 3, seed=8), normal(7, 3, seed=9)
    counts = torch.tensor([[2.0, 0, 1, 2, 0]], dtype=torch.float64)
    taken = [0, 0, 2, 3, 3]
    matrix, cross = polynomial(features, features), polynomial(features, reference).mean(1)
    pairs = [(i, j) for i in taken for j in taken if i != j]
    within = sum(matrix[i, j] for i, j in pairs) / len(pairs)
    without_counts = kernel_distance(features, reference)
    of_reference = without_counts - (matrix.sum() - matrix.trace()) / 20 + 2 * cross.mean()
    expected = within + of_reference - 2 * sum(cross[i] for i in taken) / 5
    distance = kernel._distances(features, reference, counts)
    assert distance.item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_metric_is_the_distance_of_its_crops_features():
    network = RandomConv()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (30, 3, 12, 12), dtype=torch.uint8, generator=generator)
    reference = network(images[:10].flip(-1) // 2)
    metric = KernelDistance(network, reference=reference, seed=5)
    metric.update(images[10:], torch.arange(20))
    kid = metric.compute()["kid"]
    features = network(images[10:])
    assert kid.value == pytest.approx(kernel_distance(features, reference), rel=1e-12)
    resampled = [
        kernel._distances(features, reference, row[None]).item()
        for row in bootstrap_counts(20, seed=5)
    ]
    margin = 1.959964 * torch.tensor(resampled).std().item()
    assert (kid.low, kid.high) == pytest.approx((kid.value - margin, kid.value + margin))


@pytest.mark.parametrize("counts", [(1, 5), (5, 1)])
def test_too_few_rows_are_refused(counts):
    with pytest.raises(ValueError, match=r"at least 2 (canvases|rows)"):
        kernel_distance(*(torch.zeros(count, 3) for count in counts))
