import pytest
import torch
from torch import nn

from denoisers.precond import EDMPrecond

SIGMAS = [0.002, 0.1, 0.5, 3.0, 80.0]


class Spy(nn.Module):
    """A raw network that returns what it is told to and remembers its input."""

    multiple = 4
    in_channels = 3

    def __init__(self, output=None) -> None:
        super().__init__()
        self.output = output

    def forward(self, x, c_noise):
        self.x, self.c_noise = x, c_noise
        return torch.zeros_like(x) if self.output is None else self.output.expand_as(x)


class Conv(nn.Module):
    """A small network that a noise level changes."""

    multiple = 4
    in_channels = 3

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, c_noise):
        return self.conv(x) * (1 + c_noise)


def level(sigma: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), sigma, dtype=dtype)


def balanced(sigma_data: float) -> tuple[torch.Tensor, torch.Tensor]:
    """x0 and eps of mean 0, deviations `sigma_data` and 1 and no correlation, all of it exactly."""
    x0 = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64).view(1, 1, 2, 2) * sigma_data
    eps = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64).view(1, 1, 2, 2)
    return x0.repeat(1, 3, 2, 2), eps.repeat(1, 3, 2, 2)


def rotated(x0, eps, sigma, sigma_data):
    """Input and target of the network, as a rotation of the unit pair (x0 / sigma_data, eps).

    With tan(angle) = sigma / sigma_data the input is the pair's component along the angle, and the
    target the one across it: both of unit variance, and independent of each other.
    """
    angle = torch.atan2(sigma, torch.full_like(sigma, sigma_data))
    unit = x0 / sigma_data
    return angle.cos() * unit + angle.sin() * eps, angle.sin() * unit - angle.cos() * eps


@pytest.mark.parametrize("sigma_data", [0.5, 1.3])
def test_a_zero_network_is_the_gaussian_denoiser(sigma_data):
    x_t, sigma = torch.randn(5, 3, 4, 4), torch.tensor(SIGMAS).view(5, 1, 1, 1)
    # E[x0 | x_t] for x0 ~ N(0, sigma_data^2), by conjugacy.
    expected = x_t / (1 + (sigma / sigma_data) ** 2)
    torch.testing.assert_close(EDMPrecond(Spy(), 8, sigma_data)(x_t, sigma), expected)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("sigma_data", [0.5, 1.3])
def test_a_zero_network_has_loss_1_at_every_level(sigma, sigma_data):
    x0, eps = balanced(sigma_data)
    loss = EDMPrecond(Spy(), 8, sigma_data).loss(x0, level(sigma), eps)
    assert loss.shape == x0.shape
    # Balanced data: no sampling error. x0 - c_skip x_t cancels 1 in 250 at the lowest level.
    assert loss.mean().item() == pytest.approx(1, rel=1e-11)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("sigma_data", [0.5, 1.3])
def test_the_network_sees_unit_variance(sigma, sigma_data):
    x0, eps = balanced(sigma_data)
    spy = Spy()
    EDMPrecond(spy, 8, sigma_data)(x0 + sigma * eps, level(sigma))
    expected, _ = rotated(x0, eps, level(sigma), sigma_data)
    torch.testing.assert_close(spy.x, expected)
    assert spy.x.square().mean().item() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("sigma_data", [0.5, 1.3])
def test_a_network_that_returns_its_target_is_a_perfect_denoiser(sigma, sigma_data):
    x0, eps = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    _, target = rotated(x0, eps, level(sigma), sigma_data)
    denoiser = EDMPrecond(Spy(target), 8, sigma_data)
    # Sums that cancel numbers up to 80 in float64.
    torch.testing.assert_close(denoiser(x0 + sigma * eps, level(sigma)), x0, rtol=1e-10, atol=1e-10)
    assert denoiser.loss(x0, level(sigma), eps).max() < 1e-20


def test_the_loss_is_the_square_of_the_error_over_c_out():
    x0, eps = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    denoiser = EDMPrecond(Spy(torch.tensor(0.7)), 8)
    sigma = torch.rand(2, 1, 4, 4, dtype=torch.float64) + 0.1
    error = denoiser(x0 + sigma * eps, sigma) - x0
    # [EDM] Table 1: the weight is (sigma^2 + sigma_data^2) / (sigma sigma_data)^2.
    expected = error**2 * (1 / sigma**2 + 1 / 0.5**2)
    torch.testing.assert_close(denoiser.loss(x0, sigma, eps), expected)


def test_the_level_reaches_the_network_as_a_quarter_of_its_logarithm():
    spy = Spy()
    sigma = torch.tensor([0.0, 1e-5, 0.002, 1.0, torch.e**4, 80.0]).view(6, 1, 1, 1)
    EDMPrecond(spy, 8, sigma_floor=0.002)(torch.zeros(6, 3, 4, 4), sigma)
    expected = torch.tensor([-1.5536520, -1.5536520, -1.5536520, 0.0, 1.0, 1.0955067])
    torch.testing.assert_close(spy.c_noise.flatten(), expected)


