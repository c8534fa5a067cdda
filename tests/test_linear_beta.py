"""The levels of an ordinary DDPM, against diffusers' own schedule."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from sampling.noise_levels.linear_beta import LinearBeta


def test_the_noise_schedule_is_that_of_diffusers():
    alpha_bar = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear").alphas_cumprod
    expected = ((1 - alpha_bar) / alpha_bar).sqrt()
    # Theirs is float32: a thousand factors, each rounded to 6e-8, leave up to 6e-5 on the product.
    torch.testing.assert_close(LinearBeta().sigmas.float(), expected, rtol=1e-4, atol=0)


def test_every_step_is_drawn_as_often():
    levels = LinearBeta(steps=4, sigma_min=1e-6, sigma_max=1e6)
    drawn = levels.draw(4000, 8, 8, generator=torch.Generator().manual_seed(0)).sigma.flatten()
    values, counts = np.unique(drawn.numpy(), return_counts=True)
    np.testing.assert_allclose(values, levels.sigmas.numpy(), rtol=1e-6)  # float32
    # 1000 of 4000 each, whose standard deviation is sqrt(4000 * 3 / 16) = 27: five of them.
    assert (abs(counts - 1000) < 137).all()


def test_corruption_is_the_share_of_levels_below():
    levels = LinearBeta(steps=10, sigma_min=1e-6, sigma_max=1e6)
    sigma = levels.sigmas[[0, 4, 9]].float().view(-1, 1, 1, 1) * 1.001
    assert levels.corruption_of(sigma).flatten().tolist() == pytest.approx([0.1, 0.5, 1.0])
    # And back: the highest level that is no higher.
    there = levels.sigma_of(levels.corruption_of(sigma)).flatten()
    torch.testing.assert_close(there, levels.sigmas[[0, 4, 9]].float())
    assert not levels.sigma_of(torch.zeros(1, 1, 1, 1)).any()


def test_levels_stay_in_range():
    levels = LinearBeta(sigma_min=0.05, sigma_max=20.0)
    drawn = levels.draw(2000, 8, 8, generator=torch.Generator().manual_seed(0)).sigma
    assert drawn.min() == pytest.approx(0.05)
    assert drawn.max() == pytest.approx(20.0)


@pytest.mark.parametrize("settings", [{"steps": 1}, {"beta_first": 0.0}, {"beta_last": 1.0}])
def test_what_is_no_schedule_is_refused(settings):
    with pytest.raises(ValueError, match="at least 2 steps and 0 < beta_first <= beta_last < 1"):
        LinearBeta(**settings)
