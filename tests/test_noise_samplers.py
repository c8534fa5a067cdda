"""Each sampler of training levels must have the distribution that it promises."""

import math

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from sampling.noise_levels.base import NoiseLevels
from sampling.noise_levels.controlled import (
    Controlled,
    beta_regions,
    directions,
    some_regions,
)
from sampling.noise_levels.independent import Independent
from sampling.noise_levels.ltg import LogitNormalTruncatedGaussian
from sampling.noise_levels.mean_beta import MeanBeta, shares_of_sum
from sampling.noise_levels.mixed import Mixed
from sampling.noise_levels.shared import Shared

EDM = {"p_mean": -0.8, "p_std": 1.4}
SAMPLERS = [
    Shared(**EDM),
    *(
        sampler(**EDM, region_multiple=4)
        for sampler in (Mixed, Independent, MeanBeta, LogitNormalTruncatedGaussian, Controlled)
    ),
]


def names(sampler: NoiseLevels) -> str:
    return type(sampler).__name__


def corruptions_of(sampler: NoiseLevels, count: int, rows: int, columns: int) -> Tensor:
    """`count` draws of the corruptions of rows x columns regions, flattened."""
    drawn = sampler.corruptions(count, rows, columns, Generator().manual_seed(0))
    return drawn.flatten(1)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=names)
def test_levels_lie_in_the_range_and_fit_the_sample(sampler):
    generator = Generator().manual_seed(0)
    for _ in range(30):
        levels = sampler.draw(3, 8, 16, generator=generator)
        assert levels.sigma.shape in {(3, 1, 1, 1), (3, 1, 8, 16)}
        noisy = levels.sigma[levels.sigma > 0]
        # float32 keeps the bounds to a relative 6e-8.
        assert noisy.min() >= 0.002 * (1 - 1e-6)
        assert noisy.max() <= 80 * (1 + 1e-6)
        assert torch.broadcast_shapes(levels.weight.shape, levels.sigma.shape) == levels.sigma.shape
        assert sampler.makes_maps or levels.sigma.shape[-1] == 1


@pytest.mark.parametrize("sampler", SAMPLERS, ids=names)
def test_the_generator_is_the_only_randomness(sampler):
    def drawn(seed: int) -> Tensor:
        generator = Generator().manual_seed(seed)
        np.random.seed(torch.randint(2**31, ()).item())
        draws = [sampler.draw(2, 16, 16, generator=generator) for _ in range(8)]
        return torch.cat([levels.sigma.flatten() for levels in draws])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1)[:4], drawn(2)[:4])


def test_levels_and_corruptions_are_each_others_inverse():
    u = torch.tensor([1e-3, 0.1, 0.5, 0.9, 0.999]).view(-1, 1, 1, 1)
    # Levels pass through float32, whose relative 6e-8 is 4e-8 of z: u moves by less than 1e-7.
    torch.testing.assert_close(
        SAMPLERS[0].corruption_of(SAMPLERS[0].sigma_of(u)), u, rtol=1e-6, atol=1e-7
    )
    median = SAMPLERS[0].sigma_of(torch.full((1, 1, 1, 1), 0.5)).item()
    assert median == pytest.approx(math.exp(-0.8), rel=1e-6)
    assert SAMPLERS[0].sigma_of(torch.zeros(1, 1, 1, 1)).item() == 0


def test_independent_regions_are_uniform_and_know_nothing_of_each_other():
    u = corruptions_of(SAMPLERS[2], 4000, 2, 2)
    # 16,000 uniform draws: the standard error of their mean is 0.289 / 126 = 0.0023; that of a
    # correlation of 4,000 pairs is 0.016. Five of each.
    assert u.mean().item() == pytest.approx(0.5, abs=5 * 0.0023)
    correlations = torch.corrcoef(u.T) - torch.eye(4)
    assert correlations.abs().max() < 5 * 0.016


@pytest.mark.parametrize("regions", [1, 2, 3, 4, 7, 16, 33])
@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_shares_have_the_mean_that_was_asked_for(regions, sharpness):
    rng = np.random.default_rng(0)
    mean = np.concatenate([rng.random(500), [0.0, 1.0, 1e-9, 1 - 1e-9]])
    shares = shares_of_sum(mean, regions, sharpness, rng)
    assert shares.shape == (504, regions)
    assert shares.min() >= 0
    assert shares.max() <= 1
    # Sums of at most 33 numbers of order 1 in float64: 33 roundings of 1e-16.
    np.testing.assert_allclose(shares.mean(1), mean, atol=1e-14)


