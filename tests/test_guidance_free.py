"""Guidance away from the unconditional estimate, and that no window of a batch meets another."""

import dataclasses

import pytest
import torch
from torch import Tensor

from denoisers.conditions import Conditions
from denoisers.gaussian import GaussianDenoiser, GaussianField
from denoisers.guidance import Guided
from patchcanvas.accounting import NFECounter
from tests.test_conditions import EVERYTHING, denoiser, told

# Sums of numbers of order 1 in float64, in another order.
ROUNDING = {"rtol": 1e-11, "atol": 1e-11}
LEVEL = torch.full((1, 1, 1, 1), 0.7, dtype=torch.float64)


def own(**settings):
    return denoiser(**EVERYTHING | settings).double()


def noisy(batch: int) -> Tensor:
    return torch.randn(batch, 3, 16, 16).double()


@pytest.mark.parametrize("scale", [0.3, 2.0, 7.5])
def test_guidance_is_the_line_through_the_two_estimates(scale):
    network, x_t, conditions = own(), noisy(3), told(3)
    with_tokens = network(x_t, LEVEL, conditions)
    without = network(x_t, LEVEL, dataclasses.replace(conditions, tokens=None, given=None))
    expected = (1 - scale) * without + scale * with_tokens
    made = Guided(network, scale)(x_t, LEVEL, conditions)
    torch.testing.assert_close(made, expected, **ROUNDING)
    # Rows 0 and 2 have tokens, row 1 has none: there is nothing to be guided by.
    moved = (made - with_tokens).abs().amax((1, 2, 3))
    assert (moved > 1e-4).tolist() == [True, False, True]


def test_the_scales_0_and_1_are_one_evaluation_of_the_network_itself():
    network, x_t, conditions = own(), noisy(3), told(3)
    for scale, alone in ((1.0, conditions), (0.0, conditions.without_tokens())):
        meter = NFECounter(network)
        made = Guided(meter, scale)(x_t, LEVEL, conditions)
        assert torch.equal(made, network(x_t, LEVEL, alone))
        assert (meter.calls, meter.patches) == (1, 3)


def test_guidance_is_one_call_of_twice_the_windows():
    meter = NFECounter(own())
    Guided(meter, 2.0)(noisy(3), LEVEL, told(3))
    assert (meter.calls, meter.patches, meter.pixels) == (1, 6, 6 * 256)


@pytest.mark.parametrize("context", [None, "places"])
def test_where_there_are_no_tokens_there_is_no_guidance(context):
    network, x_t = own(position="none"), noisy(2)
    context = None if context is None else Conditions(plan=torch.tensor([True, False]))
    meter = NFECounter(network)
    assert torch.equal(Guided(meter, 3.0)(x_t, LEVEL, context), network(x_t, LEVEL, context))
    assert meter.patches == 2


def test_tokens_alone_are_guidance_enough():
    network, x_t, tokens = own(position="none"), noisy(2), torch.randn(2, 4, 5).double()
    guided = Guided(network, 2.0)
    expected = 2 * network(x_t, LEVEL, tokens) - network(x_t, LEVEL)
    torch.testing.assert_close(guided(x_t, LEVEL, tokens), expected, **ROUNDING)
    conditions = Conditions(tokens=tokens)
    assert torch.equal(guided(x_t, LEVEL, tokens), guided(x_t, LEVEL, conditions))


@pytest.mark.parametrize("position", ["block", "coordinates"])
@pytest.mark.parametrize("levels", ["one", "rows", "maps"])
def test_a_window_of_a_batch_is_what_it_is_alone(position, levels):
    guided = Guided(own(position=position, token_grid=(2, 2)), 3.0)
    x_t, conditions = noisy(4), told(4)
    sigma = {
        "one": LEVEL,
        "rows": torch.rand(4, 1, 1, 1).double() + 0.1,
        "maps": torch.rand(4, 1, 16, 16).double(),
    }[levels]
    together = guided(x_t, sigma, conditions)
    for k in range(4):
        row = slice(k, k + 1)
        alone = guided(x_t[row], sigma if len(sigma) == 1 else sigma[row], conditions[row])
        torch.testing.assert_close(together[row], alone, **ROUNDING)
    # And each row is its own: told what another is, it is another image.
    order = torch.tensor([3, 0, 1, 2])
    swapped = guided(x_t, sigma, conditions[order])
    assert (swapped - together).abs().amax((1, 2, 3)).min() > 1e-3


def test_clean_pixels_stay_as_they_are():
    x_t, sigma = noisy(2), torch.rand(2, 1, 16, 16).double()
    sigma[..., :8] = 0.0
    made = Guided(own(), 5.0)(x_t, sigma, told(2))
    assert torch.equal(made[..., :8], x_t[..., :8])


def test_the_variance_is_that_of_the_row_with_tokens():
    network, x_t, conditions = own(variance_head=True), noisy(3), told(3)
    guided = Guided(network, 2.0)
    assert guided.estimates_variance
    x0_hat, variance = guided.with_variance(x_t, LEVEL, conditions)
    torch.testing.assert_close(
        variance, network.with_variance(x_t, LEVEL, conditions)[1], **ROUNDING
    )
    torch.testing.assert_close(x0_hat, guided(x_t, LEVEL, conditions), **ROUNDING)


def test_a_guided_denoiser_takes_what_the_denoiser_does():
    network = own()
    guided = Guided(network, 2.0)
    names = ("patch_size", "multiple", "channels", "takes_noise_maps", "takes")
    assert all(getattr(guided, name) == getattr(network, name) for name in names)
    assert Guided(GaussianDenoiser(GaussianField(), patch_size=8), 2.0).takes == frozenset()


def test_scales_below_0_are_refused():
    with pytest.raises(ValueError, match=r"guidance must be at least 0, got -0\.5\."):
        Guided(own(), -0.5)