@pytest.mark.parametrize("sigma_data", [0.5, 0.3, 0.015])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_clean_pixels_come_back_bit_by_bit(sigma_data, autocast):
    denoiser = EDMPrecond(Conv(), 8, sigma_data)
    denoiser.autocast_dtype = autocast
    x_t, clean = torch.randn(3, 3, 8, 8), torch.rand(3, 1, 8, 8) < 0.5
    sigma = torch.where(clean, 0.0, torch.rand(3, 1, 8, 8) * 10)
    x0_hat = denoiser(x_t, sigma)
    expanded = clean.expand_as(x_t)
    assert x0_hat.dtype == torch.float32
    assert torch.equal(x0_hat[expanded], x_t[expanded])
    assert (x0_hat != x_t)[~expanded].all()
    assert torch.equal(denoiser(x_t, level(0.0, torch.float32)), x_t)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(denoiser(x_t, sigma)[expanded], x_t[expanded])


def test_autocast_rounds_the_network_only():
    denoiser = EDMPrecond(Conv(), 8)
    x_t, sigma = torch.randn(2, 3, 8, 8), level(0.4, torch.float32)
    exact = denoiser(x_t, sigma)
    denoiser.autocast_dtype = torch.bfloat16
    rounded = denoiser(x_t, sigma)
    # bfloat16 keeps 8 bits of a network output of order 1, times c_out = 0.3.
    assert 0 < (rounded - exact).abs().max() < 0.02


@pytest.mark.parametrize("sigma_data", [0.5, 0.3, 0.015])
def test_clean_pixels_have_no_loss_and_give_no_bad_gradient(sigma_data):
    denoiser = EDMPrecond(Conv(), 8, sigma_data)
    x0, eps, clean = torch.randn(3, 3, 8, 8), torch.randn(3, 3, 8, 8), torch.rand(3, 1, 8, 8) < 0.5
    loss = denoiser.loss(x0, torch.where(clean, 0.0, 0.7), eps)
    expanded = clean.expand_as(x0)
    assert (loss[expanded] == 0).all()
    assert (loss[~expanded] > 0).all()
    loss.mean().backward()
    gradient = denoiser.network.conv.weight.grad
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
    denoiser.zero_grad()
    denoiser.loss(x0, level(0.0, torch.float32), eps).mean().backward()
    assert (denoiser.network.conv.weight.grad == 0).all()


def test_a_constant_map_is_the_uniform_level():
    denoiser = EDMPrecond(Conv(), 8).double()
    x_t = torch.randn(2, 3, 4, 8, dtype=torch.float64)
    eps = torch.randn_like(x_t)
    sigma = torch.tensor([0.3, 7.0], dtype=torch.float64).view(2, 1, 1, 1)
    as_map = sigma.expand(2, 1, 4, 8)
    # Elementwise: the same operations on the same numbers, in float64.
    torch.testing.assert_close(denoiser(x_t, as_map), denoiser(x_t, sigma), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(
        denoiser.loss(x_t, as_map, eps), denoiser.loss(x_t, sigma, eps), rtol=1e-12, atol=1e-12
    )


def test_it_says_which_patches_it_takes():
    denoiser = EDMPrecond(Spy(), 16)
    assert (denoiser.patch_size, denoiser.multiple, denoiser.channels) == (16, 4, 3)


@pytest.mark.parametrize(("height", "width"), [(6, 8), (8, 6), (3, 5)])
def test_sizes_that_do_not_fit_are_refused(height, width):
    message = f"height and width must be multiples of 4, got {height} x {width}"
    with pytest.raises(ValueError, match=message):
        EDMPrecond(Spy(), 8)(torch.zeros(1, 3, height, width), level(1.0, torch.float32))


def test_a_context_is_refused():
    with pytest.raises(ValueError, match="unconditional: context must be None"):
        EDMPrecond(Spy(), 8)(torch.zeros(1, 3, 8, 8), level(1.0, torch.float32), "a lake")


@pytest.mark.parametrize("patch_size", [0, -8, 4, 12])
def test_patches_whose_half_does_not_fit_are_refused(patch_size):
    with pytest.raises(ValueError, match=f"must be a multiple of 8, .* got {patch_size}"):
        EDMPrecond(Spy(), patch_size)


@pytest.mark.parametrize(("sigma_data", "sigma_floor"), [(0.0, 0.1), (-0.5, 0.1), (0.5, 0.0)])
def test_deviations_that_are_not_positive_are_refused(sigma_data, sigma_floor):
    message = f"must be positive, got {sigma_data}, {sigma_floor}"
    with pytest.raises(ValueError, match=message):
        EDMPrecond(Spy(), 8, sigma_data, sigma_floor)


def test_a_map_is_refused_by_a_network_that_never_saw_one():
    denoiser = EDMPrecond(Spy(), 8, takes_noise_maps=False)
    denoiser(torch.zeros(1, 3, 8, 8), level(1.0))
    with pytest.raises(ValueError, match="one noise level an image, got a map"):
        denoiser(torch.zeros(1, 3, 8, 8), level(1.0).expand(1, 1, 8, 8))


class Uncertain(nn.Module):
    """A raw network that is told its residual's log-variance, and what to say beside it."""

    multiple = 4
    in_channels = 3
    estimates_variance = True

    def __init__(self, log_variance: float) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.tensor(log_variance, dtype=torch.float64))
        self.raw = nn.Parameter(torch.zeros(3, 1, 1, dtype=torch.float64))

    def forward(self, x, c_noise):
        log_variance = self.log_variance.expand(len(x), 1, *x.shape[-2:])
        return torch.cat([self.raw.expand_as(x), log_variance], dim=1)


