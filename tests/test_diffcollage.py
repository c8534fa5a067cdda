import inspect
import math
from typing import get_args

import pytest
import torch
from jaxtyping import Float64
from torch import Tensor

from benchmarks.comparison.plan import parse
from denoisers.contract import PatchDenoiser
from denoisers.gaussian import GaussianDenoiser, GaussianField
from patchcanvas.accounting import NFECounter
from patchcanvas.budget import dry_run, steps_within
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.canvas import Canvas
from strategies.diffcollage import DiffCollage, Variables
from strategies.direct import Direct
from strategies.multidiffusion import MultiDiffusion
from strategies.naive import Naive
from strategies.parallel import ParallelStrategy
from tests.doubles import IndependentPixels

Square = Float64[Tensor, "n n"]


def exponential(size: int, length: float) -> Square:
    """Covariance exp(-|d| / length) of an AR(1) chain."""
    place = torch.arange(size, dtype=torch.float64)
    return torch.exp(-(place[:, None] - place).abs() / length)


def line(window: int, length: float) -> GaussianDenoiser:
    """Independent rows, each an AR(1) chain: a one-dimensional field for square windows."""
    return GaussianDenoiser(GaussianField(columns_length=float(length)), patch_size=window)


def plane(window: int, length: float) -> GaussianDenoiser:
    """The product of an AR(1) chain down and one across."""
    lengths = {"rows_length": float(length), "columns_length": float(length)}
    field = GaussianField(rows="exponential", **lengths)
    return GaussianDenoiser(field, patch_size=window)


def unit_rows(height: int, width: int) -> Float64[Tensor, "batch 1 height width"]:
    """The unit vectors of a row, `height` of them to an image: rows do not know of each other."""
    return torch.eye(width, dtype=torch.float64).unflatten(0, (-1, 1, height))


def level(sigma: float) -> Float64[Tensor, "1 1 1 1"]:
    return torch.full((1, 1, 1, 1), sigma, dtype=torch.float64)


def canvas_of(image: Tensor, **wraps: bool) -> Canvas:
    """The canvas that the image is, which may wrap."""
    channels, height, width = image.shape[1:]
    return Canvas(height=height, width=width, channels=channels, **wraps)


def estimated(
    strategy: ParallelStrategy, denoiser: PatchDenoiser, x_t: Tensor, sigma: float, **wraps: bool
) -> Tensor:
    """What the canvas denoiser makes of unit vectors: its matrix."""
    return strategy.canvas_denoiser(denoiser, canvas_of(x_t, **wraps))(x_t, level(sigma))


def sampled(
    strategy: ParallelStrategy, denoiser: PatchDenoiser, eps: Tensor, **wraps: bool
) -> Tensor:
    """What the whole solver makes of unit vectors: it is linear, so this is its matrix."""
    canvas = strategy.canvas_denoiser(denoiser, canvas_of(eps, **wraps))
    return strategy.solver(canvas, eps, CanvasNoise(0, [0]).stream("churn"))


def score_error(strategy, field: GaussianDenoiser, x_t: Tensor, sigma: float, precision: Square):
    """Relative error of the score against that of the clean field, in the spectral norm."""
    score = (estimated(strategy, field, x_t, sigma) - x_t) / sigma**2
    error = torch.linalg.matrix_norm(score.reshape(precision.shape) + precision, 2)
    return (error / torch.linalg.matrix_norm(precision, 2)).item()


def vanishing_noise_error(sigma: float, precision: Square) -> float:
    """Three times what even the exact score has, for the three regions that meet on a pixel.

    (K + s^2)^-1 = P - s^2 P^2 + ..., and x_t - x0_hat loses the digits that s^2 stands behind.
    """
    rounding = 1e-15 / sigma**2
    return 3 * (sigma**2 * torch.linalg.matrix_norm(precision, 2).item() + rounding)


@pytest.mark.parametrize("length", [1, 4, 16, 100])
def test_a_markov_chain_has_its_exact_score_as_noise_vanishes(length):
    sigma, precision = 1e-4, exponential(96, length).inverse()
    arguments = line(16, length), unit_rows(16, 96), sigma, precision
    assert score_error(DiffCollage(overlap=8), *arguments) < vanishing_noise_error(sigma, precision)
    # Known bias: halves of two windows that disagree about what lies outside are averaged.
    assert score_error(MultiDiffusion(overlap=8), *arguments) > 0.1


