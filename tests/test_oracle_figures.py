import math
from itertools import product

import pytest
import torch

from benchmarks.oracle.figures import (
    correlation_by_distance,
    correlation_of_neighbours,
    jackknife,
    relative_w2,
    variance_at_edges,
    variance_at_the_end,
)
from denoisers.gaussian import covariance_matrix
from strategies.canvas import Canvas, WindowEdges

PLANE = Canvas(height=3, width=4, channels=1)
LINE = Canvas(height=1, width=4, channels=1)


def tensor(rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def random_covariance(size: int, rank: int | None = None) -> torch.Tensor:
    root = torch.randn(size, rank or size, dtype=torch.float64)
    return root @ root.mT


def rotation(size: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0]


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_w2_of_a_covariance_and_itself_is_nothing(rank):
    covariance = random_covariance(7, rank)
    # Rounding of singular matrices is halved in digits by the square root.
    assert relative_w2(covariance, covariance) == pytest.approx(0, abs=1e-7)


def test_w2_of_a_field_and_itself_scaled_is_the_difference_of_deviations():
    true = covariance_matrix(12, "exponential", 3.0)
    assert relative_w2(true, 2.25 * true) == pytest.approx((1.5 - 1) ** 2)
    assert relative_w2(5 * true, 2.25 * 5 * true) == pytest.approx((1.5 - 1) ** 2)


def test_w2_of_a_field_and_nothing_is_one():
    true = covariance_matrix(12, "matern32", 3.0)
    assert relative_w2(true, torch.zeros_like(true)) == pytest.approx(1)


def test_w2_of_what_commutes_is_that_of_its_deviations():
    true, made = tensor([4.0, 1.0, 0.0, 9.0]), tensor([1.0, 1.0, 2.25, 16.0])
    expected = (1 + 0 + 2.25 + 1) / 14
    assert relative_w2(true.diag(), made.diag()) == pytest.approx(expected)
    turned = rotation(4)
    pair = (turned @ each.diag() @ turned.mT for each in (true, made))
    assert relative_w2(*pair) == pytest.approx(expected)


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, 1.2])
def test_w2_of_two_pixels_that_do_not_commute_is_the_closed_form(angle):
    turn = tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    true, made = tensor([5.0, 0.5]).diag(), turn @ tensor([3.0, 1.0]).diag() @ turn.mT
    # Of a 2 x 2 matrix M with positive eigenvalues, tr M^1/2 = (tr M + 2 (det M)^1/2)^1/2.
    product_ = true @ made
    trace = math.sqrt(product_.trace() + 2 * math.sqrt(torch.linalg.det(product_)))
    expected = (5.5 + 4.0 - 2 * trace) / 5.5
    assert relative_w2(true, made) == pytest.approx(expected)


def test_w2_changes_with_what_is_true():
    true, made = random_covariance(5), random_covariance(5)
    ratio = (made.trace() / true.trace()).item()
    assert relative_w2(true, made) == pytest.approx(ratio * relative_w2(made, true))


# Pixels are numbered 0 1 2 3 / 4 5 6 7 / 8 9 10 11.
def of_pairs(pairs: dict[tuple[int, int], float], size: int = 12) -> torch.Tensor:
    """A covariance whose pixels have variances 1, 4, 9, ..., and these correlations."""
    correlation = torch.eye(size, dtype=torch.float64)
    for (one, two), value in pairs.items():
        correlation[one, two] = correlation[two, one] = value
    deviations = torch.arange(1, size + 1, dtype=torch.float64)
    return correlation * deviations.outer(deviations)


@pytest.mark.parametrize(
    ("edges", "pairs"),
    [
        (WindowEdges((), (2,)), [(1, 2), (5, 6), (9, 10)]),
        (WindowEdges((), (1, 3)), [(0, 1), (4, 5), (8, 9), (2, 3), (6, 7), (10, 11)]),
        (WindowEdges((1,), ()), [(0, 4), (1, 5), (2, 6), (3, 7)]),
        (WindowEdges((2,), (3,)), [(4, 8), (5, 9), (6, 10), (7, 11), (2, 3), (6, 7), (10, 11)]),
    ],
)
def test_neighbours_are_those_with_a_border_between_them(edges, pairs):
    values = [0.1 * (k + 1) for k in range(len(pairs))]
    covariance = of_pairs(dict(zip(pairs, values, strict=True)))
    mean = sum(values) / len(values)
    assert correlation_of_neighbours(covariance, PLANE, edges) == pytest.approx(mean)
    beside = {pixel for pair in pairs for pixel in pair}
    variances = [(pixel + 1) ** 2 for pixel in beside]
    expected = sum(variances) / len(variances)
    assert variance_at_edges(covariance, PLANE, edges) == pytest.approx(expected)


def test_without_borders_there_is_nothing_to_measure():
    covariance = of_pairs({})
    assert correlation_of_neighbours(covariance, PLANE, WindowEdges((), ())) is None
    assert variance_at_edges(covariance, PLANE, WindowEdges((), ())) is None


def test_the_end_is_the_last_column():
    assert variance_at_the_end(of_pairs({}), PLANE) == pytest.approx((16 + 64 + 144) / 3)
    assert variance_at_the_end(of_pairs({}, size=4), LINE) == pytest.approx(16)


def test_correlation_by_distance_is_the_mean_over_pairs_of_a_row():
    covariance = random_covariance(12)
    deviations = covariance.diag().sqrt()
    expected = []
    for distance in range(4):
        found = []
        for row, column in product(range(3), range(4 - distance)):
            one, two = 4 * row + column, 4 * row + column + distance
            found.append(covariance[one, two] / deviations[one] / deviations[two])
        expected.append(sum(found) / len(found))
    torch.testing.assert_close(correlation_by_distance(covariance, PLANE), tensor(expected))


def test_correlation_of_a_true_field_is_its_own():
    true = covariance_matrix(9, "exponential", 2.0)
    distances = torch.arange(9, dtype=torch.float64)
    canvas = Canvas(height=1, width=9, channels=1)
    torch.testing.assert_close(correlation_by_distance(7 * true, canvas), torch.exp(-distances / 2))


def test_pixels_that_never_vary_correlate_with_nothing():
    covariance = of_pairs({(1, 2): 0.5}, size=4)
    covariance[0] = covariance[:, 0] = 0
    correlation = correlation_by_distance(covariance, LINE)
    torch.testing.assert_close(correlation, tensor([3 / 4, 0.5 / 3, 0, 0]))


VALUES = tensor([0.5, -1.0, 2.0, 3.5, 0.25, -0.75])


def without_each(figure) -> list[float]:
    places = torch.arange(len(VALUES))
    return [figure(VALUES[places != place]).item() for place in places]


def test_the_jackknife_leaves_a_mean_as_it_is_and_knows_its_error():
    value, error = jackknife(VALUES.mean().item(), without_each(torch.mean))
    assert value == pytest.approx(VALUES.mean().item())
    assert error == pytest.approx(VALUES.std().item() / math.sqrt(len(VALUES)))


def test_the_jackknife_takes_off_what_falls_with_the_number():
    # The mean of n squares less s^2 / n, which is unbiased.
    value, _ = jackknife(VALUES.mean().square().item(), without_each(lambda v: v.mean().square()))
    expected = VALUES.mean().square() - VALUES.var() / len(VALUES)
    assert value == pytest.approx(expected.item())
    value, _ = jackknife(
        VALUES.var(correction=0).item(), without_each(lambda v: v.var(correction=0))
    )
    assert value == pytest.approx(VALUES.var().item())
