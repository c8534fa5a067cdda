"""Canvases that wrap: loops and tori, under every parallel strategy."""

import dataclasses
import math
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from denoisers.gaussian import GaussianDenoiser, GaussianField
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.canvas import Canvas, Known, WindowEdges
from strategies.collage import Collage, Weighted, cut, total_weight
from strategies.diffcollage import DiffCollage
from strategies.direct import Direct
from strategies.multidiffusion import MultiDiffusion
from strategies.naive import Naive
from strategies.parallel import ParallelStrategy
from strategies.windows import Regions
from tests.doubles import Blurred
from tests.test_diffcollage import estimated, level, line, plane, sampled

# A busy machine is no failure.
few_examples = settings(max_examples=30, deadline=None)

SOLVER = Heun(num_steps=12)
# With the distance after which their windows repeat, for windows of 8 px.
REPEATING = [
    (DiffCollage(solver=SOLVER), 4),
    (DiffCollage(solver=SOLVER, overlap=2), 6),
    (MultiDiffusion(solver=SOLVER), 4),
    (MultiDiffusion(solver=SOLVER, overlap=5, weight="tapered"), 3),
    (Naive(solver=SOLVER), 8),
]
every_repeating = pytest.mark.parametrize(
    ("strategy", "stride"), REPEATING, ids=[f"{type(s).__name__}-{n}" for s, n in REPEATING]
)
every_strategy = pytest.mark.parametrize(
    "strategy",
    [made_by(solver=SOLVER) for made_by in (DiffCollage, MultiDiffusion, Naive, Direct)],
    ids=lambda strategy: type(strategy).__name__,
)
# Symmetries hold to the last bits: sums of the same numbers in another order. The noise of 80 that
# a sampler starts from is exact to 2e-14, and what it becomes is of order 1.
ROUNDING = {"atol": 1e-12, "rtol": 0}


def loop(width: int, *, height: int = 8, channels: int = 3) -> Canvas:
    return Canvas(height=height, width=width, channels=channels, wrap_width=True)


def torus(height: int, width: int) -> Canvas:
    return Canvas(height=height, width=width, wrap_height=True, wrap_width=True)


def covariance(strategy, length: float, height: int, width: int, **wraps: bool) -> Tensor:
    """Covariance of a row of whole samples, where rows are independent AR(1) chains."""
    units = torch.zeros(width, 1, height, width, dtype=torch.float64)
    units[:, 0, 0] = torch.eye(width)
    matrix = sampled(strategy, line(height, length), units, **wraps)[:, 0, 0]
    return matrix.mT @ matrix


def rolled(matrix: Tensor, shift: int) -> Tensor:
    return matrix.roll((shift, shift), (0, 1))


@every_repeating
@pytest.mark.parametrize("windows", [2, 3, 6])
def test_the_covariance_of_a_loop_repeats_with_every_window(strategy, stride, windows):
    width = stride * max(windows, math.ceil(8 / stride))
    made = covariance(strategy, 3, 8, width, wrap_width=True)
    torch.testing.assert_close(rolled(made, stride), made, **ROUNDING)


@every_repeating
def test_the_covariance_of_a_torus_repeats_along_both_axes(strategy, stride):
    height, width = (stride * max(n, math.ceil(8 / stride)) for n in (2, 3))
    units = torch.eye(height * width, dtype=torch.float64).view(-1, 1, height, width)
    matrix = sampled(strategy, plane(8, 3), units, wrap_height=True, wrap_width=True).flatten(1)
    made = (matrix.mT @ matrix).view(height, width, height, width)
    torch.testing.assert_close(made.roll((stride, stride), (0, 2)), made, **ROUNDING)
    torch.testing.assert_close(made.roll((stride, stride), (1, 3)), made, **ROUNDING)


def test_one_axis_may_wrap_without_the_other():
    units = torch.eye(128, dtype=torch.float64).view(-1, 1, 8, 16)
    for strategy in (DiffCollage(solver=SOLVER), MultiDiffusion(solver=SOLVER)):
        matrix = sampled(strategy, plane(8, 3), units.mT, wrap_height=True).mT.flatten(1)
        across = sampled(strategy, plane(8, 3), units, wrap_width=True).flatten(1)
        # A field that is the same along both axes: the canvas is turned.
        torch.testing.assert_close(matrix, across, **ROUNDING)


