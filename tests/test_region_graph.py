"""Region graphs, and DiffCollage on windows that lie as a user likes."""

import dataclasses
import re
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.comparison.plan import parse
from denoisers.gaussian import GaussianDenoiser, GaussianField
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.canvas import Canvas, WindowEdges
from strategies.collage import Weighted
from strategies.diffcollage import DiffCollage
from strategies.region_graph import Rectangle, counted, counting_numbers, intersections
from tests.test_diffcollage import line, plane

# A busy machine is no failure.
some_examples = settings(max_examples=60, deadline=None)
few_examples = settings(max_examples=25, deadline=None)

SQUARE = Canvas(height=12, width=12, channels=1)
# (factors, counting numbers by hand) of covers of that canvas.
COVERS = {
    "an L, and what it leaves open": (
        [(0, 0, 8, 8), (4, 0, 8, 8), (4, 4, 8, 8), (0, 8, 4, 4)],
        # The corner of the L that all three share lies in both strips too, and drops out.
        {(4, 0, 4, 8): -1, (4, 4, 8, 4): -1},
    ),
    "three windows that share one place": (
        [(0, 0, 8, 8), (0, 4, 8, 8), (6, 0, 6, 12)],
        {(0, 4, 8, 4): -1, (6, 0, 2, 8): -1, (6, 4, 2, 8): -1, (6, 4, 2, 4): 1},
    ),
    "a plus of four arms that share its middle": (
        [(0, 4, 8, 4), (4, 4, 8, 4), (4, 0, 4, 8), (4, 4, 4, 8)]
        + [(top, left, 4, 4) for top in (0, 8) for left in (0, 8)],
        # A variable of degree 4: 1 - d.
        {(4, 4, 4, 4): -3},
    ),
    "four windows with corners in common": (
        [(top, left, 8, 8) for top in (0, 4) for left in (0, 4)],
        {(0, 4, 8, 4): -1, (4, 4, 8, 4): -1, (4, 0, 4, 8): -1, (4, 4, 4, 8): -1, (4, 4, 4, 4): 1},
    ),
}
every_cover = pytest.mark.parametrize(("factors", "shared"), COVERS.values(), ids=COVERS)


def level(sigma: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), sigma, dtype=torch.float64)


def counts_of(groups: list[Weighted]) -> dict[Rectangle, int]:
    """The regions of a canvas denoiser with their weights."""
    counts = {}
    for group in groups:
        regions = group.regions
        weights = torch.as_tensor(group.weight).flatten().expand(len(regions.corners)).tolist()
        for (top, left), weight in zip(regions.corners, weights, strict=True):
            region = Rectangle(top, left, regions.height, regions.width)
            assert region not in counts
            counts[region] = weight
    return counts


def pixels(region: Rectangle, canvas: Canvas) -> list[tuple[int, int]]:
    rows = range(region.top, region.top + region.height)
    columns = range(region.left, region.left + region.width)
    return [(row % canvas.height, column % canvas.width) for row, column in product(rows, columns)]


def totals(counts: dict[Rectangle, int], canvas: Canvas) -> dict[tuple[int, int], int]:
    """The sum of the counting numbers on every pixel that lies in a region."""
    total = {}
    for region, count in counts.items():
        for pixel in pixels(region, canvas):
            total[pixel] = total.get(pixel, 0) + count
    return total


