import dataclasses
import math
from itertools import pairwise

import jaxtyping
import pytest
import torch

from sampling.diffusers_solver import Diffusers
from sampling.noise import CanvasNoise, NoiseStream
from sampling.sigmas import karras_sigmas
from sampling.solvers import Euler, Heun, churned, euler_step, heun_step, solve

# numpy 2 deprecates how diffusers hands it tensors; what it computes is not affected.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


@dataclasses.dataclass(frozen=True)
class GaussianData:
    """x0 ~ N(mean, std^2) independently per pixel, and x_t = x0 + sigma * eps."""

    mean: float
    std: float

    def denoiser(self, x_t, sigma, context=None):
        """E[x0 | x_t], by conjugacy."""
        gain = self.std**2 / (self.std**2 + sigma**2)
        return torch.where(sigma > 0, self.mean + gain * (x_t - self.mean), x_t)

    def flow(self, x_t, sigma, sigma_next):
        """Exact solution of the probability-flow ODE from `sigma` to `sigma_next`."""
        ratio = (self.std**2 + sigma_next**2) / (self.std**2 + sigma**2)
        return self.mean + ratio**0.5 * (x_t - self.mean)


class Recorder:
    """A denoiser that remembers the levels it is asked for."""

    def __init__(self, denoiser):
        self.denoiser = denoiser
        self.sigmas = []

    def __call__(self, x_t, sigma, context=None):
        self.sigmas.append(sigma)
        return self.denoiser(x_t, sigma, context)


DATA = GaussianData(mean=0.3, std=0.5)
SCHEDULERS = [("dpmsolver++", 2), ("dpmsolver++", 3), ("deis", 2), ("deis", 3), ("ddim", 2)]


def stream(count: int = 1, dtype: torch.dtype = torch.float64) -> NoiseStream:
    return CanvasNoise(0, range(count), dtype=dtype).stream("churn")


def starts() -> torch.Tensor:
    return torch.tensor([-6.0, -1.0, 2.0, 9.0], dtype=torch.float64).view(1, 1, 2, 2)


def observed_order(errors: list[float]) -> float:
    """Mean slope where the number of steps doubles from one error to the next."""
    return math.log2(errors[0] / errors[-1]) / (len(errors) - 1)


@pytest.mark.parametrize(("step", "order"), [(euler_step, 1), (heun_step, 2)])
def test_order_of_convergence(step, order):
    exact = DATA.flow(starts(), 10.0, 0.1)
    errors = []
    for num_steps in (32, 64, 128, 256):
        ladder = torch.logspace(1, -1, num_steps + 1, dtype=torch.float64)
        errors.append((solve(step, DATA.denoiser, starts(), ladder) - exact).abs().max().item())
    # Measured: 0.993 and 2.015.
    assert observed_order(errors) == pytest.approx(order, abs=0.05)


@pytest.mark.parametrize(("solver", "order"), [(Euler, 1), (Heun, 2)])
def test_order_of_convergence_of_solvers(solver, order):
    # From 10 down to 0.1, and the estimate there.
    lowest = torch.tensor(0.1, dtype=torch.float64)
    exact = DATA.denoiser(DATA.flow(starts(), 10.0, 0.1), lowest)
    errors = []
    for num_steps in (33, 65, 129, 257):
        carried = solver(num_steps=num_steps, sigma_min=0.1, sigma_max=10.0)
        image = carried(DATA.denoiser, starts() / 10, stream())
        errors.append((image - exact).abs().max().item())
    # Measured: 0.992 and 2.013.
    assert observed_order(errors) == pytest.approx(order, abs=0.05)


def errors_of(scheduler: str, order: int) -> list[float]:
    # The last step returns the estimate at the lowest level.
    lowest = torch.tensor(0.1, dtype=torch.float64)
    exact = DATA.denoiser(DATA.flow(starts(), 10.0, 0.1), lowest)
    errors = []
    for num_steps in (33, 65, 129, 257):
        solver = Diffusers(
            num_steps=num_steps, sigma_min=0.1, sigma_max=10.0, scheduler=scheduler, order=order
        )
        image = solver(DATA.denoiser, starts() / 10, stream())
        errors.append((image - exact).abs().max().item())
    return errors