@every_repeating
@few_examples
@given(data=st.data())
def test_a_rolled_canvas_has_the_rolled_estimate(strategy, stride, data):
    fewest = math.ceil(8 / stride)
    height, width = (data.draw(st.integers(fewest, fewest + 3)) * stride for _ in range(2))
    down, across = (data.draw(st.integers(0, 5)) * stride for _ in range(2))
    canvas = strategy.canvas_denoiser(Blurred(), torus(height, width))
    x_t = torch.randn(2, 3, height, width, dtype=torch.float64)
    # One level for all, one for each sample, and maps.
    for shape in ((1, 1, 1, 1), (2, 1, 1, 1), (2, 1, height, width), (1, 1, 1, width)):
        sigma = torch.rand(shape, dtype=torch.float64)
        shifts = [down if shape[2] > 1 else 0, across if shape[3] > 1 else 0]
        estimate = canvas(x_t.roll((down, across), (2, 3)), sigma.roll(shifts, (2, 3)))
        expected = canvas(x_t, sigma).roll((down, across), (2, 3))
        torch.testing.assert_close(estimate, expected, **ROUNDING)


@pytest.mark.parametrize("wraps", [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (10, 24)])
def test_the_network_on_the_whole_canvas_sees_the_wrap(wraps, height, width):
    canvas = Canvas(height=height, width=width, wrap_height=wraps[0], wrap_width=wraps[1])
    x_t = torch.randn(2, 3, height, width, dtype=torch.float64)
    sigma = torch.rand(2, 1, height, width, dtype=torch.float64)
    padded = x_t / (1 + sigma.square()) + 0.1
    for wrapped, pad in zip(wraps, ((0, 0, 1, 1), (1, 1, 0, 0)), strict=True):
        padded = F.pad(padded, pad, mode="circular" if wrapped else "constant")
    # The network sees 1 px far, the margin is 4 px: nothing of it is lost.
    expected = F.avg_pool2d(padded, 3, stride=1)
    estimate = Direct().canvas_denoiser(Blurred(), canvas)(x_t, sigma)
    torch.testing.assert_close(estimate, expected, **ROUNDING)


@pytest.mark.parametrize(
    ("window", "multiple", "expected"),
    [
        (8, 2, (32, 24 + 8)),
        (8, 8, (32, 24 + 16)),
        (20, 4, (32, 24 + 24)),
        ((32, 12), 4, (32, 24 + 16)),
    ],
)
def test_the_network_on_the_whole_canvas_is_given_half_a_window_more_on_both_sides(
    window, multiple, expected
):
    network = Blurred()
    network.multiple = multiple
    x_t = torch.randn(1, 3, 32, 24)
    strategy = Direct(window=window)
    strategy.canvas_denoiser(network, loop(24, height=32))(x_t, torch.ones(1, 1, 1, 1))
    assert network.calls == [(1, *expected)]


@pytest.mark.parametrize("strategy", [s for s, stride in REPEATING if stride == 4])
def test_neighbours_across_the_edge_are_as_alike_as_across_every_border(strategy):
    made = covariance(strategy, 2, 8, 32, wrap_width=True)
    edges = torch.stack([made[edge - 1, edge] for edge in range(0, 32, 4)])
    torch.testing.assert_close(edges, edges[:1].expand(8), **ROUNDING)
    # In truth exp(-1 / 2), which averaging halves.
    assert edges[0] > 0.3
    # The same canvas, cut open: 31 px apart, in truth exp(-31 / 2) = 2e-7.
    assert covariance(strategy, 2, 8, 32)[0, -1].abs() < 1e-5


def test_neighbours_across_the_edge_are_strangers_where_windows_share_nothing():
    made = covariance(Naive(solver=SOLVER), 2, 8, 32, wrap_width=True)
    assert made[0, -1] == made[7, 8] == 0


