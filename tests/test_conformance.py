"""What every strategy must do: go with a given pixel, and with a network of one fixed size.

The classic test: a pixel is given, its neighbour is made. How is it, and how should it be? Two
neighbours of variance 1 correlate by 0.8, and the left one is given as 1.5. The right one is then
N(0.8 * 1.5, 1 - 0.8^2) = N(1.2, 0.6^2): every strategy's bias is what it makes instead.
"""

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.oracle.probe import outcome
from denoisers.contract import Image
from denoisers.gaussian import GaussianDenoiser, GaussianField
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.async_patch import AsyncPatch
from strategies.base import Strategy
from strategies.canvas import Canvas, Known
from strategies.catalogue import names, strategy_class
from strategies.diffcollage import DiffCollage
from strategies.lshape_repaint import LShapeRepaint
from strategies.reconstruction import Reconstruction
from strategies.replacement import Replacement

RHO, GIVEN = 0.8, 1.5
MEAN, STD = RHO * GIVEN, math.sqrt(1 - RHO**2)
PAIR = GaussianDenoiser(GaussianField(columns_length=-1 / math.log(RHO)), patch_size=2)
SOLVER = Heun(num_steps=80)


CANVAS = Canvas(height=1, width=2, channels=1)
LEFT = Known(
    torch.tensor([[[[GIVEN, 0.0]]]], dtype=torch.float64), torch.tensor([[[[True, False]]]])
)


def right(strategy: Strategy, noise: CanvasNoise) -> Tensor:
    """The right pixel of every sample, next to the left one as it was given."""
    pair = strategy.generate(PAIR, CANVAS, noise, known=LEFT)
    assert (pair[..., 0] == GIVEN).all()
    return pair[:, 0, 0, 1]


class Units(CanvasNoise):
    """Sample k draws a 1 for its k-th number, counted from 1, and else zeros; sample 0 no 1 at all.

    Attributes:
        total: The numbers that were drawn.
    """

    def __init__(self, size: int) -> None:
        super().__init__(0, range(size), dtype=torch.float64)
        self.total = 0

    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        count = math.prod(shape)
        drawn = torch.zeros(len(self), count, dtype=self.dtype)
        for number in range(min(count, len(self) - 1 - self.total)):
            drawn[1 + self.total + number, number] = 1
        self.total += count
        return drawn.view(len(self), *shape)


def neighbour(strategy: Strategy) -> tuple[float, float]:
    """Exact mean and deviation of the right pixel, by a strategy that is affine in its noise.

    The mean is what no noise becomes, the variance the sum of squares of what is added to it by
    each number that is drawn, put to 1 alone.
    """
    right(strategy, none := Units(1))
    made = right(strategy, Units(none.total + 1))
    return made[0].item(), (made[1:] - made[0]).norm().item()


def built(strategy: type[Strategy], solver=SOLVER, **options) -> Strategy:
    return strategy(solver=solver, window=(1, 2), **options)


# Noise of 80 that starts without the mean has lost this share of it for good.
LOST = STD / math.hypot(STD, 80)
# 80 Heun steps leave less than 0.002 on the mean and the deviation of one pixel (and 0.4 % of it
# at 64 steps on a deviation of 0.5).
SOLVED = 0.004


def test_asyncpatch_is_exact():
    mean, std = neighbour(built(AsyncPatch))
    assert mean == pytest.approx(MEAN * (1 - LOST), abs=SOLVED)
    assert std == pytest.approx(STD, abs=SOLVED)


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        (AsyncPatch, {}),
        (AsyncPatch, {"schedule": "wavefront", "guidance": 2.0}),
        (Replacement, {}),
        (Reconstruction, {}),  # as long as one pixel is known
        (LShapeRepaint, {"jump_n_sample": 2}),
    ],
)
def test_what_is_measured_by_unit_vectors_is_affine(strategy, options):
    made_by = built(strategy, Heun(num_steps=4), **options)

    def make(noise: CanvasNoise) -> Image:
        return made_by.generate(PAIR, CANVAS, noise, known=LEFT)

    made = outcome(make, samples=100, batch_size=100, seed=0)
    assert made.exact
    expected = made.mean[1].item(), made.covariance[1, 1].sqrt().item()
    # The same numbers, added up in another order.
    assert neighbour(made_by) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("schedule", ["sequential", "wavefront"])
