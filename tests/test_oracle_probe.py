import itertools

import pytest
import torch

from benchmarks.oracle.probe import (
    MANY,
    BulkNoise,
    Groups,
    Leaves,
    Recorder,
    Sum,
    Units,
    outcome,
    sampled,
)
from denoisers.gaussian import GaussianDenoiser, GaussianField
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.canvas import Canvas
from strategies.lshape_repaint import LShapeRepaint
from strategies.naive import Naive

PIXELS = 6
# What is drawn, by purpose and step, and how many numbers it has.
DRAWS = {("start", 0): 6, ("churn", 0): 4, ("churn", 1): 4, ("late", 7): 1}
NUMBERS = sum(DRAWS.values())
MATRIX = torch.randn(PIXELS, NUMBERS, generator=torch.Generator().manual_seed(5)).double()
CENTRE = torch.arange(PIXELS, dtype=torch.float64)
COVARIANCE = MATRIX @ MATRIX.mT
SETTINGS = {"samples": 1000, "batch_size": 1000, "seed": 3}


def drawn(noise: CanvasNoise) -> torch.Tensor:
    """All numbers of each sample, which are drawn in parts, and one of the parts twice."""
    parts = [
        noise.draw(purpose, step, (1, 1, size)).flatten(1)
        for (purpose, step), size in DRAWS.items()
    ]
    noise.draw("churn", 0, (1, 1, 4))
    return torch.cat(parts, 1)


def as_canvas(values: torch.Tensor) -> torch.Tensor:
    return values.view(len(values), 1, 2, 3)


def affine(noise: CanvasNoise) -> torch.Tensor:
    return as_canvas(CENTRE + drawn(noise) @ MATRIX.mT)


def curved(noise: CanvasNoise) -> torch.Tensor:
    """Squares: z + z^2 / 2 has mean 1/2 and variance 1 + 1/2."""
    z = noise.draw("start", 0, (1, 2, 3))
    return z + z.square() / 2


@pytest.mark.parametrize("batch_size", [1, 4, 7, 1000])
def test_the_covariance_of_an_affine_map_is_exact(batch_size):
    made = outcome(affine, samples=NUMBERS, batch_size=batch_size, seed=0)
    assert (made.method, made.exact) == ("unit vectors", True)
    assert made.canvases == made.numbers == NUMBERS
    torch.testing.assert_close(made.mean, CENTRE)
    torch.testing.assert_close(made.covariance, COVARIANCE)
    assert made.nonlinearity < 1e-14


@pytest.mark.parametrize("samples", [NUMBERS - 1, 2])
def test_gradients_are_exact_too_where_there_are_too_many_numbers(samples):
    made = outcome(affine, samples=samples, batch_size=5, seed=0, differentiable=affine)
    assert (made.method, made.exact, made.numbers) == ("gradient", True, NUMBERS)
    torch.testing.assert_close(made.mean, CENTRE)
    torch.testing.assert_close(made.covariance, COVARIANCE)
    assert made.nonlinearity < 1e-14


def test_gradients_are_taken_where_they_are_cheaper():
    def wasteful(noise):
        return affine(noise) + 0 * noise.draw("more", 0, (1, MANY, PIXELS)).sum()

    for make, method in ((affine, "unit vectors"), (wasteful, "gradient")):
        made = outcome(make, **SETTINGS, differentiable=make)
        assert made.method == method
        torch.testing.assert_close(made.covariance, COVARIANCE)


def blocked(noise):
    return affine(noise).detach()


def blocked_in_part(noise):
    return as_canvas(
        torch.cat([affine(noise).flatten(1)[:, :5], blocked(noise).flatten(1)[:, 5:]], 1)
    )


def broken(noise):
    return torch.from_numpy(affine(noise).numpy())


def curved_in_gradients(noise):
    return affine(noise) * affine(noise).detach().abs().clamp(max=1)


@pytest.mark.parametrize("gradient", [blocked, blocked_in_part, broken, curved_in_gradients])
def test_gradients_that_are_not_the_map_are_not_believed(gradient, monkeypatch):
    monkeypatch.setattr("benchmarks.oracle.probe.MANY", 1)
    made = outcome(affine, **SETTINGS, differentiable=gradient)
    assert made.method == "unit vectors"
    torch.testing.assert_close(made.covariance, COVARIANCE)


