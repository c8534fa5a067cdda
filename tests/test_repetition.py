import pytest
import torch

from benchmarks.metrics.features import FeatureNetwork, RandomConv
from benchmarks.metrics.repetition import Repetition, disjoint_squares, nearest_distances
from benchmarks.metrics.resampling import bootstrap_counts


def noise(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


class Red(FeatureNetwork):
    """The mean red level and twice the mean green one."""

    name = "red"
    fingerprint = "red"
    dimensions = 2
    chunk = 5

    def embed(self, images):
        return images[:, :2].double().mean((2, 3)) * torch.tensor([1.0, 2.0])


def coloured(reds: list[list[int]], side: int = 4) -> torch.Tensor:
    """Canvases of squares of these red levels."""
    canvases = torch.zeros(len(reds), 3, side, side * len(reds[0]), dtype=torch.uint8)
    canvases[:, 0] = torch.tensor(reds).repeat_interleave(side, dim=1)[:, None].to(torch.uint8)
    return canvases


def figure(metric: Repetition, canvases: torch.Tensor):
    metric.update(canvases, torch.arange(len(canvases)))
    return metric.compute()["repetition"]


def test_the_mean_distance_to_the_nearest_other_square():
    canvases = coloured([[0, 10, 13, 40], [7, 7, 20, 100]])
    metric = Repetition(Red(), height=4, width=16, side=4)
    # Nearest: 10, 3, 3, 27 in one canvas and 0, 0, 13, 80 in the other.
    assert figure(metric, canvases).value == pytest.approx((43 / 4 + 93 / 4) / 2)


def test_a_canvas_that_repeats_itself_is_at_zero_exactly():
    square = noise(2, 16, 16)
    metric = Repetition(RandomConv(), height=16, width=48, side=16)
    assert figure(metric, square.repeat(1, 1, 1, 3)).value == 0


def test_other_canvases_are_not_looked_at():
    canvases = coloured([[0, 50], [0, 90]])
    metric = Repetition(Red(), height=4, width=8, side=4)
    assert figure(metric, canvases).value == pytest.approx((50 + 90) / 2)


def test_squares_are_disjoint_and_the_rest_is_left_out():
    canvases = noise(2, 9, 14)
    squares = disjoint_squares(canvases, side=4)
    expected = [
        canvases[..., top : top + 4, left : left + 4] for top in (0, 4) for left in (0, 4, 8)
    ]
    assert torch.equal(squares, torch.stack(expected, dim=1))


def test_nearest_distances_are_euclidean():
    features = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]]])
    assert nearest_distances(features).tolist() == [[5.0, 1.0, 1.0]]


def test_only_the_first_canvases_are_looked_at_whatever_their_batch():
    canvases = coloured([[0, 10], [0, 90], [0, 30], [0, 250]])
    metric = Repetition(Red(), height=4, width=8, side=4, limit=3)
    for index in (3, 1, 2, 0):
        metric.update(canvases[index : index + 1], torch.tensor([index]))
    assert metric.compute()["repetition"].value == pytest.approx((10 + 90 + 30) / 3)


def test_the_interval_is_a_bootstraps():
    canvases = coloured([[0, level] for level in range(10, 60, 3)])
    found = figure(Repetition(Red(), height=4, width=8, side=4, seed=6), canvases)
    levels = torch.arange(10, 60, 3).double()
    means = bootstrap_counts(len(levels), seed=6) @ levels / len(levels)
    assert found.high == pytest.approx(levels.mean().item() + 1.959964 * means.std().item())


@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 8), (8, 31, 16), (8, 8, 0)])
def test_fewer_than_two_squares_are_refused(height, width, side):
    with pytest.raises(ValueError, match=f"two squares must fit .* got a side of {side} px"):
        Repetition(Red(), height=height, width=width, side=side)