def test_schedules_change_nothing_where_one_pixel_is_left(schedule):
    # The ladder is walked once, whatever its length.
    solver = Heun(num_steps=12)
    assert neighbour(built(AsyncPatch, solver, schedule=schedule)) == pytest.approx(
        neighbour(built(AsyncPatch, solver)), abs=1e-12
    )


def test_reconstruction_is_exact_where_one_pixel_is_known():
    # One known pixel: the inverse of 1 x 1 is a number, and the line search finds it. The estimate
    # is then that of AsyncPatch, and so is the path: 160 times the same but for rounding.
    exact = neighbour(built(AsyncPatch))
    assert neighbour(built(Reconstruction)) == pytest.approx(exact, abs=1e-11)


@functools.cache
def replaced_flow() -> tuple[float, float, float]:
    """What the given value, the noise on it and the start add to the right pixel by replacement.

    Integrated apart from the project's code. The known pixel's path is x_k = y + s e. The other
    one's, dx_u/ds = (x_u - a x_k - b x_u) / s with a, b the row of K (K + s^2)^-1, is linear in y,
    e and the other pixel's start: one classical Runge-Kutta run for each, in log s.
    """
    K = np.array([[1.0, RHO], [RHO, 1.0]])

    def slope(log_s: float, x: np.ndarray) -> np.ndarray:
        s = math.exp(log_s)
        a, b = (K @ np.linalg.inv(K + s * s * np.eye(2)))[1]
        known = np.array([1.0, s, 0.0])  # what y, e and the start contribute to x_k
        return x - a * known - b * x

    steps = 4000
    h = math.log(0.002 / 80) / steps
    x, log_s = np.array([0.0, 0.0, 80.0]), math.log(80)
    for _ in range(steps):
        k1 = slope(log_s, x)
        k2 = slope(log_s + h / 2, x + h / 2 * k1)
        k3 = slope(log_s + h / 2, x + h / 2 * k2)
        k4 = slope(log_s + h, x + h * k3)
        x, log_s = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), log_s + h
    of_y, of_e, of_start = x.tolist()
    return of_y, of_e, of_start


def test_replacement_misses_the_conditional_as_its_own_flow_says():
    mean, std = neighbour(built(Replacement))
    of_y, of_e, of_start = replaced_flow()
    # It starts at 80 e' with e' = N(0, 1), so that e = e' - y / 80.
    assert mean == pytest.approx((of_y - of_e / 80) * GIVEN, abs=SOLVED)
    assert std == pytest.approx(math.hypot(of_e, of_start), abs=SOLVED)
    # Known bias of the method, pinned so that nobody reports it as a bug of ours: the pixel
    # follows its neighbour less than half as far as it should, and varies more.
    assert mean == pytest.approx(0.50, abs=0.05)
    assert std > 1.3 * STD


REPAINTED = Heun(num_steps=20)


@pytest.fixture(scope="module")
def repainted() -> dict[int, tuple[float, float]]:
    """Mean and deviation by the number of visits to a level."""
    return {
        visits: neighbour(built(LShapeRepaint, REPAINTED, jump_n_sample=visits))
        for visits in (1, 10, 40)
    }


def test_resampling_buys_the_conditional_back(repainted):
    bias = {visits: abs(mean - MEAN) for visits, (mean, _) in repainted.items()}
    # Measured: 0.66, 0.11 and 0.03.
    assert bias[1] > 4 * bias[10] > 8 * bias[40]
    assert bias[40] < 0.05


def test_repaint_without_resampling_is_no_better_than_replacement(repainted):
    # Known bias, pinned: the fresh noise on the known pixel has no memory, and on the way down
    # each step learns from it alone.
    mean, std = repainted[1]
    assert mean == pytest.approx(replaced_flow()[0] * GIVEN, abs=0.1)
    assert std > 1.2 * STD


def test_the_deviation_comes_back_with_the_mean(repainted):
    # Measured: 0.81, 0.63 and 0.61, of which 20 steps of the solver have their share.
    assert repainted[1][1] > repainted[10][1] > repainted[40][1]
    assert repainted[40][1] == pytest.approx(STD, abs=0.02)