def test_an_affine_map_of_too_many_numbers_is_sampled():
    made = outcome(affine, samples=NUMBERS - 1, batch_size=4, seed=0)
    assert (made.method, made.exact, made.canvases) == ("samples", False, NUMBERS - 1)


def test_samples_of_an_affine_map_land_within_their_errors():
    samples = 40_000
    made = outcome(
        lambda noise: affine(noise) + 1e-3 * curved(noise), **SETTINGS | {"samples": samples}
    )
    assert made.method == "samples"
    scale = COVARIANCE.diag()
    # Of a covariance of Gaussians: (C_ii C_jj + C_ij^2) / n, squared; and what is curved adds 1e-3.
    errors = ((scale.outer(scale) + COVARIANCE.square()) / samples).sqrt()
    assert ((made.covariance - COVARIANCE).abs() < 5 * errors + 0.02).all()
    assert ((made.mean - CENTRE).abs() < 5 * (scale / samples).sqrt() + 1e-3).all()


def test_what_is_not_affine_is_sampled():
    samples = 40_000
    made = outcome(curved, **SETTINGS | {"samples": samples}, differentiable=curved)
    assert (made.method, made.canvases, made.numbers) == ("samples", samples, PIXELS)
    assert made.nonlinearity > 0.1
    # The standard errors: (3/2 / n)^1/2 of a mean; of a variance at most 5 / n^1/2, the fourth
    # moment of z + z^2 / 2 about its mean being 25.5; of a covariance 3/2 / n^1/2.
    expected = 1.5 * torch.eye(PIXELS, dtype=torch.float64)
    assert (made.mean - 0.5).abs().max() < 5 * (1.5 / samples) ** 0.5
    assert (made.covariance - expected).abs().max() < 5 * 5 / samples**0.5


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_every_sample_is_in_one_group(batch_size):
    made = outcome(curved, samples=25, batch_size=batch_size, seed=0)
    first = range(0, 25, batch_size)
    noises = [BulkNoise(0, begin, min(batch_size, 25 - begin)) for begin in first]
    values = torch.cat([curved(noise).flatten(1) for noise in noises])
    torch.testing.assert_close(made.covariance, torch.cov(values.mT, correction=0))
    torch.testing.assert_close(made.mean, values.mean(0))
    assert len(made.groups) == 10
    for group in range(10):
        kept = values[torch.arange(25) % 10 != group]
        moments = made.groups.without(group)
        torch.testing.assert_close(moments.mean, kept.mean(0))
        torch.testing.assert_close(moments.covariance, torch.cov(kept.mT, correction=0))


def test_two_samples_are_two_groups():
    made = outcome(curved, samples=2, batch_size=5, seed=0)
    assert isinstance(made.groups, Groups)
    assert len(made.groups) == 2
    assert made.groups.without(0).covariance.abs().max() < 1e-12


def test_other_seeds_are_other_samples():
    covariances = [
        outcome(curved, samples=9, batch_size=9, seed=seed).covariance for seed in (1, 2)
    ]
    assert not torch.allclose(*covariances, atol=1e-3)


@pytest.mark.parametrize(("size", "expected"), [(1e-6, True), (1e-2, False)])
def test_a_little_rounding_is_affine_and_a_little_curvature_is_not(size, expected):
    found = outcome(lambda noise: affine(noise) + size * curved(noise), **SETTINGS)
    assert (found.method != "samples") is expected


def test_a_mean_far_from_zero_hides_no_curvature():
    assert outcome(lambda noise: 1e6 + curved(noise), **SETTINGS).method == "samples"