def test_neighbours_across_the_edge_are_as_alike_as_any_to_the_network_on_the_whole_canvas():
    made = covariance(Direct(solver=SOLVER), 2, 16, 64, wrap_width=True)
    # What a margin of 8 px hides is four lengths away, there and back: exp(-8).
    assert (made[0, -1] - made[31, 32]).abs() < math.exp(-8)
    assert made[31, 32] > 0.5


@every_strategy
def test_a_long_loop_is_a_chain_where_its_ends_are_far(strategy):
    middle = slice(40, 56)
    closed, opened = (
        covariance(strategy, 2, 8, 96, wrap_width=wraps)[middle, middle] for wraps in (True, False)
    )
    # 40 px or more to the edge that differs, and back again: exp(-40) is below rounding.
    torch.testing.assert_close(closed, opened, **ROUNDING)


@pytest.mark.parametrize("windows", [2, 3, 4, 9])
def test_a_loop_has_as_many_variables_as_factors_and_all_are_evaluated(windows):
    denoiser, strategy = Blurred(), DiffCollage()
    canvas = loop(4 * windows)
    x_t = torch.randn(2, 3, 8, 4 * windows)
    strategy.canvas_denoiser(denoiser, canvas)(x_t, torch.ones(1, 1, 1, 1))
    assert denoiser.calls == [(2 * windows, 8, 8), (2 * windows, 8, 4)]
    factors, variables = strategy.groups(denoiser, canvas)
    assert (factors.weight, variables.weight) == (1.0, -1.0)
    assert set(factors.regions.corners) == {(0, 4 * k) for k in range(windows)}
    assert set(variables.regions.corners) == {(0, 4 * k) for k in range(windows)}


def test_a_torus_has_four_kinds_of_regions_and_as_many_of_each():
    groups = DiffCollage(overlap=2).groups(Blurred(), torus(12, 18))
    shapes = [
        ((g.regions.height, g.regions.width), len(g.regions.corners), g.weight) for g in groups
    ]
    assert shapes == [((8, 8), 6, 1.0), ((8, 2), 6, -1.0), ((2, 8), 6, -1.0), ((2, 2), 6, 1.0)]


