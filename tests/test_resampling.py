import math

import pytest
import torch

from benchmarks.metrics.resampling import (
    bootstrap_counts,
    estimate,
    group_labels,
    jackknife,
    margins,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def test_a_resample_draws_as_many_with_replacement():
    counts = bootstrap_counts(50, resamples=4000, seed=0)
    assert (counts.sum(1) == 50).all()
    # Binomial(50, 1/50): mean 1, variance 0.98. 200,000 counts: standard errors 0.002 and 0.004.
    assert counts.mean(0).sub(1).abs().max() < 0.1
    assert counts.var().item() == pytest.approx(0.98, abs=0.02)
    # Draws of one resample push each other away: covariance -1/50, in sum -49/50.
    others = counts.sum(1, keepdim=True) - counts
    assert ((counts - 1) * (others - 49)).mean().item() == pytest.approx(-0.98, abs=0.02)


def test_the_bootstrap_of_a_mean_has_its_standard_error():
    rows = normal(400)
    means = bootstrap_counts(400, resamples=1000, seed=1) @ rows / 400
    expected = 1.959964 * rows.std(correction=0).item() / 20
    # 1000 resamples: the deviation is known to 2.2 %.
    assert margins(means[:, None])[0].item() == pytest.approx(expected, rel=0.08)


def test_draws_repeat_by_seed_and_leave_the_callers_random_state_alone():
    before = torch.get_rng_state()
    first, again, other = (bootstrap_counts(9, resamples=5, seed=seed) for seed in (3, 3, 4))
    groups = [group_labels(30, 4, seed=seed) for seed in (3, 3, 4)]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(groups[0], groups[1])
    assert not torch.equal(groups[0], groups[2])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("groups", [2, 7, 20])
def test_groups_are_random_and_of_equal_size(groups):
    labels = group_labels(20, groups, seed=0)
    sizes = labels.bincount(minlength=groups)
    assert sizes.sum() == 20
    assert sizes.max() - sizes.min() <= 1
    assert labels.tolist() != [index % groups for index in range(20)]


@pytest.mark.parametrize("groups", [5, 8, 23])
def test_the_jackknife_takes_off_a_bias_of_one_over_samples(groups):
    samples, limit, bias = 23, 1.5, 7.0
    sizes = group_labels(samples, groups, seed=0).bincount()
    deleted = limit + bias / (samples - sizes.double())
    corrected, _ = jackknife(limit + bias / samples, deleted, sizes)
    assert corrected == pytest.approx(limit, rel=1e-12)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    rows = normal(30)
    deleted = (rows.sum() - rows) / 29
    corrected, deviation = jackknife(rows.mean().item(), deleted, torch.ones(30).long())
    assert corrected == pytest.approx(rows.mean().item())
    assert deviation == pytest.approx(rows.std().item() / math.sqrt(30))


def test_the_jackknife_of_groups_of_unequal_size():
    rows, labels = normal(2000, seed=1), group_labels(2000, 300, seed=0)
    sums = torch.zeros(300, dtype=torch.float64).index_add(0, labels, rows)
    sizes = labels.bincount()
    deleted = (rows.sum() - sums) / (2000 - sizes)
    corrected, deviation = jackknife(rows.mean().item(), deleted, sizes)
    assert corrected == pytest.approx(rows.mean().item())
    # 300 groups: the deviation is known to 4 %.
    assert deviation == pytest.approx(rows.std().item() / math.sqrt(2000), rel=0.15)


def test_an_estimate_is_cut_off_where_a_figure_cannot_be():
    whole = estimate(0.5, 2.0, lowest=0.0, highest=1.0)
    assert (whole.low, whole.high) == (0.0, 1.0)
    free = estimate(0.5, 2.0)
    assert (free.low, free.high) == (-1.5, 2.5)


def test_an_infinite_figure_is_a_point_and_infinite_resamples_leave_no_bound():
    point = estimate(math.inf, math.nan)
    assert (point.value, point.low, point.high) == (math.inf, math.inf, math.inf)
    resampled = torch.tensor([[1.0, 2.0], [math.inf, 4.0]], dtype=torch.float64)
    assert margins(resampled).tolist() == [math.inf, pytest.approx(1.959964 * math.sqrt(2))]


@pytest.mark.parametrize("samples", [0, 1])
def test_too_few_canvases_are_refused(samples):
    with pytest.raises(ValueError, match=f"at least 2 canvases, got {samples}"):
        bootstrap_counts(samples, seed=0)


@pytest.mark.parametrize("groups", [1, 6])
def test_groups_that_cannot_be_are_refused(groups):
    with pytest.raises(ValueError, match=f"from 2 to 5, the canvases, got {groups}"):
        group_labels(5, groups, seed=0)