def test_the_variance_is_that_of_the_residual_scaled_as_the_estimate_is():
    denoiser = EDMPrecond(Uncertain(0.7), sigma_data=0.3)
    sigma = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    sigma[:, :, :4] = 0
    x_t = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    x0_hat, variance = denoiser.with_variance(x_t, sigma)
    assert torch.equal(x0_hat, denoiser(x_t, sigma))
    # The prior variance 0.09 seen through noise: 1 / (1/0.09 + 1/sigma^2), times v = e^0.7.
    expected = torch.exp(torch.tensor(0.7)) / (1 / 0.09 + 1 / sigma.square())
    torch.testing.assert_close(variance, expected, rtol=1e-6, atol=0.0)  # e^0.7 in float32
    assert not variance[:, :, :4].any()


def test_the_likelihood_of_the_variance_is_that_of_a_normal_residual():
    x0 = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    eps, sigma = torch.randn_like(x0), level(0.4)
    denoiser = EDMPrecond(Uncertain(-0.5))
    squared, nll = denoiser.losses(x0, sigma, eps)
    normal = torch.distributions.Normal(0.0, torch.tensor(-0.25, dtype=torch.float64).exp())
    log_density = normal.log_prob(squared.sqrt()).mean(1, keepdim=True)
    constant = torch.log(torch.tensor(2 * torch.pi)) / 2
    torch.testing.assert_close(nll, -log_density - constant, rtol=1e-6, atol=1e-6)


def test_the_best_variance_is_the_mean_squared_residual():
    x0 = torch.randn(64, 3, 8, 8, dtype=torch.float64) / 2
    eps, sigma = torch.randn_like(x0), level(0.4)
    residual = EDMPrecond(Uncertain(0.0)).losses(x0, sigma, eps)[0].mean().log().item()
    network = Uncertain(residual)
    EDMPrecond(network).losses(x0, sigma, eps)[1].mean().backward()
    # The derivative (1 - r^2 / v) / 2 of a mean, in float64.
    assert network.log_variance.grad.abs() < 1e-12
    # The estimate learns nothing from it.
    assert network.raw.grad is None or not network.raw.grad.any()


def test_a_clean_pixel_has_no_likelihood():
    denoiser = EDMPrecond(Uncertain(1.0))
    sigma = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    sigma[..., :4] = 0
    x0 = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    nll = denoiser.losses(x0, sigma, torch.randn_like(x0))[1]
    assert not nll[..., :4].any()
    assert nll[..., 4:].all()


def test_a_network_without_a_variance_says_so():
    denoiser = EDMPrecond(Conv())
    assert not denoiser.estimates_variance
    with pytest.raises(ValueError, match="estimates no variance"):
        denoiser.with_variance(torch.zeros(1, 3, 8, 8), level(1.0, torch.float32))
    zeros = torch.zeros(1, 3, 8, 8)
    assert denoiser.losses(zeros, torch.ones(1, 1, 1, 1), zeros)[1] is None


@pytest.mark.parametrize(("log_variance", "bound"), [(5.0, 4.0), (-13.0, -12.0)])
def test_a_variance_out_of_range_counts_as_the_bound_and_finds_back(log_variance, bound):
    x0 = torch.randn(4, 3, 8, 8, dtype=torch.float64) / 2
    eps, sigma = torch.randn_like(x0), level(0.4)
    network, at_bound = Uncertain(log_variance), Uncertain(bound)
    nll, expected = (EDMPrecond(each).losses(x0, sigma, eps)[1] for each in (network, at_bound))
    # x + (y - x) is y but for rounding.
    torch.testing.assert_close(nll, expected, rtol=1e-9, atol=0.0)
    nll.mean().backward()
    # Downhill is back into the range: a positive slope above it, a negative one below.
    assert network.log_variance.grad * (log_variance - bound) > 0
