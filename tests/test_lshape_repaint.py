"""Blocks with three known quadrants, and the way up and down the levels."""

import math
from itertools import chain, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from denoisers.gaussian import GaussianDenoiser, GaussianField
from sampling.noise import CanvasNoise, seed_of
from sampling.solvers import Euler, Heun, Solver
from strategies.canvas import Canvas, Known
from strategies.lshape_repaint import LShapeRepaint, walk
from tests.doubles import Blurred
from tests.test_sequential import covariance, noise, rectangle, spied

# A busy machine is no failure.
examples = settings(max_examples=50, deadline=None)
few_examples = settings(max_examples=15, deadline=None)


@st.composite
def walks(draw, most: int = 24) -> tuple[int, int, int]:
    """A number of steps, a jump length below it, and how often stretches are walked."""
    num_steps = draw(st.integers(2, most))
    return num_steps, draw(st.integers(1, num_steps - 1)), draw(st.integers(1, 6))


def schedule(steps: int, jump_length: int, jump_n_sample: int) -> list[int]:
    """The times of RePaint's schedule, from steps - 1, all noise, to -1, an image.

    As the paper's appendix has it: at times 0, j, 2 j, ... below T - j the way goes j times one
    step back up, r - 1 times before it goes on down.
    """
    left = {time: jump_n_sample - 1 for time in range(steps) if time % jump_length == 0}
    left = {time: times for time, times in left.items() if time < steps - jump_length}
    time, times = steps - 1, [steps - 1]
    while time >= 0:
        time -= 1
        times.append(time)
        if left.get(time, 0) > 0:
            left[time] -= 1
            for _ in range(jump_length):
                time += 1
                times.append(time)
    return times


@examples
@given(walks())
def test_the_walk_is_that_of_repaint(of):
    steps, path = of[0], []
    # In the paper the way up is one level at a time; noise is added in one go here.
    for before, after in pairwise(walk(*of)):
        path += [before] if after > before else range(before, after, -1)
    assert [steps - 1 - index for index in [*path, steps]] == schedule(*of)


def steps_of(num_steps: int, jump_length: int, jump_n_sample: int) -> int:
    """The closed form that the documentation promises."""
    stretches = math.ceil((num_steps - jump_length) / jump_length)
    return num_steps + stretches * (jump_n_sample - 1) * jump_length


@examples
@given(walks())
def test_a_walk_is_as_long_as_promised(of):
    assert sum(after > before for before, after in pairwise(walk(*of))) == steps_of(*of)


@few_examples
@given(walks(most=8), st.sampled_from([Euler, Heun]))
def test_a_block_takes_the_calls_that_are_promised(of, solver):
    num_steps, jump_length, jump_n_sample = of
    strategy = LShapeRepaint(
        solver=solver(num_steps=num_steps, sigma_min=0.5),
        jump_length=jump_length,
        jump_n_sample=jump_n_sample,
    )
    denoiser = Blurred()
    strategy.generate(denoiser, Canvas(height=8, width=16), noise())
    once = steps_of(*of) if solver is Euler else 2 * steps_of(*of) - 1
    assert denoiser.batches == [1] * 3 * once


@pytest.mark.parametrize("jump_length", [1, 5, 7])
def test_one_visit_is_a_plain_way_down_whatever_the_jump(jump_length):
    assert walk(5, jump_length, 1) == [0, 1, 2, 3, 4, 5]
    LShapeRepaint(solver=Euler(num_steps=5), jump_length=jump_length, jump_n_sample=1)


class Spied:
    """Independent pixels N(0, 1), and what is asked about them."""

    patch_size, multiple, channels, takes_noise_maps = 4, 1, 1, False

    def __init__(self) -> None:
        self.asked: list[tuple[float, Tensor]] = []

    def __call__(self, x_t, sigma, context=None):
        self.asked.append((sigma.item(), x_t))
        return x_t / (1 + sigma.square())


class Bulk(CanvasNoise):
    """Noise for many samples, from one generator a draw."""

    def draw(self, purpose, step, shape):
        generator = torch.Generator().manual_seed(seed_of(purpose, step))
        return torch.randn(len(self), *shape, generator=generator, dtype=self.dtype)


