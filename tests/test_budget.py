import dataclasses
import math

import pytest
import torch

from patchcanvas.budget import FreeDenoiser, _largest, dry_run, steps_within
from sampling.diffusers_solver import Diffusers
from sampling.solvers import Euler, Heun
from strategies.async_patch import AsyncPatch
from strategies.canvas import Canvas
from strategies.catalogue import names, strategy_class
from strategies.diffcollage import DiffCollage
from strategies.lshape_repaint import LShapeRepaint
from strategies.naive import Naive

SIDE = 16
TILES = 3
FREE = FreeDenoiser(patch_size=SIDE, multiple=4, channels=3, takes_noise_maps=True)
CANVAS = Canvas(height=SIDE, width=TILES * SIDE)

# Pixels of one evaluation of the canvas, over those of a tile: 3 tiles; 5 windows that overlap by
# half; those and the 4 overlaps between them, half a window each.
TILES_EVALUATED = {
    "naive": 3,
    "direct": 3,
    "multidiffusion": 5,
    "diffcollage": 7,
    "replacement": 5,
    "reconstruction": 5,
    "async_patch": 5,
    "lshape_repaint": 5,
}


def evaluations(name: str, steps: int) -> int:
    """Of Heun: two a step but for the last; all but the lowest level are left behind 5 times."""
    walked = steps + 4 * (steps - 1) if name == "lshape_repaint" else steps
    return 2 * walked - 1


def cost(name: str, steps: int) -> float:
    return TILES_EVALUATED[name] * evaluations(name, steps) / TILES


def maker(name: str):
    return lambda steps: strategy_class(name)(solver=Heun(num_steps=steps))


class Untouchable:
    """What the budget is for: it must never be asked."""

    patch_size, multiple, channels, takes_noise_maps = SIDE, 4, 3, True

    def __call__(self, x_t, sigma, context=None):
        raise AssertionError("a dry run asks nothing of the network")


def test_every_strategy_has_a_closed_form_here():
    assert set(TILES_EVALUATED) == set(names())


@pytest.mark.parametrize("name", names())
def test_the_steps_are_those_of_the_closed_form(name):
    budget = 40.0
    expected = max(steps for steps in range(2, 100) if cost(name, steps) <= budget)
    assert steps_within(maker(name), Untouchable(), CANVAS, budget) == expected


@pytest.mark.parametrize("name", ["direct", "diffcollage", "lshape_repaint"])
@pytest.mark.parametrize("steps", [2, 3])
def test_a_budget_that_is_met_exactly_is_enough_and_a_little_less_is_not(name, steps):
    exact = cost(name, steps)
    assert steps_within(maker(name), FREE, CANVAS, exact) == steps
    if steps > 2:
        assert steps_within(maker(name), FREE, CANVAS, exact - 1e-6) == steps - 1


@pytest.mark.parametrize("most", range(2, 9))
def test_no_number_of_steps_is_skipped(most):
    # Euler on tiles evaluates every pixel once a step: the budget is the number of steps.
    found = steps_within(lambda n: Naive(solver=Euler(num_steps=n)), FREE, CANVAS, most + 0.5)
    assert found == most


def test_solvers_are_counted_as_they_are():
    # One evaluation a step, on 7 / 3 pixels each.
    def make(steps: int) -> DiffCollage:
        return DiffCollage(solver=Diffusers(num_steps=steps))

    assert steps_within(make, FREE, CANVAS, 28.0) == 12


def test_settings_of_a_strategy_are_counted():
    # Guidance doubles the evaluations of 4 of the 5 windows: 9 / 3 pixels a step.
    def make(steps: int) -> AsyncPatch:
        return AsyncPatch(solver=Euler(num_steps=steps), guidance=2.0)

    assert steps_within(make, FREE, CANVAS, 30.0) == 10
    assert steps_within(make, FREE, CANVAS, 29.9) == 9


@pytest.mark.parametrize("most", [2, 3, 4, 5, 6, 17, 40])
@pytest.mark.parametrize("guess", [-3, 2, 3, 5, 16, 17, 18, 100])
def test_the_largest_is_found_from_any_guess_in_few_trials(most, guess):
    trials = []

    def fits(number: int) -> bool:
        trials.append(number)
        return number <= most

    assert _largest(fits, 2, guess) == most
    assert min(trials, default=3) > 2
    # Out in strides that double, and back by halves; a right guess needs its neighbour alone.
    assert len(trials) <= 2 + 2 * math.log2(1 + abs(most - max(guess, 3)))