@pytest.mark.parametrize("length", [1, 4, 16])
def test_a_markov_plane_has_its_exact_score_as_noise_vanishes(length):
    sigma = 1e-4
    precision = torch.kron(exponential(12, length).inverse(), exponential(16, length).inverse())
    units = torch.eye(192, dtype=torch.float64).view(192, 1, 12, 16)
    arguments = plane(8, length), units, sigma, precision
    assert score_error(DiffCollage(overlap=4), *arguments) < vanishing_noise_error(sigma, precision)
    assert score_error(MultiDiffusion(overlap=4), *arguments) > 0.1


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 3.0, 10.0])
def test_a_field_shorter_than_the_overlap_is_nearly_exact_at_every_level(sigma):
    field, units = line(16, 1), unit_rows(16, 96)
    exact = estimated(Direct(), field, units, sigma)
    collage, average = (
        ((estimated(strategy, field, units, sigma) - exact).norm() / exact.norm()).item()
        for strategy in (DiffCollage(overlap=8), MultiDiffusion(overlap=8))
    )
    # Pixels that share no window are 9 px apart or more: it drops correlations of exp(-9).
    assert collage < math.exp(-9)
    assert average > 100 * collage


def test_the_canvas_is_what_the_window_is_where_there_is_one():
    x_t = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    field = line(16, 4)
    assert torch.equal(estimated(DiffCollage(overlap=8), field, x_t, 1.0), field(x_t, level(1.0)))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (8, 8, [((8, 8), 1, 1.0)]),
        (8, 20, [((8, 8), 4, 1.0), ((8, 4), 3, -1.0)]),
        (20, 8, [((8, 8), 4, 1.0), ((4, 8), 3, -1.0)]),
        (
            16,
            20,
            [((8, 8), 12, 1.0), ((8, 4), 9, -1.0), ((4, 8), 8, -1.0), ((4, 4), 6, 1.0)],
        ),
    ],
)
def test_counting_numbers_of_the_region_graph(height, width, expected):
    canvas = Canvas(height=height, width=width, channels=1)
    groups = DiffCollage(overlap=4).groups(line(8, 1), canvas)
    shapes = [
        ((g.regions.height, g.regions.width), len(g.regions.corners), g.weight) for g in groups
    ]
    assert shapes == expected


@pytest.mark.parametrize(
    ("variables", "overlap", "said"),
    [
        ("own_size", 3, r"a multiple of 2, .* got 3 for window=8: any will do .* variables=pure"),
        ("own_size", 0, r"in \(0, window / 2\], got 0 for window=8\.$"),
        ("own_size", 6, r"got 6 for window=8: a pixel would lie in three windows\.$"),
        ("mirrored", 0, r"in \(0, window / 2\], got 0 for window=8\.$"),
        ("mirrored", 5, r"got 5 for window=8: a pixel would lie in three windows\.$"),
    ],
)
def test_an_overlap_that_is_no_variable_is_refused(variables, overlap, said):
    denoiser = line(8, 1)
    denoiser.multiple = 2
    with pytest.raises(ValueError, match=said):
        DiffCollage(overlap=overlap, variables=variables).groups(
            denoiser, Canvas(height=8, width=20, channels=1)
        )


def root(matrix: Square) -> Square:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.mT


def relative_w2(true: Square, made: Square) -> float:
    """Squared 2-Wasserstein distance of two centred Gaussians, over the variance of the first."""
    half = root(true)
    distance = true.trace() + made.trace() - 2 * root(half @ made @ half).trace()
    return (distance / true.trace()).item()


def test_w2_of_scaled_white_noise_is_the_difference_of_deviations():
    white = torch.eye(5, dtype=torch.float64)
    assert relative_w2(4 * white, 9 * white) == pytest.approx((3 - 2) ** 2 / 4)


# Computed apart from this code; four decimals were kept, and 1e-5 is for other linear algebra.
FOUR_DECIMALS = 0.5e-4 + 1e-5


@pytest.mark.parametrize(
    ("strategy", "length", "expected"),
    [
        (Direct, 4, 0.0000),
        (DiffCollage, 4, 0.0001),
        (MultiDiffusion, 4, 0.0141),
        (Naive, 4, 0.0354),
        (Direct, 16, 0.0000),
        (DiffCollage, 16, 0.0169),
        (MultiDiffusion, 16, 0.0670),
        (Naive, 16, 0.1558),
    ],
)
def test_bias_of_whole_samples_on_a_line(strategy, length, expected):
    # The overlap of those that have one is half a window: 8 px.
    made_by = strategy(solver=Heun(num_steps=80))
    matrix = sampled(made_by, line(16, length), unit_rows(16, 96)).reshape(96, 96)
    figure = relative_w2(exponential(96, length), matrix.mT @ matrix)
    assert figure == pytest.approx(expected, abs=FOUR_DECIMALS)


