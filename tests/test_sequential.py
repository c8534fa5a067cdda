"""Window after window: what the strategies share that fill one given the others."""

import dataclasses
import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datamodules.landscapes import Landscapes
from denoisers.gaussian import GaussianDenoiser, GaussianField
from sampling.noise import CanvasNoise
from sampling.solvers import Euler, Heun
from strategies.async_patch import AsyncPatch
from strategies.base import Strategy
from strategies.batching import limited
from strategies.canvas import Canvas, Known, WindowEdges
from strategies.lshape_repaint import LShapeRepaint
from strategies.order import Axis
from strategies.reconstruction import Reconstruction
from strategies.replacement import Replacement
from strategies.sequential import Outpainting, SequentialStrategy, first_window
from tests.doubles import Blurred
from tests.test_strategies import rounding, small_unet

# A busy machine is no failure.
examples = settings(max_examples=10, deadline=None)

# Steep steps to low levels would have a mere blur blow up what differs from pixel to pixel.
SOLVER = Heun(num_steps=2, sigma_min=0.5)
FAMILY = [Replacement, Reconstruction, LShapeRepaint, AsyncPatch]
every_strategy = pytest.mark.parametrize("strategy", FAMILY, ids=lambda s: s.__name__)


def built(strategy: type[Strategy], **options) -> Strategy:
    """With short ladders, and few visits."""
    visits = {"jump_n_sample": 2} if strategy is LShapeRepaint else {}
    return strategy(**{"solver": SOLVER, **visits, **options})


def noise(*indices: int) -> CanvasNoise:
    return CanvasNoise(0, indices or (0,), dtype=torch.float64)


def rectangle(canvas: Canvas, rows: slice, columns: slice) -> Tensor:
    mask = torch.zeros(1, 1, canvas.height, canvas.width, dtype=torch.bool)
    mask[..., rows, columns] = True
    return mask


def something(mask: Tensor) -> Known:
    """Values for a mask; what is not known is not a number."""
    generator = torch.Generator().manual_seed(1)
    y = torch.rand(len(mask), 3, *mask.shape[-2:], generator=generator, dtype=torch.float64) - 0.5
    return Known(y.where(mask, torch.nan), mask)


CHAIN = Canvas(height=8, width=30)
PLANE = Canvas(height=15, width=18)
LOOP = Canvas(height=8, width=24, wrap_width=True)
TORUS = Canvas(height=12, width=24, wrap_height=True, wrap_width=True)
# In one corner, nowhere, and in a strip thinner than any window.
OF_THEIR_OWN = torch.cat(
    [
        rectangle(PLANE, slice(0, 8), slice(12, 18)),
        rectangle(PLANE, slice(0, 0), slice(0, 0)),
        rectangle(PLANE, slice(10, 12), slice(0, 18)),
    ]
)
CASES = {
    "chain": (CHAIN, None),
    "plane": (PLANE, None),
    "loop": (LOOP, None),
    "torus": (TORUS, None),
    "known": (PLANE, rectangle(PLANE, slice(3, 12), slice(5, 15))),
    "known-on-a-loop": (LOOP, rectangle(LOOP, slice(0, 8), slice(3, 8))),
    "masks-of-their-own": (PLANE, OF_THEIR_OWN),
}
CHURNED = dataclasses.replace(SOLVER, churn=1.0)
VARIANTS = {
    "replacement": built(Replacement),
    "replacement-churned": built(Replacement, solver=CHURNED, overlap=2, window=(6, 8)),
    "reconstruction": built(Reconstruction, window=(6, 8)),
    "reconstruction-churned": built(Reconstruction, solver=CHURNED, step_rule="constant"),
    "lshape_repaint": built(LShapeRepaint, window=(6, 8)),
    "lshape_repaint-churned": built(LShapeRepaint, solver=CHURNED),
    "async_patch": built(AsyncPatch),
    "async_patch-churned": built(AsyncPatch, solver=CHURNED),
    # Fronts of one window may end before those of another: by steps that leave x0_hat to the bit.
    "async_patch-in-fronts": built(
        AsyncPatch, solver=Euler(num_steps=3, sigma_min=0.5, churn=1.0), schedule="wavefront"
    ),
}


