import pytest
import torch
from diffusers import EulerDiscreteScheduler

from sampling.sigmas import karras_sigmas


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
@pytest.mark.parametrize("num_steps", [2, 5, 40])
def test_levels_are_evenly_spaced_in_their_root(num_steps, rho):
    sigmas = karras_sigmas(num_steps, sigma_min=0.01, sigma_max=50.0, rho=rho)
    assert len(sigmas) == num_steps + 1
    assert sigmas[-1] == 0
    roots = sigmas[:-1].pow(1 / rho)
    assert (roots.diff() < 0).all()
    # float64 roots and powers keep 14 of 16 digits.
    torch.testing.assert_close(
        roots.diff(), roots.diff()[:1].expand(num_steps - 1), rtol=1e-9, atol=0
    )
    assert sigmas[0].item() == pytest.approx(50, rel=1e-13)
    assert sigmas[-2].item() == pytest.approx(0.01, rel=1e-12)


# numpy 2 deprecates how diffusers hands it tensors; what it computes is not affected.
@pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
def test_levels_equal_those_of_another_implementation():
    # Betas whose first and last levels are the ends of the sigmas.
    ends = torch.tensor([0.1, 10.0], dtype=torch.float64)
    alphas_cumprod = 1 / (1 + ends.square())
    betas = [1 - alphas_cumprod[0].item(), 1 - (alphas_cumprod[1] / alphas_cumprod[0]).item()]
    scheduler = EulerDiscreteScheduler(
        num_train_timesteps=2, trained_betas=betas, use_karras_sigmas=True
    )
    scheduler.set_timesteps(30)
    ours = karras_sigmas(30, sigma_min=0.1, sigma_max=10.0)
    # Theirs are float32, made from betas in float32: 1 - alpha^2 at level 0.1 keeps five digits.
    torch.testing.assert_close(scheduler.sigmas.double(), ours, rtol=2e-5, atol=0)


def test_the_noise_schedule_is_float64_on_the_cpu():
    sigmas = karras_sigmas(5)
    assert (sigmas.dtype, sigmas.device.type) == (torch.float64, "cpu")


@pytest.mark.parametrize("num_steps", [-1, 0, 1])
def test_too_few_steps_are_refused(num_steps):
    with pytest.raises(ValueError, match=f"num_steps must be at least 2, got {num_steps}"):
        karras_sigmas(num_steps)


@pytest.mark.parametrize(
    ("sigma_min", "sigma_max"), [(0.0, 1.0), (2.0, 2.0), (3.0, 2.0), (-1.0, 1.0)]
)
def test_empty_ranges_are_refused(sigma_min, sigma_max):
    message = f"need 0 < sigma_min < sigma_max, got sigma_min={sigma_min}, sigma_max={sigma_max}"
    with pytest.raises(ValueError, match=message):
        karras_sigmas(5, sigma_min=sigma_min, sigma_max=sigma_max)


@pytest.mark.parametrize("rho", [0.0, -7.0])
def test_bad_curvatures_are_refused(rho):
    with pytest.raises(ValueError, match=f"rho must be positive, got {rho}"):
        karras_sigmas(5, rho=rho)