@pytest.mark.parametrize(
    ("scheduler", "order", "observed"),
    [
        ("ddim", 2, 1),
        ("dpmsolver++", 1, 1),
        ("deis", 1, 1),
        ("dpmsolver++", 2, 2),
        ("deis", 2, 2),
    ],
)
def test_order_of_convergence_of_diffusers(scheduler, order, observed):
    # Measured: 0.992, 0.992, 0.992, 2.007 and 2.013. The float32 state of DPM-Solver++ is good to
    # 1e-6; its smallest error here is 1.4e-5, which moves the order by less than 0.04.
    assert observed_order(errors_of(scheduler, order)) == pytest.approx(observed, abs=0.05)


@pytest.mark.parametrize("scheduler", ["dpmsolver++", "deis"])
def test_order_3_is_better_than_order_2(scheduler):
    # Not by an order: the first step has no history and is of order 1, an error of step^2, once.
    second, third = errors_of(scheduler, 2), errors_of(scheduler, 3)
    assert all(3 * better < worse for better, worse in zip(third, second, strict=True))


@pytest.mark.parametrize("num_steps", [2, 20, 100])
def test_ddim_is_the_euler_step(num_steps):
    eps = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    ddim = Diffusers(num_steps=num_steps, scheduler="ddim")(DATA.denoiser, eps, stream(2))
    euler = Euler(num_steps=num_steps)(DATA.denoiser, eps, stream(2))
    # float64, but 1 - alpha^2 at level 0.002 keeps 16 - 5 digits.
    torch.testing.assert_close(ddim, euler, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scheduler", ["dpmsolver++", "deis"])
def test_order_1_is_the_euler_step(scheduler):
    solver = Diffusers(num_steps=20, scheduler=scheduler, order=1)
    eps = torch.randn(2, 3, 4, 4)
    sigmas = solver.sigmas()
    euler = solve(euler_step, DATA.denoiser, float(sigmas[0]) * eps, sigmas)
    # float32: 20 steps of some roundings of 6e-8 each, on values up to 4 in their scaling.
    torch.testing.assert_close(solver(DATA.denoiser, eps, stream(2)), euler, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("scheduler", "order"), SCHEDULERS)
@pytest.mark.parametrize("num_steps", [2, 3, 14, 40])
def test_diffusers_asks_once_at_every_level(scheduler, order, num_steps):
    denoiser = Recorder(DATA.denoiser)
    solver = Diffusers(num_steps=num_steps, scheduler=scheduler, order=order)
    eps = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    image = solver(denoiser, eps, stream())
    assert image.isfinite().all()
    assert torch.equal(torch.cat(denoiser.sigmas).flatten(), solver.sigmas()[:-1])


@pytest.mark.parametrize(("scheduler", "order"), SCHEDULERS)
def test_the_last_estimate_of_diffusers_is_the_image(scheduler, order):
    target = torch.randn(1, 3, 4, 4)

    def knows(x_t, sigma, context=None):
        return target

    solver = Diffusers(num_steps=20, scheduler=scheduler, order=order)
    assert torch.equal(solver(knows, torch.randn_like(target), stream()), target)


@pytest.mark.parametrize(("scheduler", "order"), SCHEDULERS)
def test_diffusers_keeps_no_state_between_calls(scheduler, order):
    solver = Diffusers(num_steps=6, scheduler=scheduler, order=order)
    eps = torch.randn(2, 3, 4, 4)
    first = solver(DATA.denoiser, eps, stream())
    assert torch.equal(solver(DATA.denoiser, eps, stream()), first)


@pytest.mark.parametrize(("scheduler", "order"), SCHEDULERS)
def test_nothing_is_clipped(scheduler, order):
    wide = GaussianData(mean=40.0, std=0.5)
    solver = Diffusers(num_steps=40, scheduler=scheduler, order=order)
    image = solver(wide.denoiser, torch.zeros(1, 1, 4, 4), stream())
    # From 0 at level 80 the flow leads to 40 (1 - 0.5 / 80): off by 0.5 / 80 of 40, a quarter.
    assert image.sub(40).abs().max() < 0.5


@pytest.mark.parametrize("step", [euler_step, heun_step])
def test_a_map_of_levels_is_every_pixel_on_its_own_ladder(step):
    x_t = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    highest = torch.rand(2, 1, 2, 4, dtype=torch.float64) * 20 + 0.1
    highest[:, :, 0, 0] = 0
    ladder = karras_sigmas(6, sigma_min=0.01, sigma_max=1.0).view(-1, 1, 1, 1, 1) * highest
    # One pixel arrives early: at level 0 two steps before the others.
    ladder[-3:, 0, :, 1, 3] = 0
    together = solve(step, DATA.denoiser, x_t, ladder)
    for sample, row, column in ((s, r, c) for s in range(2) for r in range(2) for c in range(4)):
        index = slice(sample, sample + 1), slice(None), slice(row, row + 1), slice(column, None)
        levels = ladder[:, sample, 0, row, column]
        alone = solve(step, DATA.denoiser, x_t[index][..., :1], levels)
        # float64: the same operations, but for the step that ends at 0, written as interpolation.
        torch.testing.assert_close(together[index][..., :1], alone, rtol=1e-12, atol=1e-12)


def maps(ladder: torch.Tensor, *shape: int) -> torch.Tensor:
    """A ladder of maps whose pixels are all alike."""
    return ladder.view(-1, 1, 1, 1, 1).expand(-1, *shape)


@pytest.mark.parametrize("solver", [Euler(num_steps=6, churn=1.0), Heun(num_steps=6, churn=1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_maps_of_one_level_are_that_level(solver, dtype):
    eps, sigmas = torch.randn(2, 3, 4, 6, dtype=dtype), solver.sigmas()
    ladders = [maps(sigmas, *shape) for shape in ((2, 1, 4, 6), (1, 1, 4, 6), (2, 1, 1, 1))]
    # One after another.
    ladders += [iter(ladder) for ladder in (*ladders, maps(sigmas, 1, 1, 1, 1))]
    expected = solver(DATA.denoiser, eps, stream(2, dtype))
    assert expected.dtype == dtype
    for ladder in (sigmas, *ladders):
        image = solver.descend(DATA.denoiser, float(sigmas[0]) * eps, ladder, stream(2, dtype))
        assert torch.equal(image, expected)


def test_a_ladder_may_be_decided_on_the_way():
    """What a schedule needs that follows the denoiser's estimates: each step is asked for last."""
    denoiser = Recorder(DATA.denoiser)
    asked = []

    def ladder():
        for sigma in karras_sigmas(5):
            asked.append(len(denoiser.sigmas))
            yield sigma.view(1, 1, 1, 1)

    Euler(num_steps=5).descend(denoiser, starts(), ladder(), stream())
    # Two levels make the first step; every later one has seen the estimates of all steps before.
    assert asked == [0, 0, 1, 2, 3, 4]


def some_wait(sigmas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A ladder down which some pixels wait twice, at the top and in the middle, and which."""
    waiting = torch.rand(2, 1, 4, 4) < 0.5
    down = maps(sigmas[[0, 1, 2, 3, 4]], 2, 1, 4, 4)
    late = maps(sigmas[[0, 0, 1, 1, 2]], 2, 1, 4, 4)
    return late.where(waiting, down), waiting


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", [euler_step, heun_step])
def test_pixels_that_wait_do_not_move_at_all(step, dtype):
    ladder, waiting = some_wait(karras_sigmas(6))
    seen = []

    def watched(denoiser, x_t, sigma, sigma_next):
        seen.append((x_t, step(denoiser, x_t, sigma, sigma_next)))
        return seen[-1][1]

    solve(watched, DATA.denoiser, 80 * torch.randn(2, 3, 4, 4, dtype=dtype), ladder)
    there = waiting.expand(2, 3, 4, 4)
    for number, (before, after) in enumerate(seen):
        assert (after != before)[~there].all()
        assert torch.equal(after[there], before[there]) == (number in (0, 2))


@pytest.mark.parametrize("step", [euler_step, heun_step])
def test_pixels_that_wait_are_not_churned_and_those_beside_them_are(step):
    recorder = Recorder(DATA.denoiser)
    x_t = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    sigma = torch.tensor([3.0, 5.0, 0.5, 5.0], dtype=torch.float64).view(1, 1, 1, 4)
    sigma_next = torch.tensor([3.0, 4.0, 0.5, 0.0], dtype=torch.float64).view(1, 1, 1, 4)
    x_next = churned(step, stream(), gamma=0.4)(recorder, x_t, sigma, sigma_next)
    expected = torch.tensor([3.0, 7.0, 0.5, 7.0], dtype=torch.float64).view(1, 1, 1, 4)
    torch.testing.assert_close(recorder.sigmas[0], expected, rtol=1e-15, atol=0)  # 1.4 is rounded
    assert torch.equal(x_next[..., ::2], x_t[..., ::2])
    assert (x_next != x_t)[..., 1::2].all()


def at(sigma: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), sigma, dtype=torch.float64)


def algorithm_2(denoiser, eps, noise, num_steps, *, churn, s_noise, s_min, s_max):
    """[EDM] Alg. 2, line by line, on numbers."""
    t = karras_sigmas(num_steps).tolist()
    x = t[0] * eps
    for t_i, t_next in pairwise(t):
        gamma = min(churn / num_steps, math.sqrt(2) - 1) if s_min <= t_i <= s_max else 0
        t_hat = t_i + gamma * t_i
        x_hat = x + math.sqrt(t_hat**2 - t_i**2) * s_noise * noise.like(x)
        d_i = (x_hat - denoiser(x_hat, at(t_hat))) / t_hat
        x = x_hat + (t_next - t_hat) * d_i
        if t_next != 0:
            estimate = denoiser(x, at(t_next))
            x = x_hat + (t_next - t_hat) * (d_i / 2 + (x - estimate) / t_next / 2)
    return x


@pytest.mark.parametrize(
    "settings",
    [
        {"churn": 0.0, "s_noise": 1.0, "s_min": 0.0, "s_max": 1e9},
        {"churn": 5.0, "s_noise": 1.01, "s_min": 0.05, "s_max": 50.0},
        {"churn": 80.0, "s_noise": 0.9, "s_min": 0.0, "s_max": 1e9},
    ],
)
def test_heun_is_algorithm_2(settings):
    eps = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    expected = algorithm_2(DATA.denoiser, eps, stream(2), 12, **settings)
    image = Heun(num_steps=12, **settings)(DATA.denoiser, eps, stream(2))
    # float64: the same operations in another order, on noise that starts at 80.
    torch.testing.assert_close(image, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("num_steps", [2, 3, 18])
def test_euler_costs_one_evaluation_a_step_at_every_level(num_steps):
    denoiser, solver = Recorder(DATA.denoiser), Euler(num_steps=num_steps)
    solver(denoiser, torch.randn(1, 1, 2, 2, dtype=torch.float64), stream())
    assert torch.equal(torch.cat(denoiser.sigmas).flatten(), solver.sigmas()[:-1])


@pytest.mark.parametrize("step", [euler_step, heun_step])
def test_clean_pixels_stay_bit_by_bit(step):
    x_t = torch.randn(2, 3, 4, 4)
    clean = torch.rand(2, 1, 4, 4) < 0.5
    sigmas = karras_sigmas(5).float().view(-1, 1, 1, 1, 1) * ~clean
    noisy_step = churned(step, stream(2, torch.float32), gamma=0.3)
    image = solve(noisy_step, DATA.denoiser, x_t, sigmas)
    expanded = clean.expand_as(x_t)
    assert torch.equal(image[expanded], x_t[expanded])
    assert (image != x_t)[~expanded].all()


@pytest.mark.parametrize("num_steps", [2, 3, 18])
def test_heun_costs_two_evaluations_a_step_but_one_for_the_last(num_steps):
    denoiser = Recorder(DATA.denoiser)
    Heun(num_steps=num_steps)(denoiser, torch.randn(1, 1, 2, 2), stream())
    assert len(denoiser.sigmas) == 2 * num_steps - 1
    assert min(sigma.min() for sigma in denoiser.sigmas) > 0


def test_the_last_step_returns_the_estimate():
    x_t = torch.randn(1, 3, 2, 2)
    sigma = torch.full((1, 1, 1, 1), 0.7)
    last = euler_step(DATA.denoiser, x_t, sigma, torch.zeros(1, 1, 1, 1))
    assert torch.equal(last, DATA.denoiser(x_t, sigma))
    assert torch.equal(solve(heun_step, DATA.denoiser, x_t, torch.tensor([0.7, 0.0])), last)


def test_heun_is_the_exact_flow_of_one_gaussian():
    eps = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    image = Heun(num_steps=64)(DATA.denoiser, eps, stream())
    exact = DATA.flow(80 * eps, 80.0, 0.0)
    # The error is one of scale: 64 steps leave 0.4 % of the standard deviation.
    assert ((image - 0.3) / (exact - 0.3)).sub(1).abs().max() < 0.006


@pytest.mark.parametrize("churn", [0.0, 30.0, 1000.0])
def test_churn_leaves_the_distribution_as_it_is(churn):
    count = 16
    solver = Heun(num_steps=128, churn=churn)
    eps = CanvasNoise(1, range(count)).draw("start", 0, (1, 64, 64))
    image = solver(DATA.denoiser, eps, stream(count, torch.float32))
    # 65,536 pixels: the standard errors are 0.002 (mean) and 0.0014 (deviation). Starting at level
    # 80 without the mean costs 0.3 * 0.5 / 80 of it; 128 steps leave 0.0003, 0.003 and, with the
    # most churn, 0.005 on the deviation (measured on a million pixels).
    assert image.mean().item() == pytest.approx(0.3, abs=0.010 + 0.002)
    assert image.std().item() == pytest.approx(0.5, abs=0.007 + 0.005)


def churned_call(**settings):
    """What one churned step hands on: the raised image and level, from x_t = 0 at level 2."""
    seen = []

    def step(denoiser, x_t, sigma, sigma_next):
        seen.append((x_t, sigma, sigma_next))
        return x_t

    wrapped = Heun(num_steps=10, **settings).churned(step, stream())
    level = torch.full((1, 1, 1, 1), 2.0, dtype=torch.float64)
    wrapped(DATA.denoiser, torch.zeros(1, 4, 64, 64, dtype=torch.float64), level, level / 2)
    return seen[0]


@pytest.mark.parametrize(("churn", "gamma"), [(1.0, 0.1), (4.0, 0.4), (5.0, 2**0.5 - 1)])
def test_churn_is_shared_out_and_capped(churn, gamma):
    x_t, sigma, sigma_next = churned_call(churn=churn, s_noise=1.5)
    assert sigma.item() == pytest.approx(2 * (1 + gamma), rel=1e-12)
    assert sigma_next.item() == 1
    # 16,384 numbers: the relative standard error of a deviation is 0.0055, five of them 0.028.
    added = 1.5 * 2 * ((1 + gamma) ** 2 - 1) ** 0.5
    assert x_t.std().item() == pytest.approx(added, rel=0.028)


@pytest.mark.parametrize(
    ("bounds", "inside"),
    [
        ({"s_min": 2.0, "s_max": 2.0}, True),
        ({"s_min": 2.1}, False),
        ({"s_max": 1.9}, False),
    ],
)
def test_churn_acts_in_its_range_only(bounds, inside):
    x_t, sigma, _ = churned_call(churn=4.0, **bounds)
    assert (x_t != 0).any() == inside
    assert sigma.item() == pytest.approx(2.8 if inside else 2.0, rel=1e-12)


def test_churn_draws_anew_at_every_step():
    noise = stream()
    seen = []

    def step(denoiser, x_t, sigma, sigma_next):
        seen.append(x_t)
        return torch.zeros_like(x_t)

    wrapped = churned(step, noise, gamma=0.2)
    solve(wrapped, DATA.denoiser, torch.zeros(1, 1, 4, 4), torch.tensor([1.0, 0.8, 0.5]))
    assert not torch.isclose(seen[0], seen[1]).any()


def test_no_churn_draws_nothing():
    noise = stream()
    Heun(num_steps=3)(DATA.denoiser, torch.randn(1, 1, 2, 2), noise)
    assert noise.step == 0


@pytest.mark.parametrize(
    ("solver", "settings", "message"),
    [
        (Heun, {"num_steps": 1}, "num_steps must be at least 2, got 1"),
        (Heun, {"churn": -0.5}, r"churn must be at least 0, got -0\.5"),
        (Diffusers, {"num_steps": 0}, "num_steps must be at least 2, got 0"),
        (Diffusers, {"sigma_min": 3.0, "sigma_max": 2.0}, "need 0 < sigma_min < sigma_max"),
        (Diffusers, {"order": 0}, "order must be 1, 2 or 3, got 0"),
        (Diffusers, {"order": 4, "scheduler": "deis"}, "order must be 1, 2 or 3, got 4"),
    ],
)
def test_bad_settings_are_refused(solver, settings, message):
    with pytest.raises(ValueError, match=message):
        solver(**settings)


def test_an_unknown_scheduler_is_refused(monkeypatch):
    # In the tests the type checker would speak first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"one of dpmsolver\+\+, deis, ddim, got 'euler'"):
        Diffusers(scheduler="euler")


def test_a_negative_churn_of_a_step_is_refused():
    with pytest.raises(ValueError, match=r"gamma must be at least 0, got -0\.1"):
        churned(euler_step, stream(), gamma=-0.1)