@st.composite
def canvases(draw, window: int, overlap: int) -> Canvas:
    """A canvas whose loops, if it has any, such windows close."""
    stride = window - overlap
    closing, any_length = st.integers(-(-window // stride), 12), st.integers(window, 60)
    wraps = draw(st.booleans()), draw(st.booleans())
    height, width = (draw(closing) * stride if w else draw(any_length) for w in wraps)
    return Canvas(height=height, width=width, wrap_height=wraps[0], wrap_width=wraps[1])


def applicable(window: int, overlap: int) -> list[ParallelStrategy]:
    strategies = [MultiDiffusion(overlap=overlap, weight=w) for w in ("uniform", "tapered")]
    if overlap == 0:
        return [*strategies, Naive(), Direct()]
    return [*strategies, DiffCollage(overlap=overlap)] if 2 * overlap <= window else strategies


@few_examples
@given(data=st.data())
def test_weights_sum_to_one_on_every_loop_and_torus(data):
    network = Blurred()
    network.patch_size = window = 2 * data.draw(st.integers(1, 8))
    overlap = 2 * data.draw(st.integers(0, (window - 1) // 2))
    canvas = data.draw(canvases(window, overlap))
    for strategy in applicable(window, overlap):
        planned = strategy.planned(network, canvas)
        assert planned.height == canvas.height or not canvas.wrap_height
        assert planned.width == canvas.width or not canvas.wrap_width
        total = total_weight(strategy.groups(network, planned), planned)
        # Sums of up to 256 float64 numbers below 1.
        torch.testing.assert_close(total, torch.ones_like(total), atol=1e-13, rtol=0)


@every_strategy
@pytest.mark.parametrize("canvas", [loop(16), loop(32), torus(8, 24), torus(16, 16)])
def test_independent_pixels_are_denoised_as_if_there_were_no_windows(strategy, canvas):
    field = GaussianField(columns="independent", mean=0.3, variance=0.25, channels=3)
    denoiser = GaussianDenoiser(field, patch_size=8)
    x_t = torch.randn(2, 3, canvas.height, canvas.width, dtype=torch.float64)
    for sigma in (level(0.01), level(1.0), level(80.0), torch.rand_like(x_t[:, :1])):
        estimate = strategy.canvas_denoiser(denoiser, canvas)(x_t, sigma)
        torch.testing.assert_close(estimate, denoiser(x_t, sigma), **ROUNDING)


@every_strategy
def test_a_sample_of_a_loop_is_the_same_image_in_any_company(strategy):
    denoiser = GaussianDenoiser(GaussianField(channels=2), patch_size=8)
    canvas = loop(24, channels=2)
    together = strategy.generate(denoiser, canvas, CanvasNoise(0, range(4), dtype=torch.float64))
    for index in (0, 3):
        noise = CanvasNoise(0, [index], dtype=torch.float64)
        alone = strategy.generate(denoiser, canvas, noise)
        torch.testing.assert_close(together[[index]], alone, **ROUNDING)
    assert together.shape == (4, 2, 8, 24)
    assert (together[0] - together[3]).abs().mean() > 0.1


@every_strategy
def test_max_batch_changes_the_calls_and_not_the_image(strategy):
    denoiser, noise = line(8, 3), CanvasNoise(0, [0, 1], dtype=torch.float64)
    whole, split = (
        made_by.generate(denoiser, loop(24, channels=1), noise)
        for made_by in (strategy, dataclasses.replace(strategy, max_batch=3))
    )
    torch.testing.assert_close(split, whole, **ROUNDING)


@every_strategy
def test_gradients_flow_round_the_loop(strategy):
    x_t = torch.randn(1, 3, 16, 24, dtype=torch.float64, requires_grad=True)
    canvas = strategy.canvas_denoiser(Blurred(), torus(16, 24))
    (ours,) = torch.autograd.grad(canvas(x_t, level(1.0))[0, 0, 0, 0], x_t)
    # It is linear: differences are derivatives.
    for row, column in ((0, 0), (1, 1), (0, 23), (15, 0), (15, 23), (8, 12)):
        moved = x_t.detach().clone()
        moved[0, 0, row, column] += 1
        difference = (canvas(moved, level(1.0)) - canvas(x_t, level(1.0)))[0, 0, 0, 0]
        torch.testing.assert_close(ours[0, 0, row, column], difference.detach(), **ROUNDING)


def bright_less_dark(strategy, canvas: Canvas) -> Tensor:
    """What four known columns, at 1 or at -1, make of the rest: the effect of what is known."""
    noise = CanvasNoise(0, [0], dtype=torch.float64)
    mask = torch.zeros(1, 1, canvas.height, canvas.width, dtype=torch.bool)
    mask[..., :4] = True
    images = []
    for value in (1.0, -1.0):
        y = torch.full((1, 1, canvas.height, canvas.width), value, dtype=torch.float64)
        known = Known(y.where(mask, math.nan), mask)
        images.append(strategy.generate(line(8, 3), canvas, noise, known=known))
        assert torch.equal(images[-1][..., :4], y[..., :4])
    return (images[0] - images[1])[0, 0, 0]


@every_strategy
def test_what_is_known_comes_back_and_is_seen_across_the_edge(strategy):
    effect = bright_less_dark(strategy, loop(32, channels=1))
    if isinstance(strategy, Naive):
        assert (effect[8:] == 0).all()
        return
    tolerance = ROUNDING
    if isinstance(strategy, Direct):
        # Its margin of 4 px hides what lies 4 / 3 of a length beyond the edge: exp(-8 / 3) of it.
        tolerance = {"atol": math.exp(-8 / 3), "rtol": 0}
    # The columns to its right and to its left are mirror images.
    torch.testing.assert_close(effect[4:16], effect[20:].flip(0), **tolerance)
    assert effect[-1] > 0.3
    opened = bright_less_dark(strategy, Canvas(height=8, width=32, channels=1))
    assert opened[-1].abs() < 1e-2 * effect[-1]


@pytest.mark.parametrize("wraps", [{"wrap_width": True}, {"wrap_height": True}])
@pytest.mark.parametrize(
    ("strategy", "length", "rule"),
    [
        (Naive(), 20, "a multiple of 8 px and at least 8 px, got 20 px; .* 16 and 24 px"),
        (DiffCollage(), 21, "a multiple of 4 px and at least 8 px, got 21 px; .* 20 and 24 px"),
        (DiffCollage(overlap=2), 8, "a multiple of 6 px and at least 8 px, got 8 px; .* 12 px"),
        (DiffCollage(), 4, "a multiple of 4 px and at least 8 px, got 4 px; .* is 8 px"),
        (MultiDiffusion(overlap=3), 16, "a multiple of 5 px .* got 16 px; .* 15 and 20 px"),
        (
            Direct(),
            21,
            "a multiple of the denoiser's 2 px, got 21 px; .* 20 and 22 px",
        ),
    ],
)
def test_loops_that_do_not_close_are_refused_with_those_that_do(strategy, length, rule, wraps):
    sides = {"height": 24, "width": 24} | {next(iter(wraps)).removeprefix("wrap_"): length}
    denoiser = Blurred()
    with pytest.raises(ValueError, match=rf"loop .*{rule}\.$"):
        strategy.generate(denoiser, Canvas(**sides, **wraps), CanvasNoise(0, [0]))
    assert not denoiser.calls


@pytest.mark.parametrize(
    ("strategy", "rows", "columns"),
    [
        (Naive(), (8,), (8, 16)),
        (Direct(), (8,), (8, 16)),
        (DiffCollage(), (4, 8, 12), (4, 8, 12, 16, 20)),
        (MultiDiffusion(overlap=4), (4, 8, 12), (4, 8, 12, 16, 20)),
    ],
)
def test_borders_of_a_torus_are_taken_modulo_the_canvas(strategy, rows, columns):
    assert strategy.window_edges(Blurred(), torus(16, 24)) == WindowEdges(rows, columns)


@pytest.mark.parametrize("strategy", [DiffCollage(overlap=2), MultiDiffusion(overlap=2)])
def test_borders_of_a_loop_whose_last_window_ends_inside_the_first(strategy):
    # Windows 0-8, 6-14, 12-20: the last ends at 2.
    assert strategy.window_edges(Blurred(), loop(18)) == WindowEdges((), (2, 6, 8, 12, 14))


def test_regions_are_cut_modulo_the_image():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    (corner,) = cut(image, Regions(2, 3, ((2, 2),)))
    assert corner.tolist() == [[[[10, 11, 8], [2, 3, 0]]]]
    (twice,) = cut(image, Regions(1, 9, ((0, 1),)))
    assert twice.flatten().tolist() == [1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_weights_beyond_the_edge_are_added_where_they_belong():
    group = Weighted(Regions(2, 6, ((2, 2),)), 1.0)
    total = total_weight([group], Canvas(height=3, width=4, wrap_height=True, wrap_width=True))
    assert total.tolist() == [[1, 1, 2, 2], [0, 0, 0, 0], [1, 1, 2, 2]]


@pytest.mark.parametrize(("corner", "wraps"), [((0, 4), "wrap_height"), ((4, 0), "wrap_width")])
def test_regions_that_reach_over_an_edge_that_does_not_wrap_are_our_mistake(corner, wraps):
    groups = [Weighted(Regions(8, 8, (corner,)), 1.0)]
    with pytest.raises(AssertionError, match=re.escape("regions must lie on the canvas")):
        Collage(Blurred(), groups, Canvas(height=8, width=8, **{wraps: True}))


def test_an_image_of_another_size_than_the_canvas_is_our_mistake():
    canvas = DiffCollage().canvas_denoiser(Blurred(), loop(24))
    with pytest.raises(AssertionError, match="not this canvas"):
        canvas(torch.zeros(1, 3, 8, 12), torch.ones(1, 1, 1, 1))


def test_two_windows_may_close_a_loop_of_their_own_length():
    x_t = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    field = line(8, 3)
    # Two windows cut open at opposite places, less the halves that both share.
    expected = field(x_t, level(1.0)) + field(x_t.roll(4, -1), level(1.0)).roll(4, -1)
    for half in (slice(0, 4), slice(4, 8)):
        expected[..., half] -= field(x_t[..., half], level(1.0))
    estimate = estimated(DiffCollage(), field, x_t, 1.0, wrap_width=True)
    torch.testing.assert_close(estimate, expected, **ROUNDING)