def test_what_ignores_its_noise_never_varies():
    made = outcome(lambda noise: 2 + 0 * affine(noise), **SETTINGS)
    assert made.exact
    assert (made.mean == 2).all()
    assert (made.covariance == 0).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_canvases_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="must be finite"):
        outcome(lambda noise: affine(noise) * value, **SETTINGS)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (affine, {"samples": 100, "batch_size": 4}),
        (affine, {"samples": 3, "batch_size": 2, "differentiable": affine}),
        (curved, {"samples": 11, "batch_size": 4}),
    ],
)
def test_the_shares_of_the_work_add_up_to_all_of_it(make, settings):
    shares = []
    outcome(make, seed=0, advance=shares.append, **settings)
    assert sum(shares) == pytest.approx(1)


def test_units_are_the_identity_in_whatever_batches():
    recorder = Recorder()
    drawn(recorder)
    assert recorder.total == NUMBERS
    for size in (1, 4, NUMBERS):
        firsts = range(0, NUMBERS, size)
        noises = [Units(recorder.offsets, first, min(size, NUMBERS - first)) for first in firsts]
        rows = torch.cat([drawn(noise) for noise in noises])
        assert torch.equal(rows, torch.eye(NUMBERS, dtype=torch.float64))


def test_recorder_and_leaves_draw_nothing():
    assert torch.equal(drawn(Recorder(3)), torch.zeros(3, NUMBERS, dtype=torch.float64))
    leaves = Leaves()
    assert torch.equal(drawn(leaves), torch.zeros(1, NUMBERS, dtype=torch.float64))
    assert list(leaves.leaves) == list(DRAWS)


def test_what_is_drawn_may_be_written_to():
    def in_place(noise):
        return noise.draw("start", 0, (1, 2, 3)).mul_(2).add_(1)

    made = outcome(in_place, samples=2, batch_size=2, seed=0, differentiable=in_place)
    assert made.method == "gradient"
    torch.testing.assert_close(made.covariance, 4 * torch.eye(6, dtype=torch.float64))


def test_sums_are_sums():
    one, two = BulkNoise(0, 0, 5), BulkNoise(1, 0, 5)
    torch.testing.assert_close(drawn(Sum(one, two)), drawn(one) + drawn(two))


def test_bulk_noise_is_a_function_of_its_names_and_standard_normal():
    keys = itertools.product((0, 1), (0, 2000), (("start", 0), ("start", 1), ("churn", 0)))
    draws = [BulkNoise(seed, first, 2000).draw(*key, (1, 2, 5)) for seed, first, key in keys]
    again = BulkNoise(0, 0, 2000).draw("start", 0, (1, 2, 5))
    assert torch.equal(draws[0], again)
    assert again.dtype == torch.float64
    values = torch.stack(draws).flatten(1)
    # 20,000 numbers each, whose standard errors are 0.007 (correlations) and 0.01 (variances).
    square = values @ values.mT / values.shape[1]
    assert (square - torch.eye(len(draws), dtype=torch.float64)).abs().max() < 0.05


FIELD = GaussianDenoiser(GaussianField(columns_length=3.0), patch_size=4)
CANVAS = Canvas(height=1, width=10, channels=1)


@pytest.mark.parametrize(
    "strategy",
    [
        LShapeRepaint(solver=Heun(num_steps=5), window=(1, 4), jump_n_sample=3),
        Naive(solver=Heun(num_steps=5, churn=2.0), window=(1, 4)),
    ],
    ids=["repaint", "churn"],
)
def test_both_exact_ways_agree_and_samples_are_near(strategy):
    def make(noise):
        return strategy.generate(FIELD, CANVAS, noise)

    def with_gradients(noise):
        return type(strategy).generate.__wrapped__(strategy, FIELD, CANVAS, noise)

    settings = {"batch_size": 1000, "seed": 0}
    units = outcome(make, samples=5000, **settings)
    gradient = outcome(make, samples=2, differentiable=with_gradients, **settings)
    assert (units.method, gradient.method) == ("unit vectors", "gradient")
    torch.testing.assert_close(gradient.covariance, units.covariance, rtol=1e-11, atol=1e-11)

    count = 2000
    centre = make(Recorder())
    groups = sampled(make, centre, count, batch_size=count, seed=0, advance=lambda share: None)
    variances = units.covariance.diag()
    errors = ((variances.outer(variances) + units.covariance.square()) / count).sqrt()
    assert ((groups.without(None).covariance - units.covariance).abs() < 5 * errors).all()