def test_two_shares_are_uniform_given_their_mean():
    # d = 2: a = (2 - 1 - 0)^1.05 = 1, so the first part of s = 0.8 is uniform on [0, 0.8].
    shares = shares_of_sum(np.full(20_000, 0.4), 2, 1.0, np.random.default_rng(0))[:, 0]
    # Quantiles of 20,000 uniform draws on a width of 0.8: at most 0.8 * 0.5 / 141 = 0.0028 each.
    quantiles = np.quantile(shares, [0.1, 0.25, 0.5, 0.9])
    np.testing.assert_allclose(quantiles, 0.8 * np.array([0.1, 0.25, 0.5, 0.9]), atol=5 * 0.0028)


def test_halves_of_four_shares_have_the_variance_of_their_beta_distribution():
    # d = 4: a = 3^1.05 sharpness; the first half of s = 2 is 2 Beta(a, a), whose variance is
    # 4 / (4 (2 a + 1)). Permutation hides which half was first, so its split is read off a pair
    # of all three pairings: the mean over pairings of Var(x_i + x_j) follows from Var and Cov.
    sharpness, count = 1.7, 40_000
    a = 3**1.05 * sharpness
    shares = shares_of_sum(np.full(count, 0.5), 4, sharpness, np.random.default_rng(1))
    # A half h is split as lo + (hi - lo) U with U uniform (d = 2, a = sharpness there), where
    # lo = max(0, h - 1), hi = min(h, 1): its parts lie symmetrically about h / 2.
    rng = np.random.default_rng(2)
    half = 2 * rng.beta(a, a, count)
    width = np.minimum(half, 1) - np.maximum(0, half - 1)
    part = half / 2 + width * (rng.beta(sharpness, sharpness, count) - 0.5)
    # Both variances are of 40,000 draws at least: a relative sqrt(2 / 40,000) = 0.7 % each.
    assert shares.var() == pytest.approx(part.var(), rel=5 * 0.007 * 2**0.5)


def test_weights_make_every_corruption_count_alike():
    sampler = MeanBeta(**EDM, region_multiple=4)
    u = sampler.corruptions(40_000, 2, 2, Generator().manual_seed(0))
    weight = sampler.weights(u).double()
    counted, _ = np.histogram(u.numpy(), bins=10, range=(0, 1), weights=weight.numpy())
    # 160,000 draws in ten bins; regions of a sample go together, so count samples: 4,000 a bin,
    # a relative 1.6 %; the density itself is known from 262,144 draws. Four of them.
    np.testing.assert_allclose(counted / weight.sum().item(), 0.1, rtol=4 * 0.016)
    assert weight.mean().item() == pytest.approx(1.0, abs=0.02)
    # Without weights the ends are drawn more than twice as often as the middle.
    drawn, _ = np.histogram(u.numpy(), bins=10, range=(0, 1))
    assert drawn[0] > 1.5 * drawn[5]


def test_no_region_is_cleaner_than_the_ceiling_of_its_sample():
    sampler = LogitNormalTruncatedGaussian(**EDM, ceiling_mean=0.3, ceiling_std=0.8, depth=0.2)
    t = 1 - corruptions_of(sampler, 4000, 8, 8)
    # The highest of 64 half-normal depths of at most 0.2 lies 0.2 * sqrt(pi / 2) / 64 = 0.004
    # below the ceiling on average: its logit is 0.02 low where the slope is steepest.
    logit = torch.logit(t.amax(1))
    # Standard errors of 4,000 draws of deviation 0.8: 0.0126 and 0.009; four of each.
    assert logit.mean().item() == pytest.approx(0.3 - 0.02, abs=0.02 + 4 * 0.0126)
    assert logit.std().item() == pytest.approx(0.8, abs=0.02 + 4 * 0.009)
    # Where the ceiling is above 0.4 the depth is 0.2 |n|, of mean 0.2 sqrt(2 / pi) = 0.16.
    high = t[t.amax(1) > 0.75]
    below = (high.amax(1, keepdim=True) - high).mean().item()
    # The clipped tail is 1e-4 of draws; the ceiling is read 0.004 too low; 1,000 samples of 64.
    assert below == pytest.approx(0.2 * (2 / math.pi) ** 0.5, abs=0.004 + 5 * 0.12 / 64_000**0.5)


