"""What texts say of each window: one, several along the canvas, or one for each region."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from denoisers.conditions import Conditions
from denoisers.contract import Image, Sigma
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.canvas import Canvas, Known
from strategies.catalogue import names, strategy_class
from strategies.context import Place, WindowContext, region_of
from strategies.naive import Naive
from strategies.prompts import PromptContext

# A busy machine is no failure.
few_examples = settings(max_examples=40, deadline=None)
# Angles by way of acos and back in float64.
ROUNDING = {"atol": 1e-7, "rtol": 0}
CANVAS = Canvas(height=8, width=48)
LOOP = Canvas(height=8, width=48, wrap_width=True)


def asked(context: PromptContext, places: list[Place], canvas: Canvas, samples: int = 1):
    """What the windows of so many samples are told."""
    size = canvas.height, canvas.width
    y = torch.zeros(samples, canvas.channels, *size, dtype=torch.float64)
    seen = Known(y, torch.zeros(1, 1, *size, dtype=torch.bool))
    rows = samples * len(places)
    known = torch.zeros(rows, 1, places[0].height, places[0].width, dtype=torch.bool)
    return context.at(places, canvas, seen, known)


def with_middle(column: float) -> Place:
    """A window of 8 px with its middle at a column."""
    return Place(0, int(column) - 4, 8, 8)


def units(count: int) -> Tensor:
    """Texts of two tokens that point in directions of their own, each 2 long."""
    return 2 * torch.eye(2 * count, dtype=torch.float64).view(count, 2, 2 * count)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def test_it_is_a_context_of_windows_and_the_same_for_all_samples():
    context = PromptContext(tokens=normal(2, 3, 4))
    assert isinstance(context, WindowContext)
    assert context[torch.tensor([1])] is context


@pytest.mark.parametrize("canvas", [CANVAS, LOOP])
def test_one_text_is_told_to_every_window(canvas):
    tokens, pooled = normal(1, 3, 5), normal(1, 4)
    places = [with_middle(column) for column in (4, 20, 44)]
    told = asked(PromptContext(tokens=tokens, pooled=pooled), places, canvas, samples=2)
    assert torch.equal(told.tokens, tokens.expand(6, 3, 5))
    assert torch.equal(told.pooled, pooled.expand(6, 4))
    assert told.areas is None
    assert asked(PromptContext(tokens=tokens), places, canvas).pooled is None


def test_the_first_text_is_at_the_left_edge_and_the_last_at_the_right_one():
    tokens, pooled = normal(3, 2, 5), normal(3, 4)
    context = PromptContext(tokens=tokens, pooled=pooled)
    told = asked(context, [with_middle(column) for column in (0, 24, 48)], CANVAS)
    torch.testing.assert_close(told.tokens, tokens, **ROUNDING)
    torch.testing.assert_close(told.pooled, pooled, **ROUNDING)
    # Windows that reach beyond the canvas have their middle beyond it too.
    told = asked(context, [with_middle(60)], CANVAS)
    torch.testing.assert_close(told.tokens, tokens[2:], **ROUNDING)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("between", [0, 1])
def test_between_two_texts_lies_the_great_circle(between, share):
    tokens = units(3)
    pooled = torch.eye(3, dtype=torch.float64) * torch.tensor([1.0, 2.0, 4.0])
    context = PromptContext(tokens=tokens, pooled=pooled)
    told = asked(context, [with_middle(24 * (between + share))], CANVAS)
    # Directions at a right angle: cos and sin of the share of it.
    parts = math.cos(share * math.pi / 2), math.sin(share * math.pi / 2)
    first, last = tokens[between], tokens[between + 1]
    torch.testing.assert_close(told.tokens[0], parts[0] * first + parts[1] * last, **ROUNDING)
    # Lengths lie in between as well, 2^between and twice that.
    direction = torch.zeros(3, dtype=torch.float64)
    direction[between], direction[between + 1] = parts
    length = 2**between * (1 + share)
    torch.testing.assert_close(told.pooled[0], length * direction, **ROUNDING)


@pytest.mark.parametrize("texts", [2, 3, 4])
def test_round_a_loop_texts_are_told_evenly_and_the_last_meets_the_first(texts):
    context = PromptContext(tokens=units(texts))
    columns = range(48)
    told = asked(context, [with_middle(column) for column in columns], LOOP).tokens
    torch.testing.assert_close(told[:: 48 // texts], units(texts), **ROUNDING)
    # A right angle from text to text in even steps, the last one across the edge: chords of a
    # circle of radius 2.
    steps = (told.roll(-1, 0) - told).norm(dim=-1)
    chord = 2 * 2 * math.sin(math.pi / 2 * texts / 48 / 2)
    torch.testing.assert_close(steps, torch.full_like(steps, chord), **ROUNDING)
    again = asked(context, [with_middle(column + 48) for column in columns], LOOP).tokens
    torch.testing.assert_close(again, told, **ROUNDING)


def test_along_the_height_texts_are_the_same():
    context = PromptContext(tokens=units(2))
    canvas = Canvas(height=48, width=48)
    told = asked(context, [Place(top, 13, 8, 8) for top in (0, 20, 40)], canvas).tokens
    assert torch.equal(told[0], told[1])
    assert torch.equal(told[0], told[2])


def test_rows_are_all_samples_of_the_first_window_and_then_of_the_next():
    # Windows in the middle of their texts, or of their regions.
    middles = [with_middle(column) for column in (0, 24, 48)]
    context = PromptContext(tokens=units(3), pooled=torch.eye(3).double())
    told = asked(context, middles, CANVAS, samples=4)
    expected = [0] * 4 + [1] * 4 + [2] * 4
    torch.testing.assert_close(told.tokens, units(3)[expected], **ROUNDING)
    torch.testing.assert_close(told.pooled, torch.eye(3).double()[expected], **ROUNDING)
    masks = torch.eye(3).double().view(3, 1, 3)
    places = [Place(0, left, 8, 8) for left in (4, 20, 36)]
    told = asked(PromptContext(tokens=units(3), masks=masks), places, CANVAS, samples=4)
    assert told.areas.mean((2, 3)).argmax(1).tolist() == expected
    assert (told.areas.amax(1) == 1).all()
    assert told.tokens is None


@few_examples
@given(
    size=st.tuples(st.integers(4, 30), st.integers(4, 30)),
    mask_size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    corner=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    wraps=st.tuples(st.booleans(), st.booleans()),
    one_each=st.booleans(),
)
def test_areas_are_cut_as_the_canvas_is_and_sum_to_one(size, mask_size, corner, wraps, one_each):
    canvas = Canvas(
        height=size[0], width=size[1], wrap_height=wraps[0], wrap_width=wraps[1], channels=1
    )
    shares = normal(4, *mask_size).mul(3).softmax(0)
    if one_each:
        shares = F.one_hot(shares.argmax(0), 4).permute(2, 0, 1).double()
    context = PromptContext(tokens=normal(4, 1, 1), masks=shares)
    top, left = corner[0] % size[0], corner[1] % size[1]
    place = Place(top, left, 9, 11)
    areas = asked(context, [place], canvas).areas
    # A weighted mean of each pixel's share of four, in float64; a share below 1e-4 is none.
    torch.testing.assert_close(areas.sum(1), torch.ones(1, 9, 11).double(), atol=1e-12, rtol=0)
    # Where the canvas is, as an image of one channel for each text is cut.
    stretched = F.interpolate(shares[None], size, mode="area")
    expected, inside = (
        region_of(whole, place, canvas) for whole in (stretched, torch.ones(1, 1, *size).double())
    )
    torch.testing.assert_close(areas * inside, expected, atol=4e-4, rtol=0)


def test_what_lies_beyond_the_canvas_belongs_to_the_text_of_its_edge():
    # Left, right: a window in the lower right corner reaches 5 px down and 3 px to the right.
    masks = torch.eye(2).view(2, 1, 2)
    context = PromptContext(tokens=units(2), masks=masks)
    areas = asked(context, [Place(5, 43, 8, 8)], CANVAS).areas
    assert areas[0, 1].min() == 1
    assert areas[0, 0].max() == 0
    around = asked(context, [Place(0, 43, 8, 8)], LOOP).areas[0]
    assert around[0, 0].tolist() == [0] * 5 + [1] * 3
    assert around[1, 0].tolist() == [1] * 5 + [0] * 3


def test_masks_are_stretched_to_the_canvas():
    masks = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 1]]).view(2, 1, 4)
    context = PromptContext(tokens=units(2), masks=masks)
    larger = asked(context, [Place(0, 0, 8, 48)], CANVAS).areas[0, 0]
    assert torch.equal(larger, (torch.arange(48) < 12).double().expand(8, 48))
    # Two pixels of the mask are one of the canvas.
    smaller = asked(context, [Place(0, 0, 2, 2)], Canvas(height=2, width=2)).areas[0]
    assert smaller[:, 0].tolist() == [[0.5, 0], [0.5, 1]]


def test_what_rounding_leaves_of_a_share_is_none():
    masks = torch.tensor([1e-6, -1e-6, 1.0]).view(3, 1, 1)
    areas = asked(PromptContext(tokens=units(3), masks=masks), [with_middle(8)], CANVAS).areas
    assert areas[0, :, 0, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("masks", "rule"),
    [
        (torch.ones(1, 2, 2), "a mask for each of 2 texts, got 1"),
        (torch.full((2, 2, 2), 0.6), "must sum to 1 on every pixel"),
        (torch.tensor([1.0, 0.9]).view(1, 1, 2).expand(2, 1, 2) / 2, "must sum to 1"),
        (torch.tensor([1.5, -0.5]).view(2, 1, 1), "must not be negative"),
    ],
)
def test_masks_that_are_no_shares_are_refused(masks, rule):
    with pytest.raises(ValueError, match=rule):
        PromptContext(tokens=units(2).float(), masks=masks)


class Colours:
    """Images that are the colour that the window is told."""

    patch_size, multiple, channels, takes_noise_maps = 8, 2, 3, True

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        assert isinstance(context, Conditions)
        assert len(context) == len(x_t)
        return 0 * x_t + context.tokens[:, 0, :, None, None]


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("canvas", [Canvas(height=11, width=21), LOOP])
def test_every_strategy_tells_its_windows(name, canvas):
    strategy, colour = strategy_class(name)(solver=Heun(num_steps=3)), torch.rand(1, 1, 3)
    context = PromptContext(tokens=colour)
    image = strategy.generate(Colours(), canvas, CanvasNoise(0, [0, 1]), context=context)
    # The last estimate is the image, of weights in float32.
    torch.testing.assert_close(image, colour[0, 0, :, None, None].expand_as(image))


def test_windows_side_by_side_have_the_colours_of_their_middles():
    context = PromptContext(tokens=torch.eye(3).view(3, 1, 3))
    strategy = Naive(solver=Heun(num_steps=3))
    image = strategy.generate(Colours(), CANVAS, CanvasNoise(0, [0]), context=context)
    for number in range(6):
        # Middles at 4, 12, ..., 44 of 48 px, a right angle from text to text every 24 px.
        text, angle = divmod((8 * number + 4) / 24, 1)
        expected = torch.zeros(3)
        expected[int(text)] = math.cos(angle * math.pi / 2)
        expected[int(text) + 1] = math.sin(angle * math.pi / 2)
        window = image[0, :, :, 8 * number : 8 * number + 8]
        # Angles in float32.
        torch.testing.assert_close(
            window, expected[:, None, None].expand_as(window), atol=1e-5, rtol=0
        )