@pytest.mark.parametrize(
    ("strategy", "expected"), [(DiffCollage, 0.0001), (MultiDiffusion, 0.0154)]
)
def test_bias_of_whole_samples_on_a_plane(strategy, expected):
    made_by = strategy(solver=Heun(num_steps=40), overlap=4)
    units = torch.eye(400, dtype=torch.float64).view(400, 1, 20, 20)
    matrix = sampled(made_by, plane(8, 2), units).reshape(400, 400)
    true = torch.kron(exponential(20, 2), exponential(20, 2))
    figure = relative_w2(true, matrix.mT @ matrix)
    assert figure == pytest.approx(expected, abs=FOUR_DECIMALS)


WAYS = get_args(Variables)
FULL_SIZE = [way for way in WAYS if way != "own_size"]


SHAPES = {
    "chain": {"height": 8, "width": 20},
    "loop": {"height": 8, "width": 16, "wrap_width": True},
    "grid": {"height": 12, "width": 20},
    "torus": {"height": 12, "width": 16, "wrap_height": True, "wrap_width": True},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS)
def test_variables_of_any_way_count_every_pixel_once(way, shape):
    canvas = Canvas(**SHAPES[shape], channels=1)
    strategy, denoiser = DiffCollage(overlap=4, variables=way), IndependentPixels(channels=1)
    x_t = torch.randn(3, 1, canvas.height, canvas.width)
    sigma = torch.tensor([0.5, 1.0, 4.0]).view(3, 1, 1, 1)
    x0_hat = strategy.canvas_denoiser(denoiser, canvas)(x_t, sigma)
    # Sums of up to nine numbers of order 1 in float32.
    torch.testing.assert_close(x0_hat, x_t / (1 + sigma**2), atol=1e-5, rtol=1e-5)
    sizes = {tuple(x_t.shape[-2:]) for x_t, _, _ in denoiser.shown}
    assert (sizes == {(8, 8)}) == (way != "own_size")


@pytest.mark.parametrize("way", FULL_SIZE)
def test_variables_of_a_graph_of_ones_own_are_whole_patches_too(way):
    strategy = DiffCollage(regions=((0, 0, 8, 8), (0, 6, 8, 8)), variables=way)
    canvas, denoiser = Canvas(height=8, width=14, channels=1), IndependentPixels(channels=1)
    x_t = torch.randn(2, 1, 8, 14)
    x0_hat = strategy.canvas_denoiser(denoiser, canvas)(x_t, torch.ones(1, 1, 1, 1))
    torch.testing.assert_close(x0_hat, x_t / 2, atol=1e-6, rtol=1e-6)
    assert {tuple(x_t.shape[-2:]) for x_t, _, _ in denoiser.shown} == {(8, 8)}


def test_variables_of_their_own_size_are_what_they_were():
    field, x_t = line(16, 4), torch.randn(3, 1, 16, 40, dtype=torch.float64)
    made = DiffCollage(overlap=8).canvas_denoiser(field, canvas_of(x_t))
    assert made.denoiser is field
    by_hand = torch.zeros_like(x_t)
    for sign, lefts, width in ((1, (0, 8, 16, 24), 16), (-1, (8, 16, 24), 8)):
        estimates = field(torch.cat([x_t[..., at : at + width] for at in lefts]), level(1.0))
        for at, estimate in zip(lefts, estimates.chunk(len(lefts)), strict=True):
            by_hand[..., at : at + width] += sign * estimate
    assert torch.equal(made(x_t, level(1.0)), by_hand)


def test_windows_of_a_users_size_are_whole_ones():
    strategy, denoiser = (
        DiffCollage(window=(4, 8), variables="mirrored"),
        IndependentPixels(16, channels=1),
    )
    canvas = Canvas(height=4, width=20, channels=1)
    strategy.canvas_denoiser(denoiser, canvas)(torch.randn(1, 1, 4, 20), torch.ones(1, 1, 1, 1))
    assert {tuple(x_t.shape[-2:]) for x_t, _, _ in denoiser.shown} == {(4, 8)}


