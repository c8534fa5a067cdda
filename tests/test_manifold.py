import pytest
import torch
from torch_fidelity.metric_prc import prc_features_to_metric

from benchmarks.metrics import manifold
from benchmarks.metrics.features import FeatureNetwork, RandomConv
from benchmarks.metrics.manifold import PrecisionRecall, precision_recall
from benchmarks.metrics.resampling import group_labels, jackknife


def normal(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def torch_fidelitys(features: torch.Tensor, reference: torch.Tensor) -> tuple[float, float]:
    figures = prc_features_to_metric(
        features, reference, prc_neighborhood=3, verbose=False, save_cpu_ram=False
    )
    return figures["precision"], figures["recall"]


def test_known_balls_on_a_line():
    # Third neighbours are 3 away at the ends and 2 between: real balls cover [-3, 7].
    real = torch.arange(5.0)[:, None]
    generated = torch.tensor([-3.5, -3.0, 1.0, 6.5, 7.5])[:, None]
    # The third neighbour of the generated 1 is 5.5 away: its ball alone holds all real ones.
    precision, recall = precision_recall(generated, real)
    assert precision == pytest.approx(3 / 5)
    assert recall == 1.0


def test_a_lost_mode_costs_recall_and_a_wrong_one_precision():
    here, there = normal(200, 3, seed=0), 100 + normal(200, 3, seed=1)
    both = torch.cat([here, there])
    precision, recall = precision_recall(normal(200, 3, seed=2), both)
    assert precision > 0.85
    assert 0.4 < recall < 0.5
    precision, recall = precision_recall(torch.cat([normal(200, 3, seed=3), there]), here)
    assert 0.4 < precision < 0.5
    assert recall > 0.85


def test_equal_sets_have_both():
    features = normal(40, 5, seed=4)
    assert precision_recall(features, features.flip(0)) == (1.0, 1.0)


@pytest.mark.parametrize("block", [7, 1000])
def test_each_group_left_out_is_as_if_it_had_never_been(block, monkeypatch):
    monkeypatch.setattr(manifold, "BLOCK", block)
    features, reference = 1.5 * normal(23, 4, seed=5), normal(31, 4, seed=6)
    labels = group_labels(23, 6, seed=0)
    precision, recall = manifold._without_each_group(features, reference, labels, 6)
    for group in range(6):
        expected = torch_fidelitys(features[labels != group], reference)
        # Theirs are means in float32.
        assert (precision[group].item(), recall[group].item()) == pytest.approx(expected, rel=1e-6)
    assert len(set(recall.tolist())) > 1


def test_the_metric_is_torch_fidelitys_with_a_jackknifes_interval():
    network = RandomConv()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (60, 3, 12, 12), dtype=torch.uint8, generator=generator)
    reference = network(images[:25])
    metric = PrecisionRecall(network, reference=reference, seed=2)
    metric.update(images[25:], torch.arange(35))
    figures = metric.compute()
    features = network(images[25:])
    values = torch_fidelitys(features, reference)
    assert (figures["precision"].value, figures["recall"].value) == pytest.approx(values)
    labels = group_labels(35, 35, seed=2)
    deleted = [torch_fidelitys(features[labels != group], reference)[1] for group in range(35)]
    _, deviation = jackknife(
        values[1], torch.tensor(deleted, dtype=torch.float64), labels.bincount()
    )
    recall = figures["recall"]
    assert deviation > 0
    assert recall.high == pytest.approx(min(1.0, values[1] + 1.959964 * deviation), rel=1e-4)
    assert recall.low == pytest.approx(max(0.0, values[1] - 1.959964 * deviation), rel=1e-4)


def test_the_interval_of_precision_is_that_of_a_share():
    # Left out one by one, zeros and ones have the standard error of a mean.
    inside = torch.tensor([0.0] * 15 + [1.0] * 25, dtype=torch.float64)
    features = torch.where(inside.bool(), 0.0, 100.0)[:, None] + 1e-3 * normal(40, 1, seed=7)
    labels = group_labels(40, 40, seed=0)
    precision, _ = manifold._without_each_group(features, normal(50, 1, seed=8), labels, 40)
    _, deviation = jackknife(25 / 40, precision, labels.bincount())
    assert deviation == pytest.approx((25 / 40 * 15 / 40 / 39) ** 0.5)


class Red(FeatureNetwork):
    """The mean red level."""

    name = "red"
    fingerprint = "red"
    dimensions = 1
    chunk = 100

    def embed(self, images):
        return images[:, :1].double().mean((2, 3))


def test_no_share_is_above_one():
    levels = torch.tensor([*range(80, 119), 250], dtype=torch.uint8)
    metric = PrecisionRecall(Red(), reference=torch.arange(80.0, 120.0)[:, None])
    metric.update(levels.view(-1, 1, 1, 1).expand(-1, 3, 4, 4), torch.arange(40))
    precision = metric.compute()["precision"]
    # 0.975 +- 1.96 x 0.025.
    assert (precision.value, precision.high) == (pytest.approx(39 / 40), 1.0)
    assert precision.low == pytest.approx(39 / 40 - 1.959964 * 0.025, abs=1e-6)


@pytest.mark.parametrize("counts", [(3, 9), (9, 3)])
def test_too_few_rows_are_refused(counts):
    with pytest.raises(ValueError, match=r"at least 4 (features|reference), got 3"):
        precision_recall(*(torch.zeros(count, 2) for count in counts))


def test_too_few_canvases_are_refused():
    network = RandomConv()
    images = torch.zeros(6, 3, 12, 12, dtype=torch.uint8)
    metric = PrecisionRecall(network, reference=network(images))
    metric.update(images[:4], torch.arange(4))
    with pytest.raises(ValueError, match=r"5 canvases are needed, .* got 4"):
        metric.compute()