def test_a_cost_that_does_not_grow_is_refused():
    with pytest.raises(ValueError, match="more steps must cost more"):
        steps_within(lambda steps: Naive(solver=Euler(num_steps=5)), FREE, CANVAS, 64.0)


def test_surplus_beyond_the_canvas_costs():
    # 3 tiles for 2.5 tiles' worth of canvas: 1.2 pixels a step.
    canvas = Canvas(height=SIDE, width=5 * SIDE // 2)
    assert steps_within(lambda n: Naive(solver=Euler(num_steps=n)), FREE, canvas, 12.0) == 10


def test_too_small_a_budget_is_refused_with_the_least_that_works():
    # Two steps are 3 evaluations of 7 / 3 pixels.
    with pytest.raises(ValueError, match=r"budget must be at least 7 evaluated pixels.*got 6\.9"):
        steps_within(maker("diffcollage"), FREE, CANVAS, 6.9)
    assert steps_within(maker("diffcollage"), FREE, CANVAS, 7.0) == 2


def test_the_least_budget_is_rounded_so_that_it_works():
    # 3 evaluations of 5 windows on 47 of 48 columns: 5.106...
    canvas = dataclasses.replace(CANVAS, width=CANVAS.width - 1)
    with pytest.raises(ValueError, match=r"at least 5\.11 "):
        steps_within(maker("multidiffusion"), FREE, canvas, 5.1)
    assert steps_within(maker("multidiffusion"), FREE, canvas, 5.11) == 2


@pytest.mark.parametrize("budget", [float("inf"), float("nan")])
def test_a_budget_must_be_finite(budget):
    with pytest.raises(ValueError, match="finite"):
        steps_within(maker("naive"), FREE, CANVAS, budget)


def test_what_a_strategy_refuses_is_refused():
    one_level = dataclasses.replace(FREE, takes_noise_maps=False)
    with pytest.raises(ValueError, match="trained on one level"):
        steps_within(maker("async_patch"), one_level, CANVAS, 64.0)


def test_strategies_that_need_more_steps_begin_there():
    def make(steps: int) -> LShapeRepaint:
        return LShapeRepaint(solver=Euler(num_steps=steps), jump_length=4, jump_n_sample=2)

    # 5 steps, and once back from the lowest level over 4: 9 evaluations of 5 / 3 pixels. With 8
    # they are 12; with 9 two stretches are walked again, 17.
    with pytest.raises(ValueError, match=r"at least 15 evaluated pixels.*which are 5 steps"):
        steps_within(make, FREE, CANVAS, 14.9)
    assert steps_within(make, FREE, CANVAS, 15.0) == 5
    assert steps_within(make, FREE, CANVAS, 17 * 5 / 3 - 0.1) == 8


def test_what_can_never_be_built_says_why():
    with pytest.raises(ValueError, match="jump_length must be at least 1"):
        steps_within(
            lambda n: LShapeRepaint(solver=Euler(num_steps=n), jump_length=0), FREE, CANVAS, 64.0
        )


def test_a_dry_run_counts_gradients_and_leaves_the_network_alone():
    strategy = strategy_class("reconstruction")(solver=Heun(num_steps=3))
    metered = dry_run(strategy, Untouchable(), CANVAS)
    # The first window knows nothing yet; 2 turns of two windows each are left.
    assert metered.backward_passes == 2 * 5
    assert metered.backward_pixels == 5 * 4 * SIDE**2
    assert metered.calls == 3 * 5


def test_the_free_denoiser_is_that_of_independent_pixels():
    # Unit variance and noise of variance 3: a quarter is left; clean pixels are their own estimate.
    x_t = torch.randn(2, 3, 4, 4)
    sigma = torch.tensor([3.0, 0.0]).sqrt().view(2, 1, 1, 1)
    x0_hat = FREE(x_t, sigma)
    torch.testing.assert_close(x0_hat[0], x_t[0] / 4)
    assert torch.equal(x0_hat[1], x_t[1])
    assert FreeDenoiser.like(Untouchable()) == FREE