def test_pure_noise_is_at_the_first_level_of_the_solver():
    strategy = DiffCollage(solver=Heun(num_steps=2, sigma_max=7.0), variables="pure_noise")
    canvas, denoiser = Canvas(height=8, width=12, channels=1), IndependentPixels(channels=1)
    strategy.canvas_denoiser(denoiser, canvas)(torch.randn(1, 1, 8, 12), torch.ones(1, 1, 1, 1))
    _, (_, sigma, _) = denoiser.shown
    assert sigma[..., 4:].unique().tolist() == [7.0]


@pytest.mark.parametrize(
    ("wraps", "size", "more"),
    [
        # Of m windows with m - 1 between them, 2 m - 1 in place of m + (m - 1) / 2.
        ({}, (8, 20), 7 / 5.5),
        ({"wrap_width": True}, (8, 16), 4 / 3),
        ({"wrap_height": True, "wrap_width": True}, (16, 16), 16 / 9),
    ],
)
@pytest.mark.parametrize("way", FULL_SIZE)
def test_whole_windows_cost_what_they_say(way, wraps, size, more):
    canvas = Canvas(height=size[0], width=size[1], channels=1, **wraps)
    own, whole = (
        dry_run(
            DiffCollage(solver=Heun(num_steps=2), variables=one),
            IndependentPixels(channels=1),
            canvas,
        )
        for one in ("own_size", way)
    )
    assert (whole.calls, whole.patches) == (own.calls, own.patches)
    assert whole.pixels / own.pixels == pytest.approx(more)


def test_budgets_buy_fewer_steps_of_whole_windows():
    canvas = Canvas(height=8, width=16, channels=1, wrap_width=True)

    def steps(way: str) -> int:
        def made(count: int) -> DiffCollage:
            return DiffCollage(solver=Heun(num_steps=count), variables=way)

        return steps_within(made, IndependentPixels(channels=1), canvas, 123.0)

    # Three pixels for each pixel of the loop at own size, four at full size, 2 n - 1 evaluations.
    assert (steps("own_size"), steps("mirrored")) == (21, 15)


@pytest.mark.parametrize("way", WAYS)
def test_a_canvas_is_the_same_in_any_company(way):
    canvas = Canvas(height=8, width=20, channels=1)
    strategy = DiffCollage(solver=Heun(num_steps=3, churn=3.0), variables=way)
    together, alone = (
        strategy.generate(IndependentPixels(channels=1), canvas, CanvasNoise(0, indices))
        for indices in ((0, 1, 2), (1,))
    )
    assert torch.equal(together[1], alone[0])


def test_pure_noise_is_refused_before_any_work_where_levels_must_be_one():
    strategy = DiffCollage(variables="pure_noise")
    denoiser, canvas = (
        NFECounter(IndependentPixels(channels=1, takes_noise_maps=False)),
        canvas_of(torch.zeros(1, 1, 8, 20)),
    )
    for work in (
        lambda: strategy.window_edges(denoiser, canvas),
        lambda: strategy.generate(denoiser, canvas, CanvasNoise(0, [0])),
    ):
        with pytest.raises(ValueError, match="trained on one level an image"):
            work()
    assert denoiser.calls == 0


def test_unknown_ways_are_refused():
    # As it is outside of pytest, where annotations are not checked.
    made = DiffCollage()
    object.__setattr__(made, "variables", "half_size")
    with pytest.raises(ValueError, match=r"variables .* 'half_size'"):
        inspect.unwrap(DiffCollage.__post_init__)(made)


@pytest.mark.parametrize("way", WAYS)
def test_the_command_line_knows_the_ways(way):
    plan = parse(["strategy=diffcollage", f"diffcollage.variables={way}"])
    assert plan.strategies["diffcollage"].variables == way


@pytest.mark.parametrize(
    ("way", "low", "high"),
    [
        ("own_size", 0.0, 1e-4 + 1e-5),
        ("pure_noise", 0.0, 2e-4),
        ("mirrored", 0.005, 0.02),
        ("grey", 0.005, 0.02),
    ],
)
def test_bias_of_what_variables_are_shown_beside_them(way, low, high):
    # Known bias of fillings that look like an image; pure noise is nearly exact, as own size is.
    strategy = DiffCollage(solver=Heun(num_steps=80), variables=way)
    field, units = line(16, 4), unit_rows(16, 96)
    nothing = sampled(strategy, field, torch.zeros_like(units[:1]))
    matrix = (sampled(strategy, field, units) - nothing).reshape(96, 96)
    assert low <= relative_w2(exponential(96, 4), matrix.mT @ matrix) <= high
