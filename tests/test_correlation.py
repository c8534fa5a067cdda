import math

import pytest
import torch

from benchmarks.metrics.correlation import Autocorrelation
from benchmarks.metrics.resampling import bootstrap_counts
from denoisers.gaussian import GaussianField


def noise(count: int, height: int = 3, width: int = 20, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def field_images(count: int, length: float, seed: int, width: int = 96) -> torch.Tensor:
    field = GaussianField(columns_length=float(length), variance=0.09, channels=3)
    generator = torch.Generator().manual_seed(seed)
    x = field.sample(torch.randn(count, 3, 4, width, generator=generator))
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def figures(canvases: torch.Tensor, **settings) -> dict:
    height, width = canvases.shape[-2:]
    metric = Autocorrelation(height=height, width=width, **{"longest": width // 2} | settings)
    metric.update(canvases, torch.arange(len(canvases)))
    return metric.compute()


def by_pairs(canvases: torch.Tensor, distance: int) -> float:
    """The definition, pair by pair."""
    x, count = canvases.double(), len(canvases)
    gamma = (x[..., distance:] - x[..., : x.shape[-1] - distance]).square().mean() / 2
    means = x.mean(-1)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    of_means = sum((means[i] * means[j]).mean() for i, j in pairs) / len(pairs)
    return (1 - gamma / (x.square().mean() - of_means)).item()


def test_the_curve_by_its_definition():
    canvases = noise(5) // 2 + noise(5).cumsum(-1).to(torch.uint8) // 2
    canvases[:, 1, 2] //= 4
    curve = figures(canvases, longest=19)["autocorrelation"]
    assert (curve.distances[:9], curve.distances[-1]) == (list(range(1, 10)), 19)
    expected = [by_pairs(canvases, distance) for distance in curve.distances]
    # Near 0 the last digits of a difference of 1.
    assert curve.values == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_markov_field_has_its_exponential():
    curve = figures(field_images(3000, length=8, seed=0))["autocorrelation"]
    expected = [math.exp(-distance / 8) for distance in curve.distances]
    # 36,000 rows of about 6 independent pixels each: 0.002, and rounding to levels adds 0.0001.
    assert curve.values == pytest.approx(expected, abs=0.01)
    assert all(
        low < value < high
        for low, value, high in zip(curve.low, curve.values, curve.high, strict=True)
    )
    assert max(high - low for low, high in zip(curve.low, curve.high, strict=True)) < 0.02


def test_the_mean_of_a_row_and_channel_is_no_correlation():
    canvases = field_images(400, length=1, seed=1)
    height = torch.tensor([60, -40, 20, 0]).view(4, 1)
    colour = torch.tensor([-30, 0, 50]).view(3, 1, 1)
    landscape = (canvases.int() // 2 + 64 + height + colour).to(torch.uint8)
    curve = figures(landscape)["autocorrelation"]
    # 4,800 rows of about 40 independent pixels: 0.003.
    assert curve.values[-5:] == pytest.approx([0] * 5, abs=0.02)


def test_few_canvases_have_no_bias_of_their_own_means():
    # Of 4 canvases a mean has much of their variance: dividing by theirs gives -0.15 in place of 0.
    runs = [
        figures(field_images(4, length=16, seed=100 + run), longest=80)["autocorrelation"].values
        for run in range(60)
    ]
    mean = torch.tensor(runs, dtype=torch.float64).mean(0)
    # A ratio still has a bias of its second order.
    assert mean[-1].item() == pytest.approx(math.exp(-80 / 16), abs=0.03)


def test_the_gap_is_the_root_mean_square_difference():
    real = figures(field_images(50, length=4, seed=2))["autocorrelation"]
    found = figures(field_images(50, length=12, seed=3), real=real)
    differences = [a - b for a, b in zip(found["autocorrelation"].values, real.values, strict=True)]
    expected = math.sqrt(sum(d**2 for d in differences) / len(differences))
    assert found["correlation_gap"].value == pytest.approx(expected)
    same = figures(field_images(50, length=4, seed=2), real=real)["correlation_gap"]
    assert (same.value, same.low) == (0.0, 0.0)


def test_figures_have_a_bootstraps_interval():
    canvases = field_images(20, length=6, seed=4)
    real = figures(field_images(50, length=4, seed=5))["autocorrelation"]
    found = figures(canvases, real=real, seed=9)
    resampled = []
    for row in bootstrap_counts(20, seed=9).long():
        again = figures(canvases.repeat_interleave(row, dim=0), real=real)
        resampled.append([again["correlation_gap"].value, again["autocorrelation"].values[6]])
    margins = (1.959964 * torch.tensor(resampled, dtype=torch.float64).std(0)).tolist()
    gap, curve = found["correlation_gap"], found["autocorrelation"]
    assert gap.high == pytest.approx(gap.value + margins[0])
    assert curve.low[6] == pytest.approx(curve.values[6] - margins[1])


def test_anticorrelation_is_not_cut_off():
    stripes = torch.tensor([0, 200] * 8, dtype=torch.uint8).expand(2, 3, 4, 16)
    curve = figures(stripes, longest=3)["autocorrelation"]
    assert curve.values == pytest.approx([-1, 1, -1])
    assert curve.low[0] == pytest.approx(-1)


def test_canvases_without_variance_are_alike_at_every_distance():
    curve = figures(torch.full((3, 3, 4, 16), 7, dtype=torch.uint8))["autocorrelation"]
    assert set(curve.values) == {1.0}


def test_distances_grow_in_proportion():
    metric = Autocorrelation(height=1, width=2000, longest=1900)
    distances = metric.distances["autocorrelation"]
    assert len(distances) <= 32
    assert (distances[0], distances[-1]) == (1, 1900)
    assert distances[-1] / distances[-2] == pytest.approx(1900 ** (1 / 31), rel=0.01)


@pytest.mark.parametrize("longest", [0, 20])
def test_distances_that_do_not_fit_are_refused(longest):
    with pytest.raises(ValueError, match=f"from 1 to 19 px, got {longest}"):
        Autocorrelation(height=3, width=20, longest=longest)


def test_a_real_curve_of_other_distances_is_refused():
    real = figures(noise(3), longest=5)["autocorrelation"]
    with pytest.raises(ValueError, match=r"the same distances, \[1, .* got \[1, 2, 3, 4, 5\]"):
        Autocorrelation(height=3, width=20, longest=9, real=real)