@pytest.mark.parametrize(
    ("variant", "case"),
    [
        *product([name for name in VARIANTS if "churned" not in name], CASES),
        *product([name for name in VARIANTS if "churned" in name], ["plane", "known-on-a-loop"]),
    ],
)
def test_raster_and_wavefront_give_the_same_image_to_the_last_bit(variant, case):
    canvas, mask = CASES[case]
    images = [
        dataclasses.replace(VARIANTS[variant], order=order).generate(
            Blurred(), canvas, noise(0, 1, 2), known=None if mask is None else something(mask)
        )
        for order in ("raster", "wavefront")
    ]
    assert images[0].isfinite().all()
    assert torch.equal(*images)


@every_strategy
def test_raster_and_wavefront_give_the_same_image_to_rounding_with_a_network(strategy):
    network = small_unet(torch.float64)
    images = [
        built(strategy, order=order).generate(network, Canvas(height=12, width=14), noise(0, 1))
        for order in ("raster", "wavefront")
    ]
    torch.testing.assert_close(*images, **rounding(torch.float64))


@pytest.mark.parametrize(
    ("order", "corner", "middle"),
    # 4 x 5 windows, shared by 2 samples: anti-diagonals from the corner, or from window (1, 2).
    [
        ("raster", [2] * 20, [2] * 20),
        ("wavefront", [2, 4, 6, 8, 8, 6, 4, 2], [2, 8, 14, 12, 4]),
    ],
)
def test_windows_of_one_turn_are_one_batch(order, corner, middle):
    canvas = Canvas(height=20, width=24)
    evaluations = 2 * SOLVER.num_steps - 1
    for strategy, expected in ((LShapeRepaint, corner), (Replacement, middle)):
        denoiser = Blurred()
        visits = {"jump_n_sample": 1} if strategy is LShapeRepaint else {}
        built(strategy, order=order, **visits).generate(denoiser, canvas, noise(0, 1))
        assert denoiser.batches == [size for size in expected for _ in range(evaluations)]


@every_strategy
@pytest.mark.parametrize("max_batch", [1, 2, 5])
def test_batches_are_split_without_a_bit_of_difference(strategy, max_batch):
    split, whole = Blurred(), Blurred()
    images = [
        built(strategy, max_batch=limit).generate(denoiser, PLANE, noise(0, 1))
        for denoiser, limit in ((split, max_batch), (whole, None))
    ]
    assert torch.equal(*images)
    assert max(split.batches) == max_batch
    assert sum(split.batches) == sum(whole.batches)


@pytest.mark.parametrize(("max_batch", "parts"), [(None, [5]), (2, [2, 2, 1]), (5, [5]), (9, [5])])
@pytest.mark.parametrize("levels", [(1, 1, 1, 1), (5, 1, 1, 1), (1, 1, 2, 2), (5, 1, 2, 2)])
def test_levels_and_contexts_are_split_along_with_the_images(max_batch, parts, levels):
    batches = []

    def denoise(x_t, sigma, context=None):
        batches.append(len(x_t))
        return x_t * sigma + (0 if context is None else context.view(-1, 1, 1, 1))

    x_t, sigma, context = torch.randn(5, 3, 2, 2), torch.rand(levels), torch.arange(5.0)
    estimate = limited(denoise, max_batch)
    assert torch.equal(estimate(x_t, sigma), x_t * sigma)
    assert torch.equal(estimate(x_t, sigma, context), x_t * sigma + context.view(-1, 1, 1, 1))
    assert batches == parts * 2


def by(strategy: Strategy, canvas: Canvas, known: Known | None = None) -> Tensor:
    return strategy.generate(Blurred(), canvas, noise(0, 1), known=known)


@pytest.mark.parametrize("solver", [SOLVER, CHURNED])
@pytest.mark.parametrize(("height", "width"), [(15, 27), (26, 18), (22, 31)])
def test_a_larger_canvas_begins_with_the_smaller_one(solver, height, width):
    strategy = built(LShapeRepaint, solver=solver)
    larger = by(strategy, Canvas(height=height, width=width))
    assert torch.equal(larger[..., :15, :18], by(strategy, PLANE))


@every_strategy
@pytest.mark.parametrize("order", ["raster", "wavefront"])
def test_a_wider_canvas_goes_on_from_what_is_given_as_the_narrower_one(strategy, order):
    narrow = something(rectangle(CHAIN, slice(0, 8), slice(0, 8)))
    wide = narrow.padded(8, 61)
    images = [
        by(built(strategy, order=order), Canvas(height=8, width=known.y.shape[-1]), known)
        for known in (narrow, wide)
    ]
    assert torch.equal(images[1][..., :30], images[0])