SAMPLES = 4000
HALF = rectangle(Canvas(height=4, width=4), slice(None), slice(0, 2))


def asked(strategy: LShapeRepaint) -> list[tuple[float, Tensor, Tensor]]:
    """Of every evaluation of a block with a known half: its level, the noise that is on what is
    known, and the unknown half.
    """
    denoiser = Spied()
    # Far enough from 0 to show in a mean at any level.
    known = Known(10 * torch.rand(SAMPLES, 1, 4, 4, dtype=torch.float64), HALF)
    strategy.generate(
        denoiser,
        Canvas(height=4, width=4, channels=1),
        Bulk(0, range(SAMPLES), dtype=torch.float64),
        known=known,
    )
    return [(s, (x_t - known.y)[..., :2], x_t[..., 2:]) for s, x_t in denoiser.asked]


LADDER = {"num_steps": 6, "sigma_min": 0.05, "sigma_max": 20.0}
# 4000 samples of 8 pixels: a standard error is 0.4 % of a deviation, 0.0056 of a correlation.
FIVE_ERRORS = {"rel": 0.02}
STRATEGIES = {
    "euler": LShapeRepaint(solver=Euler(**LADDER), jump_n_sample=1),
    "euler-resampled": LShapeRepaint(solver=Euler(**LADDER), jump_length=2, jump_n_sample=3),
    "heun-resampled": LShapeRepaint(solver=Heun(**LADDER), jump_length=1, jump_n_sample=2),
    "heun-churned": LShapeRepaint(solver=Heun(**LADDER, churn=2.0), jump_n_sample=2),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_is_known_is_seen_at_the_level_that_is_told(name):
    evaluations = asked(STRATEGIES[name])
    levels = [sigma for sigma, _, _ in evaluations]
    # Up again after some steps, unless every level is visited once.
    assert any(after > before for before, after in pairwise(levels)) == (name != "euler")
    # Fresh noise is put back between steps: within one, Heun's second evaluation sees what the
    # first has made of it.
    first = evaluations[::2] if name.startswith("heun") else evaluations
    for sigma, eps, _ in first:
        assert eps.std().item() == pytest.approx(sigma, **FIVE_ERRORS)
        # Five standard errors of a mean.
        assert abs(eps.mean().item()) < 5 * sigma / math.sqrt(eps.numel())


@pytest.mark.parametrize("name", ["euler", "euler-resampled"])
def test_its_noise_is_fresh_at_every_step_and_after_every_climb(name):
    noises = torch.stack([eps.flatten() for _, eps, _ in asked(STRATEGIES[name])])
    correlations = torch.corrcoef(noises).fill_diagonal_(0)
    # 32,000 products: five standard errors.
    assert correlations.abs().max() < 5 / math.sqrt(SAMPLES * 8)


@pytest.mark.parametrize("name", ["euler", "euler-resampled"])
def test_what_is_unknown_follows_the_solver_down_and_fresh_noise_up(name):
    strategy = STRATEGIES[name]
    sigmas, evaluations = strategy.solver.sigmas().tolist(), iter(asked(strategy))
    variance = sigmas[0] ** 2
    for here, there in pairwise(walk(6, strategy.jump_length, strategy.jump_n_sample)):
        low, high = sigmas[max(here, there)], sigmas[min(here, there)]
        if there < here:
            variance += high**2 - low**2
            continue
        sigma, _, unknown = next(evaluations)
        assert sigma == pytest.approx(high, rel=1e-12)
        assert unknown.std().item() == pytest.approx(math.sqrt(variance), **FIVE_ERRORS)
        # To x0 + (s' / s) (x - x0), where x0 = x / (1 + s^2).
        variance *= ((1 + low * high) / (1 + high**2)) ** 2
    assert next(evaluations, None) is None


def quadrants(window: Known) -> list[list[bool]]:
    """Which quadrants of a block are known: nothing between all and none."""
    halves = window.mask[:, 0].unflatten(1, (2, -1)).unflatten(3, (2, -1))
    whole, some = halves.all((0, 2, 4)), halves.any((2, 4)).any(0)
    assert torch.equal(whole, some)
    return whole.tolist()


def test_blocks_inside_know_three_quadrants_and_those_at_the_edges_fewer():
    strategy, seen = spied(LShapeRepaint(solver=Euler(num_steps=2), jump_n_sample=1))
    strategy.generate(Blurred(), Canvas(height=16, width=20), noise(0, 1))
    # The rest is unknown: never zeros that are said to be known.
    corner, edge = [[False, False], [False, False]], [[True, False], [True, False]]
    below, inside = [[True, True], [False, False]], [[True, True], [True, False]]
    rows = [[corner, *[edge] * 3], *[[below, *[inside] * 3]] * 2]
    assert [quadrants(window) for window in seen] == list(chain(*rows))


def test_what_no_block_has_painted_starts_as_noise():
    denoiser = Spied()
    strategy = LShapeRepaint(solver=Euler(num_steps=2), jump_n_sample=1, order="raster")
    canvas = Canvas(height=4, width=6, channels=1)
    strategy.generate(denoiser, canvas, Bulk(0, range(SAMPLES), dtype=torch.float64))
    (first, corner), _, (second, edge), _ = denoiser.asked
    assert first == second == 80
    for unpainted in (corner, edge[..., 2:]):
        assert unpainted.std().item() == pytest.approx(80, **FIVE_ERRORS)
    # A window each: noise of its own.
    both = torch.stack([corner.flatten(), edge.flatten()])
    assert torch.corrcoef(both)[0, 1].abs() < 5 / math.sqrt(SAMPLES * 16)


@pytest.mark.parametrize("name", ["jump_length", "jump_n_sample"])
@pytest.mark.parametrize("value", [0, -1])
def test_jumps_are_at_least_one(name, value):
    with pytest.raises(ValueError, match=f"{name} .* got {value}"):
        LShapeRepaint(**{name: value})


@pytest.mark.parametrize("jump_length", [5, 6])
def test_jumps_over_the_whole_noise_schedule_are_refused(jump_length):
    message = rf"jump_length .* got {jump_length}\."
    with pytest.raises(ValueError, match=message):
        LShapeRepaint(solver=Euler(num_steps=5), jump_length=jump_length)
    LShapeRepaint(solver=Euler(num_steps=jump_length + 1), jump_length=jump_length)


class Remembering(Solver):
    """A solver of whole ways down."""

    def __call__(self, denoiser, eps, noise):
        raise AssertionError


def test_solvers_that_remember_earlier_steps_are_refused_before_any_call():
    denoiser, strategy = Blurred(), LShapeRepaint(solver=Remembering())
    hint = "solver=heun .* got Remembering"
    with pytest.raises(ValueError, match=hint):
        strategy.generate(denoiser, Canvas(height=8, width=16), noise())
    assert not denoiser.batches


def test_blocks_of_odd_sides_are_refused_before_any_call():
    denoiser = Blurred()
    denoiser.multiple = 1
    with pytest.raises(ValueError, match=r"window .* even, .* got 5"):
        LShapeRepaint(window=(8, 5)).generate(denoiser, Canvas(height=8, width=16), noise())
    assert not denoiser.batches


def test_resampling_brings_seams_closer_to_the_truth_step_by_step():
    # Three blocks of a row that is an AR(1) chain; exact covariances of 20 steps.
    row = GaussianDenoiser(GaussianField(columns_length=2.0), patch_size=6)
    truth = math.exp(-1 / 2)

    def seam(**jumps: int) -> Tensor:
        strategy = LShapeRepaint(solver=Euler(num_steps=20), window=(1, 6), **jumps)
        canvas = Canvas(height=1, width=12, channels=1)
        made = covariance(lambda drawn: strategy.generate(row, canvas, drawn))
        deviations = made.diagonal().sqrt()
        correlations = made / deviations / deviations[:, None]
        return torch.stack([correlations[edge - 1, edge] for edge in (6, 9)])

    seams = torch.stack([seam(jump_n_sample=visits) for visits in (1, 2, 4, 8)])
    assert (seams.diff(dim=0) > 0.02).all()
    assert (seams < truth).all()
    assert (seams[0] < truth / 2).all()
    assert (seams[-1] > 0.8 * truth).all()
    assert (seam(jump_length=5, jump_n_sample=8) > seams[0] + 0.1).all()