def test_what_falls_below_zero_is_drawn_again_below_the_ceiling():
    sampler = LogitNormalTruncatedGaussian(**EDM, ceiling_mean=-8.0, ceiling_std=0.01)
    ceiling = torch.sigmoid(torch.tensor(-8.0)).item()
    t = 1 - corruptions_of(sampler, 20_000, 1, 1).double()
    assert t.min() > 0
    # depth is c / 2: P(|n| > 2) = 4.55 % is uniform below c, the rest c (1 - |n| / 2), whose mean
    # is c (1 - E[|n|; |n| < 2] / 2) = c (0.9545 - 0.3449).
    expected = ceiling * (0.9545 - 0.3449 + 0.0455 / 2)
    # 20,000 draws of deviation 0.28 c, and a ceiling that itself varies by 1 %.
    assert t.mean().item() == pytest.approx(expected, rel=5 * 0.28 / 0.63 / 20_000**0.5)


@pytest.mark.parametrize("m", [0.05, 0.5, 0.8])
@pytest.mark.parametrize("v", [0.02, 0.3, 0.9])
def test_mean_and_variability_are_what_was_drawn(m, v):
    count = 40_000
    u = beta_regions(np.full(100, m), np.full(100, v), count // 100, np.random.default_rng(0))
    spread = v * m * (1 - m)
    assert u.mean() == pytest.approx(m, abs=5 * (spread / count) ** 0.5)
    # A variance of 40,000 draws: its error is below sqrt(kurtosis / count); kurtoses reach 20.
    assert u.var() == pytest.approx(spread, rel=5 * (20 / count) ** 0.5)


def test_without_variability_all_regions_are_alike():
    u = beta_regions(np.array([0.2, 0.7]), np.zeros(2), 5, np.random.default_rng(0))
    np.testing.assert_allclose(u, [[0.2] * 5, [0.7] * 5], atol=1e-12)


def test_the_share_of_homogeneous_batches_is_the_one_asked_for():
    sampler = Controlled(**EDM, region_multiple=4, homogeneous_share=0.3)
    generator = Generator().manual_seed(0)
    shapes = [sampler.draw(1, 8, 8, generator=generator).sigma.shape[-1] for _ in range(4000)]
    # The standard error of a share of 4,000 is sqrt(0.3 * 0.7 / 4000) = 0.0072.
    assert shapes.count(1) / 4000 == pytest.approx(0.3, abs=5 * 0.0072)


def test_clean_regions_are_some_but_never_all_and_only_in_their_share():
    sampler = Controlled(**EDM, clean_share=0.4, waiting_share=0.0)
    u = corruptions_of(sampler, 4000, 4, 4)
    clean = (u == 0).sum(1)
    assert clean.max() < 16
    # The standard error of a share of 4,000 is 0.0077.
    assert (clean > 0).double().mean().item() == pytest.approx(0.4, abs=5 * 0.0077)
    # One to fifteen of them, each as often: a mean of 8, of 1,600 draws of deviation 4.3.
    assert clean[clean > 0].double().mean().item() == pytest.approx(8.0, abs=5 * 4.3 / 40)
    # In half of these maps the others are alike.
    others = torch.where(u > 0, u, math.nan)[clean > 0]
    alike = torch.tensor([row[~row.isnan()].unique().numel() == 1 for row in others])
    # A map with one region left is alike whatever it is: one in fifteen.
    expected = 0.5 + 0.5 / 15
    assert alike.double().mean().item() == pytest.approx(expected, abs=5 * 0.0125)


def test_variability_reaches_to_its_highest():
    wide = {"clean_share": 0.0, "waiting_share": 0.0, "max_variability": 0.8}
    u = corruptions_of(Controlled(**EDM, **wide), 4000, 16, 16).double()
    # Within a map the variance is v m (1 - m) on average: E[v] E[m (1 - m)] = 0.4 / 6. Over maps it
    # deviates by less than 0.06, hence its mean by 0.001; five of these.
    assert u.var(1).mean().item() == pytest.approx(0.4 / 6, abs=5 * 0.001)


def test_regions_that_wait_are_at_the_highest_level_and_lie_last():
    sampler = Controlled(**EDM, clean_share=0.0, waiting_share=0.4, max_variability=0.0)
    u = sampler.corruptions(4000, 1, 6, Generator().manual_seed(0))
    waiting = (sampler.sigma_of(u) == 80.0).flatten(1)
    some = waiting.any(1)
    # The standard error of a share of 4,000 is 0.0077. Without variability the others are at 80
    # only if their mean is, once in ten thousand maps: ln 80 is 3.7 deviations above its mean.
    assert some.double().mean().item() == pytest.approx(0.4, abs=5 * 0.0077)
    assert waiting.all(1).sum() <= 4
    # One direction in two goes right: what waits lies at the right or at the left end, in half of
    # the maps by order; of the others two of binom(6, n) by chance, averaged over n = 1 ... 5.
    sorted_ = (waiting.int().diff(dim=1).abs().sum(1) == 1)[some]
    chance = sum(2 / math.comb(6, n) for n in range(1, 6)) / 5
    expected = 0.5 + 0.5 * chance
    assert sorted_.double().mean().item() == pytest.approx(expected, abs=5 * 0.0125)


def test_maps_without_clean_regions_have_the_mean_that_was_drawn():
    u = corruptions_of(Controlled(**EDM, clean_share=0.0, waiting_share=0.0), 4000, 4, 4)
    # The mean of a map is m plus a deviation of variance v m (1 - m) / 16: over uniform m and v,
    # which reaches to 1/2, 1/12 + 1/4 * 1/6 / 16 = 0.0859 in all.
    assert u.mean(1).mean().item() == pytest.approx(0.5, abs=5 * (0.0859 / 4000) ** 0.5)
    # A variance of 4,000 nearly uniform draws, of kurtosis 1.8: a relative sqrt(0.8 / 4000).
    assert u.mean(1).var().item() == pytest.approx(0.0859, rel=5 * (0.8 / 4000) ** 0.5)


def test_half_of_the_maps_are_ordered_along_a_direction():
    u = corruptions_of(Controlled(**EDM, clean_share=0.0, waiting_share=0.0), 4000, 1, 6)
    rises = u.diff(dim=1)
    ordered = (rises >= 0).all(1) | (rises <= 0).all(1)
    # By chance two of 720 unordered rows are ordered too. The standard error is 0.0079.
    assert ordered.double().mean().item() == pytest.approx(0.5 + 0.5 * 2 / 720, abs=5 * 0.0079)
    # Both ways, as often.
    upwards = (rises >= 0).all(1).sum() / ordered.sum()
    assert upwards.item() == pytest.approx(0.5, abs=5 * 0.0112)


def test_an_order_goes_along_its_direction():
    order = directions(200, 3, 5, np.random.default_rng(0)).reshape(200, 3, 5)
    # Along either axis ranks rise everywhere or fall everywhere.
    for axis in (1, 2):
        steps = np.diff(order, axis=axis)
        assert (((steps > 0).all((1, 2))) | ((steps < 0).all((1, 2)))).all()
    assert (np.sort(order.reshape(200, -1), axis=1) == np.arange(15)).all()


def test_clean_regions_are_the_first_of_the_order_or_any():
    order = np.tile(np.arange(12), (2000, 1))
    clean = some_regions(order, np.random.default_rng(0))
    first = (clean == (order < clean.sum(1, keepdims=True))).all(1)
    # Half by rule; of the others one in binom(12, n) by chance, averaged over n = 1 ... 11.
    chance = np.mean([1 / math.comb(12, n) for n in range(1, 12)])
    assert first.mean() == pytest.approx(0.5 + 0.5 * chance, abs=5 * 0.0112)


@pytest.mark.parametrize(
    ("sampler", "wrong"),
    [
        (MeanBeta, {"sharpness": 0.0}),
        (LogitNormalTruncatedGaussian, {"depth": 0.0}),
        (LogitNormalTruncatedGaussian, {"ceiling_std": 0.0}),
        (Controlled, {"homogeneous_share": 1.1}),
        (Controlled, {"clean_share": -0.1}),
        (Controlled, {"waiting_share": 2.0}),
        (Controlled, {"max_variability": 1.5}),
    ],
)
def test_bad_settings_are_refused(sampler, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}.* must be"):
        sampler(**wrong)