@pytest.mark.parametrize("strategy", [Replacement, Reconstruction, AsyncPatch])
def test_a_canvas_larger_on_all_sides_has_the_same_middle(strategy):
    small, large = (Canvas(height=16, width=width) for width in (24, 40))
    middle = by(built(strategy), large)[..., 8:32]
    assert torch.equal(middle, by(built(strategy), small))


def amounts(given: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """How much is given of every window of a lattice, by convolution."""
    image = given.double()[None, None]
    for axis, pad in ((rows, (0, 0, 0, rows.window)), (columns, (0, columns.window, 0, 0))):
        image = F.pad(image, pad, mode="circular" if axis.wraps else "constant")
    windows = torch.ones(1, 1, rows.window, columns.window, dtype=torch.float64)
    sums = F.conv2d(image, windows)[0, 0].round().long()
    ends = (axis.length - (0 if axis.wraps else axis.overlap) for axis in (rows, columns))
    down, across = (
        torch.arange(0, end, axis.stride) for end, axis in zip(ends, (rows, columns), strict=True)
    )
    return sums[down][:, across]


@examples
@given(st.data(), st.booleans(), st.booleans())
def test_growth_starts_at_the_window_that_most_is_given_of(data, wraps, from_the_middle):
    rows = Axis(length=16, window=8, overlap=4)
    columns = Axis(length=30, window=8, overlap=2, wraps=wraps)
    if not wraps:
        columns = dataclasses.replace(columns, length=32)
    mask = torch.zeros(rows.length, columns.length, dtype=torch.bool)
    top, left = data.draw(st.integers(0, 15)), data.draw(st.integers(0, 29))
    mask[top : data.draw(st.integers(top, 16)), left : data.draw(st.integers(left, 30))] = True
    row, column = first_window(rows, columns, mask, from_the_middle=from_the_middle)
    most = amounts(mask, rows, columns)
    assert most[row, column] == most.max()
    # Of equal ones the one nearest to where growth from nothing begins.
    aim = (rows.middle, columns.middle) if from_the_middle else (0, 0)
    away = [abs(4 * i - aim[0]) + abs(6 * j - aim[1]) for i, j in (most == most.max()).nonzero()]
    assert abs(4 * row - aim[0]) + abs(6 * column - aim[1]) == min(away)


@pytest.mark.parametrize(("middle", "first"), [(True, (1, 2)), (False, (0, 0))])
def test_growth_from_nothing_starts_in_the_middle_or_in_the_corner(middle, first):
    rows, columns = Axis(length=20, window=8, overlap=4), Axis(length=24, window=8, overlap=4)
    nothing = torch.zeros(20, 24, dtype=torch.bool)
    assert first_window(rows, columns, nothing, from_the_middle=middle) == first


def spied(strategy: SequentialStrategy) -> tuple[SequentialStrategy, list[Known]]:
    """The same strategy, and what every window that it fills is given, in order."""
    seen = []

    class Spied(type(strategy)):
        def fill(self, denoiser, known, noise):
            seen.append(known)
            return super().fill(denoiser, known, noise)

    options = {field.name: getattr(strategy, field.name) for field in dataclasses.fields(strategy)}
    return Spied(**options | {"order": "raster"}), seen


PHOTOGRAPH = Landscapes().crop("test", 0, 8, 12).double()[None] / 127.5 - 1


@every_strategy
@pytest.mark.parametrize(
    ("height", "width", "top", "left"),
    [
        (8, 48, 0, 20),  # in the middle of four times its width, on the lattice
        (8, 48, 0, 17),  # off it
        (8, 48, 0, 0),
        (8, 45, 0, 33),  # windows reach 3 px beyond the right edge
        (20, 30, 7, 9),
        (17, 27, 9, 15),  # and beyond the lower one
    ],
)
def test_a_photograph_is_outpainted(strategy, height, width, top, left):
    canvas = Canvas(height=height, width=width)
    place = (..., slice(top, top + 8), slice(left, left + 12))
    y = torch.full((1, 3, height, width), torch.nan, dtype=torch.float64)
    y[place] = PHOTOGRAPH
    painter, seen = spied(built(strategy))
    image = by(painter, canvas, Known(y, ~y[:, :1].isnan()))
    assert torch.equal(image[place], PHOTOGRAPH.expand(2, -1, -1, -1))
    assert image.isfinite().all()
    # Every window is filled but those of which all that lies on the canvas is given.
    every, given = [], []
    for length, begin, side in ((height, top, 8), (width, left, 12)):
        windows = [(at, min(at + 8, length)) for at in range(0, max(1, length - 4), 4)]
        every.append(len(windows))
        given.append(sum(begin <= at and end <= begin + side for at, end in windows))
    assert len(seen) == math.prod(every) - math.prod(given)
    assert all((~known.mask).any() for known in seen)


@every_strategy
@examples
@given(st.data())
def test_nothing_unpainted_is_taken_for_context(strategy, data):
    height, width = (data.draw(st.integers(8, 16)) for _ in range(2))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom, right = data.draw(st.integers(top, height)), data.draw(st.integers(left, width))
    canvas = Canvas(height=height, width=width)
    known = something(rectangle(canvas, slice(top, bottom), slice(left, right)))
    painter, seen = spied(built(strategy))
    image = painter.generate(Blurred(), canvas, noise(), known=known)
    for window in seen:
        # A canvas is 0 where nothing has been painted, and no painted pixel is.
        assert (window.y[window.mask.expand_as(window.y)] != 0).all()
        assert (window.y[~window.mask.expand_as(window.y)] == 0).all()
    assert (image != 0).all()
    assert torch.equal(known.pasted(image), image)


@every_strategy
@pytest.mark.parametrize(
    "canvas", [CHAIN, PLANE, LOOP, TORUS], ids=["30", "18x22", "loop", "torus"]
)
def test_where_everything_is_known_no_network_is_called(strategy, canvas):
    everything = something(rectangle(canvas, slice(None), slice(None)))
    denoiser = Blurred()
    canvas = dataclasses.replace(canvas, wrap_height=False)
    image = built(strategy).generate(denoiser, canvas, noise(0, 1), known=everything)
    assert torch.equal(image, everything.y.expand(2, -1, -1, -1))
    assert not denoiser.batches


@every_strategy
def test_samples_may_know_different_pixels_whatever_others_know(strategy):
    masks = OF_THEIR_OWN[[0, 1, 2, 0]].repeat(1, 3, 1, 1)
    # Of the last one a single channel is known where all are of the first one.
    masks[3, 1:] = False
    known = something(masks)
    together = built(strategy).generate(Blurred(), PLANE, noise(4, 7, 9, 3), known=known)
    for k, index in enumerate((4, 7, 9, 3)):
        own = Known(known.y[[k]], known.mask[[k]])
        alone = built(strategy).generate(Blurred(), PLANE, noise(index), known=own)
        assert torch.equal(together[[k]], alone)
        assert torch.equal(own.pasted(alone), alone)


@every_strategy
def test_contexts_stay_with_their_samples_where_masks_differ(strategy):
    class Coloured(Blurred):
        def __call__(self, x_t, sigma, context=None):
            assert len(context) == len(x_t)
            return torch.where(sigma == 0, x_t, 0 * x_t + context[:, :, None, None])

    context = torch.tensor([[0.1, 0.2, 0.3], [-0.4, -0.5, -0.6], [0.7, 0.8, 0.9]]).double()
    known = something(OF_THEIR_OWN)
    image = built(strategy).generate(
        Coloured(), PLANE, noise(0, 1, 2), known=known, context=context
    )
    colours = context[:, :, None, None].expand_as(image)
    # The last estimate is the image, but for interpolations towards it: rounding.
    unknown = ~known.mask.expand_as(image)
    torch.testing.assert_close(image[unknown], colours[unknown], atol=1e-12, rtol=0)


@every_strategy
def test_one_channel_may_be_known_without_the_others(strategy):
    mask = rectangle(PLANE, slice(2, 15), slice(4, 19)).repeat(1, 3, 1, 1)
    mask[:, 1:] = False
    known = something(mask)
    image = built(strategy).generate(Blurred(), PLANE, noise(), known=known)
    assert torch.equal(known.pasted(image), image)
    # No pixel is left out that nobody has painted.
    assert (image != 0).all()
    assert image.isfinite().all()


class UnitVectors(CanvasNoise):
    """Unit vectors for noise: sample k has a 1 in place of number k of all that are drawn."""

    def __init__(self, samples: int) -> None:
        super().__init__(0, range(samples), dtype=torch.float64)
        self.begins: dict[tuple[str, int], int] = {}
        self.total = 0

    def draw(self, purpose, step, shape):
        if (purpose, step) not in self.begins:
            self.begins[purpose, step] = self.total
            self.total += math.prod(shape)
        numbers = torch.zeros(len(self), math.prod(shape), dtype=self.dtype)
        below = numbers[self.begins[purpose, step] :]
        below.diagonal().fill_(1.0)
        return numbers.view(len(self), *shape)


def covariance(make: Callable[[CanvasNoise], Tensor]) -> Tensor:
    """The exact covariance of what is linear in the noise that it draws."""
    first = UnitVectors(1)
    make(first)
    columns = make(UnitVectors(first.total)).flatten(1)
    return columns.mT @ columns


RHO = math.exp(-1 / 2)
ROW = GaussianDenoiser(GaussianField(columns_length=2.0), patch_size=8)
# 64 Heun steps leave 0.4 % of a deviation, hence 40 of them, being of second order, 1 %; no more of
# a correlation, of 0.6 here, which is a ratio.
SOLVED = 0.006


def correlations(
    strategy: Strategy,
    denoiser: GaussianDenoiser,
    canvas: Canvas,
    rows: slice = slice(0),
    columns: slice = slice(0),
) -> Tensor:
    """Correlations of what is made where a rectangle of a true sample is given, or nothing."""

    def make(drawn: CanvasNoise) -> Tensor:
        eps = drawn.draw("truth", 0, (1, canvas.height, canvas.width))
        known = Known(denoiser.field.sample(eps), rectangle(canvas, rows, columns))
        return strategy.generate(denoiser, canvas, drawn, known=known)

    made = covariance(make)
    deviations = made.diagonal().sqrt()
    return made / deviations / deviations[:, None]


def row(width: int, **wraps: bool) -> Canvas:
    return Canvas(height=1, width=width, channels=1, **wraps)


def on_a_row(strategy: type[Strategy], num_steps: int = 40, **options) -> Strategy:
    return strategy(solver=Heun(num_steps=num_steps), window=(1, 8), **options)


@pytest.mark.parametrize(("begin", "end"), [(7, 16), (0, 8), (14, 16)])
def test_what_is_made_goes_with_what_is_given(begin, end):
    made = correlations(on_a_row(AsyncPatch), ROW, row(24), slice(0, 1), slice(begin, end))
    place = torch.arange(24, dtype=torch.float64)
    # A Markov chain: what a window knows is all there is to know, at any distance.
    expected = RHO ** (place[:, None] - place).abs()
    torch.testing.assert_close(made, expected, atol=2 * SOLVED, rtol=0)


def test_what_is_made_goes_with_what_is_given_on_all_sides():
    field = GaussianField(rows="exponential", rows_length=2.0, columns_length=2.0)
    canvas = Canvas(height=8, width=10, channels=1)
    made = correlations(
        AsyncPatch(solver=Heun(num_steps=40), window=4),
        GaussianDenoiser(field, patch_size=4),
        canvas,
        slice(3, 7),
        slice(3, 8),
    )
    # The product of two Markov chains, of which L-shaped edges say all; and of two errors.
    torch.testing.assert_close(made, field.covariance(8, 10), atol=2.5 * SOLVED, rtol=0)


def test_replacement_goes_with_what_is_given_too_little():
    made = correlations(on_a_row(Replacement), ROW, row(24), slice(0, 1), slice(9, 17))
    # Known bias of the method, pinned so that nobody reports it as a bug of ours.
    for seam in (9, 17):
        assert 0.3 * RHO < made[seam - 1, seam] < 0.6 * RHO


@pytest.mark.parametrize("overlap", [4, 3, 1])
def test_a_loop_closes_as_well_as_it_goes_on(overlap):
    stride = 8 - overlap
    strategy, canvas = on_a_row(AsyncPatch, overlap=overlap), row(6 * stride, wrap_width=True)
    made = correlations(strategy, ROW, canvas)
    edges = [0, *strategy.window_edges(ROW, canvas).columns]
    seams = torch.stack([made[edge - 1, edge] for edge in edges])
    # The last window takes the two ends for parts of one row, some 5 px apart, when they are
    # strangers: what they do not owe each other is rho^(2 * 5 - 1) = 0.011 of a seam.
    torch.testing.assert_close(seams, torch.full_like(seams, RHO), atol=SOLVED + 0.011, rtol=0)


@pytest.mark.parametrize(
    ("strategy", "share"),
    [
        (on_a_row(Replacement, 20), 0.97),
        # The last window sees one pixel of either end, not two.
        (on_a_row(Replacement, 20, overlap=2), 0.92),
        (on_a_row(LShapeRepaint, 20, jump_n_sample=1), 0.97),
        (on_a_row(LShapeRepaint, 20, jump_n_sample=3), 0.97),
    ],
)
def test_a_biased_strategy_closes_a_loop_nearly_as_well_as_it_goes_on(strategy, share):
    canvas = row(6 * (8 - strategy.overlap_of(ROW, 8)), wrap_width=True)
    made = correlations(strategy, ROW, canvas)
    edges = [0, *strategy.window_edges(ROW, canvas).columns]
    seams = torch.stack([made[edge - 1, edge] for edge in edges])
    assert seams.min() > share * seams.median()


@every_strategy
@pytest.mark.parametrize(
    ("length", "message"),
    [
        (8, "12 px .* got 8 px"),
        (22, "got 22 px; .* 20 and 24 px"),
    ],
)
@pytest.mark.parametrize("axis", ["height", "width"])
def test_loops_that_cannot_be_filled_are_refused_before_any_call(strategy, length, message, axis):
    canvas = Canvas(**{"height": 24, "width": 24, axis: length, f"wrap_{axis}": True})
    denoiser = Blurred()
    with pytest.raises(ValueError, match=message):
        built(strategy).generate(denoiser, canvas, noise())
    assert not denoiser.batches


@pytest.mark.parametrize("overlap", [-1, 0, 5, 8])
def test_overlaps_of_more_than_half_a_window_or_of_nothing_are_refused(overlap):
    with pytest.raises(ValueError, match=f"window / 2.* got {overlap}"):
        built(Replacement, overlap=overlap).generate(Blurred(), CHAIN, noise())


def test_unknown_orders_are_refused():
    strategy = built(Replacement)
    # The constructor's own annotation would refuse it first, but under pytest alone.
    object.__setattr__(strategy, "order", "spiral")
    with pytest.raises(ValueError, match=r"order .* 'spiral'"):
        strategy.__post_init__()


def numbered(strategy: SequentialStrategy, canvas: Canvas) -> Tensor:
    """A canvas that says of every pixel which window has painted it."""

    class Numbered(type(strategy)):
        def fill(self, denoiser, known, noise):
            painted.append(None)
            return torch.full_like(known.y, len(painted))

    painted = []
    options = {field.name: getattr(strategy, field.name) for field in dataclasses.fields(strategy)}
    return Numbered(**options | {"order": "raster"}).generate(Blurred(), canvas, noise())[0, 0]


@examples
@given(
    sizes=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    wraps=st.tuples(st.booleans(), st.booleans()),
    window=st.sampled_from([(8, 8), (8, 6), (4, 8)]),
    overlap=st.integers(1, 4),
)
def test_borders_are_where_pixels_of_different_windows_meet(sizes, wraps, window, overlap):
    strategies: list[SequentialStrategy] = [built(LShapeRepaint, window=window)]
    if 2 * overlap <= min(window):
        strategies.append(built(Replacement, window=window, overlap=overlap))
    for strategy in strategies:
        strides = [
            side - (overlap if isinstance(strategy, Outpainting) else side // 2) for side in window
        ]
        height, width = (
            max(3, size // stride) * stride if wrap else size
            for size, stride, wrap in zip(sizes, strides, wraps, strict=True)
        )
        canvas = Canvas(height=height, width=width, wrap_height=wraps[0], wrap_width=wraps[1])
        painter = numbered(strategy, canvas)
        expected = WindowEdges(
            tuple(r for r in range(1, height) if (painter[r] != painter[r - 1]).any()),
            tuple(c for c in range(1, width) if (painter[:, c] != painter[:, c - 1]).any()),
        )
        assert strategy.window_edges(Blurred(), canvas) == expected


@pytest.mark.parametrize(("strategy", "last"), [(Replacement, (16, 20)), (LShapeRepaint, (20, 24))])
def test_a_loop_closes_opposite_the_middle_window_or_left_of_the_corner(strategy, last):
    painter = numbered(built(strategy), LOOP)[0]
    assert painter[:8].unique().tolist() == [1]
    assert (painter == painter.max()).nonzero().flatten().tolist() == list(range(*last))