def test_long_jumps_help_too(repainted):
    mean, _ = neighbour(built(LShapeRepaint, REPAINTED, jump_length=5, jump_n_sample=10))
    # Measured: 0.34 left of 0.66.
    assert abs(mean - MEAN) < 0.6 * abs(repainted[1][0] - MEAN)


def test_guidance_pushes_past_the_conditional():
    weak, plain, strong = (
        neighbour(built(AsyncPatch, guidance=weight)) for weight in (0.0, 1.0, 2.0)
    )
    # The weak branch alone follows its neighbour's noise, as replacement does, from y + 80 e on.
    of_y, of_e, of_start = replaced_flow()
    assert weak[0] == pytest.approx(of_y * GIVEN, abs=SOLVED)
    assert weak[1] == pytest.approx(math.hypot(of_e, of_start), abs=SOLVED)
    assert weak[0] < plain[0] < strong[0]
    assert strong[0] > MEAN + 0.1


class OneDraw(CanvasNoise):
    """Noise that is the same for every purpose."""

    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        return super().draw("any", 0, shape)


@pytest.mark.parametrize(
    ("known_method", "alone"), [("replacement", Replacement), ("reconstruction", Reconstruction)]
)
def test_a_canvas_of_one_window_is_inpainted_as_that_window_is(conditioning, alone):
    strategy = DiffCollage(solver=SOLVER, window=(1, 2), known_method=conditioning)
    noise = OneDraw(0, range(50), dtype=torch.float64)
    # The same operations on the same numbers.
    assert torch.equal(right(strategy, noise), right(built(alone), noise))


class OneSize:
    """Takes patches of one size and nothing else, as an exported network does."""

    patch_size = multiple = longest = 8
    channels, takes_noise_maps, estimates_variance = 3, True, False

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x_t: Image, sigma: Tensor, context: Any = None) -> Image:
        assert x_t.shape[-2:] == (8, 8)
        self.calls += 1
        return 0.3 + 0.25 / (0.25 + sigma.square()) * (x_t - 0.3)


CANVASES = {
    "patch": Canvas(height=8, width=8),
    "strip": Canvas(height=8, width=24),
    "plane": Canvas(height=19, width=27),
    "loop": Canvas(height=8, width=24, wrap_width=True),
    "torus": Canvas(height=24, width=32, wrap_height=True, wrap_width=True),
}
OVERLAP_IS_NO_PATCH = r"overlap must be a multiple of 8, .* variables=pure_noise or mirrored"
REFUSED = {
    ("direct", name): "takes no larger canvas whole" for name in CANVASES if name != "patch"
} | {("diffcollage", name): OVERLAP_IS_NO_PATCH for name in CANVASES if name != "patch"}
ON_ONE_SIZE = [(name, {}) for name in names()] + [
    ("diffcollage", {"variables": variables, "overlap": overlap})
    for variables in ("mirrored", "grey", "pure_noise")
    for overlap in (None, 2)
]


@pytest.mark.parametrize("size", CANVASES)
@pytest.mark.parametrize(("name", "options"), ON_ONE_SIZE)
def test_a_network_of_one_fixed_size_is_asked_for_that_size_alone(name, options, size):
    if (name, options.get("overlap")) == ("diffcollage", 2) and size in ("loop", "torus"):
        options = options | {"overlap": 4}  # windows 6 px apart close neither
    strategy = strategy_class(name)(solver=Heun(num_steps=2), **options)
    denoiser, canvas = OneSize(), CANVASES[size]
    refused = None if options else REFUSED.get((name, size))
    if refused is not None:
        with pytest.raises(ValueError, match=refused):
            strategy.generate(denoiser, canvas, CanvasNoise(0, [0, 1]))
        assert denoiser.calls == 0
        return
    image = strategy.generate(denoiser, canvas, CanvasNoise(0, [0, 1]))
    assert image.shape == (2, 3, canvas.height, canvas.width)
    assert image.isfinite().all()


@pytest.mark.parametrize("name", names())
def test_windows_beyond_what_a_network_knows_are_refused(name):
    strategy = strategy_class(name)(solver=Heun(num_steps=2), window=16)
    with pytest.raises(ValueError, match="window must be at most the 8 px"):
        strategy.generate(OneSize(), Canvas(height=16, width=32), CanvasNoise(0, [0]))