@st.composite
def covers(draw, wraps: tuple[bool, bool] | None = None) -> tuple[list[Rectangle], Canvas]:
    """A few rectangles on a small canvas, which need not cover it."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    down, across = wraps or (draw(st.booleans()), draw(st.booleans()))
    canvas = Canvas(height=height, width=width, wrap_height=down, wrap_width=across)
    rectangles = []
    for _ in range(draw(st.integers(1, 6))):
        tall, wide = draw(st.integers(1, height)), draw(st.integers(1, width))
        top = draw(st.integers(0, height - 1 if down else height - tall))
        left = draw(st.integers(0, width - 1 if across else width - wide))
        rectangles.append(Rectangle(top, left, tall, wide))
    return rectangles, canvas


@some_examples
@given(covers(wraps=(False, False)))
def test_counting_numbers_are_those_of_sets_of_pixels(cover):
    factors, canvas = cover
    sets = {frozenset(pixels(factor, canvas)) for factor in factors}
    while more := {a & b for a, b in product(sets, sets)} - sets - {frozenset()}:
        sets |= more
    expected = {}
    for region in sorted(sets, key=len, reverse=True):
        expected[region] = 1 - sum(count for above, count in expected.items() if region < above)
    made = counting_numbers(factors, canvas)
    assert {frozenset(pixels(region, canvas)): count for region, count in made.items()} == expected
    assert len(made) == len(expected)


@some_examples
@given(covers())
def test_every_pixel_of_a_region_graph_counts_once_where_it_is_covered(cover):
    factors, canvas = cover
    total = totals(counting_numbers(factors, canvas), canvas)
    assert set(total.values()) == {1}
    assert set(total) == {pixel for factor in factors for pixel in pixels(factor, canvas)}


@some_examples
@given(cover=covers(wraps=(True, True)), down=st.integers(0, 8), across=st.integers(0, 8))
def test_factors_moved_round_a_torus_have_the_same_graph_moved(cover, down, across):
    factors, canvas = cover

    def moved(region: Rectangle) -> Rectangle:
        top, left, *size = region
        return Rectangle((top + down) % canvas.height, (left + across) % canvas.width, *size)

    expected = {moved(region): n for region, n in counting_numbers(factors, canvas).items()}
    assert counting_numbers([moved(factor) for factor in factors], canvas) == expected


@some_examples
@given(covers())
def test_what_two_regions_share_is_the_same_both_ways(cover):
    factors, canvas = cover
    for first, second in product(factors, factors):
        shared = intersections(first, second, canvas)
        assert sorted(shared) == sorted(intersections(second, first, canvas))
        covered = [pixel for region in shared for pixel in pixels(region, canvas)]
        assert len(covered) == len(set(covered))
        assert set(covered) == set(pixels(first, canvas)) & set(pixels(second, canvas))


@few_examples
@given(data=st.data())
def test_chains_loops_grids_and_tori_are_region_graphs(data):
    sides = tuple(2 * data.draw(st.integers(1, 6)) for _ in range(2))
    strategy = DiffCollage(window=sides, overlap=data.draw(st.integers(1, min(sides) // 2)))
    wraps = data.draw(st.tuples(st.booleans(), st.booleans()))
    # Two windows are the fewest that close a loop.
    numbers = [data.draw(st.integers(2 if wrapped else 1, 4)) for wrapped in wraps]
    height, width = (
        number * (side - strategy.overlap) + (0 if wrapped else strategy.overlap)
        for number, side, wrapped in zip(numbers, sides, wraps, strict=True)
    )
    canvas = Canvas(height=height, width=width, wrap_height=wraps[0], wrap_width=wraps[1])
    denoiser = line(8, 1)
    built_in = counts_of(strategy.groups(denoiser, canvas))
    windows = [region for region in built_in if (region.height, region.width) == sides]
    assert len(windows) == numbers[0] * numbers[1]
    assert counted(windows, canvas) == built_in
    own = DiffCollage(regions=tuple(tuple(region) for region in windows))
    assert counts_of(own.groups(denoiser, canvas)) == built_in


@every_cover
def test_covers_whose_counting_numbers_are_known(factors, shared):
    made = counted(factors, SQUARE)
    assert made == dict.fromkeys(map(tuple, factors), 1) | shared
    groups = DiffCollage(regions=tuple(factors)).groups(line(8, 1), SQUARE)
    assert counts_of(groups) == made
    assert len(groups) == len({(region.height, region.width) for region in made})


@every_cover
def test_the_estimate_is_the_sum_of_the_regions(factors, shared):
    field, x_t = plane(8, 3), torch.randn(2, 1, 12, 12, dtype=torch.float64)
    expected = torch.zeros_like(x_t)
    for (top, left, height, width), count in (dict.fromkeys(factors, 1) | shared).items():
        place = ..., slice(top, top + height), slice(left, left + width)
        expected[place] += count * field(x_t[place], level(0.7))
    canvas = DiffCollage(regions=tuple(factors)).canvas_denoiser(field, SQUARE)
    # The same numbers summed in another order.
    torch.testing.assert_close(canvas(x_t, level(0.7)), expected, atol=1e-13, rtol=0)


@every_cover
def test_the_whole_graph_may_be_given_with_its_counting_numbers(factors, shared):
    whole = dict.fromkeys(factors, 1) | shared
    own = tuple((*region, count) for region, count in whole.items())
    x_t = torch.randn(2, 1, 12, 12, dtype=torch.float64)
    ours, theirs = (
        DiffCollage(regions=tuple(regions)).canvas_denoiser(plane(8, 3), SQUARE)(x_t, level(0.7))
        for regions in (factors, own)
    )
    # The same numbers summed in another order.
    torch.testing.assert_close(ours, theirs, atol=1e-13, rtol=0)


def test_counting_numbers_of_the_users_own_are_taken_as_they_are():
    # Two windows of which one counts where they overlap: no region graph, but every pixel is 1.
    own = ((0, 0, 8, 8, 1), (0, 4, 8, 8, 2), (0, 4, 8, 8, -1), (0, 4, 8, 4, -1), (0, 0, 8, 2, 0))
    canvas = Canvas(height=8, width=12, channels=1)
    counts = counts_of(DiffCollage(regions=own).groups(line(8, 1), canvas))
    assert counts == {(0, 0, 8, 8): 1, (0, 4, 8, 8): 1, (0, 4, 8, 4): -1}


def test_windows_round_a_loop_may_begin_anywhere():
    canvas = Canvas(height=8, width=20, channels=1, wrap_width=True)
    # One is given with its corner beyond the canvas, one before it.
    regions = tuple((0, left, 8, 8) for left in (-2, 2, 6, 10, 34))
    x_t = torch.randn(2, 1, 8, 20, dtype=torch.float64)
    own = DiffCollage(regions=regions).canvas_denoiser(line(8, 3), canvas)(x_t, level(0.7))
    loop = DiffCollage().canvas_denoiser(line(8, 3), canvas)
    expected = loop(x_t.roll(2, -1), level(0.7)).roll(-2, -1)
    # The same numbers summed in another order.
    torch.testing.assert_close(own, expected, atol=1e-13, rtol=0)


def test_two_windows_close_a_loop_with_two_variables():
    loop = Canvas(height=8, width=12, wrap_width=True)
    expected = {(0, 0, 8, 8): 1, (0, 6, 8, 8): 1, (0, 0, 8, 2): -1, (0, 6, 8, 2): -1}
    assert counted([(0, 0, 8, 8), (0, 6, 8, 8)], loop) == expected


def test_a_graph_of_one_window_is_the_network():
    field, x_t = plane(16, 3), torch.randn(2, 1, 12, 20, dtype=torch.float64)
    canvas = Canvas(height=12, width=20, channels=1)
    strategy = DiffCollage(regions=((0, 0, 12, 20),))
    estimate = strategy.canvas_denoiser(field, canvas)(x_t, level(0.7))
    assert torch.equal(estimate, field(x_t, level(0.7)))


def test_nothing_is_planned_larger_than_what_is_asked_for():
    field = GaussianField(mean=0.3, channels=3)
    strategy = DiffCollage(
        solver=Heun(num_steps=4), regions=((0, 0, 5, 8), (0, 5, 5, 8), (0, 9, 5, 8))
    )
    canvas = Canvas(height=5, width=17)
    assert strategy.planned(GaussianDenoiser(field, patch_size=8), canvas) == canvas
    image = strategy.generate(GaussianDenoiser(field, patch_size=8), canvas, CanvasNoise(0, [0, 1]))
    assert image.shape == (2, 3, 5, 17)


def test_borders_of_a_graph_are_the_edges_of_all_its_regions():
    regions = ((0, 0, 8, 8), (0, 6, 8, 6), (4, 0, 8, 12))
    edges = DiffCollage(regions=regions).window_edges(line(8, 1), SQUARE)
    assert edges == WindowEdges((4, 8), (6, 8))


class Refusing:
    """A denoiser that is never called."""

    patch_size, multiple, channels, takes_noise_maps = 8, 2, 1, True

    def __call__(self, x_t, sigma, context=None):
        raise AssertionError("called")


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (((0, 0, 8, 12),), "at row 8, column 0 they sum to 0"),
        (((0, 0, 12, 8), (4, 4, 8, 8)), "at row 0, column 8 they sum to 0"),
        (
            ((0, 0, 12, 8, 1), (0, 6, 12, 6, 1)),
            "at row 0, column 6 they sum to 2",
        ),
        (
            ((0, 0, 12, 12, 1), (4, 2, 2, 2, -3)),
            "at row 4, column 2 they sum to -2",
        ),
        (((0, 0, 12, 12, 0),), "at row 0, column 0 they sum to 0"),
        (
            ((0, 0, 12, 7), (0, 6, 12, 6)),
            "2 px, got 12 x 7 px at row 0",
        ),
        (
            ((0, 0, 12, 8), (0, 5, 12, 6), (0, 6, 12, 6)),
            "2 px, got 12 x 5 px at row 0, column 6",
        ),
        (
            ((0, 6, 12, 8),),
            "got 12 x 8 px at row 0, column 6",
        ),
        (((-2, 0, 12, 12),), "at row -2, column 0"),
        (((0, 0, 14, 12),), "got 14 x 12 px at row 0, column 0"),
        (((0, 0, 0, 12),), "got 0 x 12 px"),
        (((0, 0, 12, -2),), "got 12 x -2 px"),
    ],
)
def test_regions_that_are_no_cover_are_refused(regions, message):
    strategy = DiffCollage(regions=regions)
    with pytest.raises(ValueError, match=re.escape(message)):
        strategy.generate(Refusing(), SQUARE, CanvasNoise(0, [0]))


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (((0, 0, 8, 7), (0, 5, 8, 7)), None),  # filled up to a window of 8 x 8 px
        (((0, 0, 8, 8), (0, 7, 8, 5)), None),
        (((0, 0, 8, 9), (0, 4, 8, 8)), "got 8 x 9 px at row 0, column 0"),
    ],
)
def test_regions_up_to_a_window_may_be_of_any_size_where_they_are_filled(regions, message):
    strategy = DiffCollage(regions=regions, variables="mirrored")
    denoiser, canvas = Refusing(), Canvas(height=8, width=12, channels=1)
    if message is None:
        strategy.groups(denoiser, canvas)
        with pytest.raises(ValueError, match=r"multiples of .* 2 px"):
            dataclasses.replace(strategy, variables="own_size").groups(denoiser, canvas)
        return
    with pytest.raises(ValueError, match=re.escape(message)):
        strategy.groups(denoiser, canvas)


def test_a_region_may_be_as_long_as_a_loop_and_no_longer():
    canvas = Canvas(height=12, width=12, channels=1, wrap_width=True)
    DiffCollage(regions=((0, 6, 12, 12),)).canvas_denoiser(Refusing(), canvas)
    with pytest.raises(ValueError, match="got 12 x 14 px at row 0, column 6"):
        DiffCollage(regions=((0, 6, 12, 14),)).canvas_denoiser(Refusing(), canvas)
    with pytest.raises(ValueError, match="got 12 x 12 px at row 6, column 0"):
        DiffCollage(regions=((6, 0, 12, 12),)).canvas_denoiser(Refusing(), canvas)


@pytest.mark.parametrize(
    ("regions", "got"),
    [
        ((), "got none"),
        (((0, 0, 8),), "got lists of 3 numbers"),
        (((0, 0, 8, 8), (0, 4, 8, 8, 1)), "got lists of 4 and 5 numbers"),
        (((0, 0, 8, 8, 1, 1),), "got lists of 6 numbers"),
    ],
)
def test_lists_of_other_lengths_are_refused(regions, got):
    with pytest.raises(ValueError, match=f"regions .* {got}"):
        DiffCollage(regions=regions)


@pytest.mark.parametrize("name", ["window", "overlap"])
def test_windows_are_laid_out_in_one_way_only(name):
    with pytest.raises(ValueError, match=f"{name} .* got 4"):
        DiffCollage(regions=((0, 0, 8, 8),), **{name: 4})


def test_regions_are_a_list_of_lists_on_a_command_line():
    plan = parse(["strategy=diffcollage", "diffcollage.regions=[[0,0,32,32],[0,16,32,32]]"])
    assert plan.strategies["diffcollage"].regions == ((0, 0, 32, 32), (0, 16, 32, 32))
