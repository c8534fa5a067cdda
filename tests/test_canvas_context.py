"""What the windows of a canvas are told, by every strategy: the right sample's, the right place's.

Denoisers that say what they are told show it: where a row went to a window that it does not belong
to, the canvas is another picture.
"""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from denoisers.conditions import Conditions
from denoisers.context_input import pixel_coordinates
from denoisers.gaussian import GaussianDenoiser, GaussianField
from denoisers.guide import coarse_guide, filled
from sampling.noise import CanvasNoise
from sampling.solvers import Euler
from strategies.async_patch import AsyncPatch
from strategies.base import Strategy
from strategies.canvas import Canvas, Known
from strategies.catalogue import names, strategy_class
from strategies.context import CanvasContext, Place, conditions_at, slerp
from strategies.lshape_repaint import LShapeRepaint
from strategies.naive import Naive
from strategies.reconstruction import Reconstruction
from strategies.replacement import Replacement

CHAIN = Canvas(height=8, width=30)
PLANE = Canvas(height=15, width=18)
LOOP = Canvas(height=8, width=24, wrap_width=True)
TORUS = Canvas(height=16, width=24, wrap_height=True, wrap_width=True)
CANVASES = {"chain": CHAIN, "plane": PLANE, "loop": LOOP, "torus": TORUS}
SOLVER = Euler(num_steps=2, sigma_min=0.5)

every_canvas = pytest.mark.parametrize("canvas", CANVASES.values(), ids=CANVASES.keys())
every_strategy = pytest.mark.parametrize("name", names())


def built(name: str, **options) -> Strategy:
    visits = {"jump_n_sample": 2} if name == "lshape_repaint" else {}
    return strategy_class(name)(**{"solver": SOLVER, **visits, **options})


def noise(*indices: int) -> CanvasNoise:
    return CanvasNoise(0, indices or (0, 1, 2), dtype=torch.float64)


class Told:
    """A denoiser of 8 x 8 patches that makes a picture of what it is told, and remembers it."""

    patch_size, multiple, channels, takes_noise_maps = 8, 2, 3, True
    takes = frozenset({"tokens", "guide", "known", "place", "plan"})

    def __init__(self) -> None:
        self.heard: list[Conditions] = []

    def picture(self, told: Conditions, height: int, width: int) -> Tensor:
        raise NotImplementedError

    def __call__(self, x_t: Tensor, sigma: Tensor, context: Any = None) -> Tensor:
        assert len(context) == len(x_t)
        self.heard.append(context)
        made = self.picture(context, *x_t.shape[-2:]).to(x_t)
        # The gradient that reconstruction takes is there, and 0.
        return torch.where(sigma == 0, x_t, made + 0 * x_t)


class Placed(Told):
    """The row and the column of every pixel, and the sample's token."""

    def picture(self, told: Conditions, height: int, width: int) -> Tensor:
        tokens = told.tokens[:, :1, :1, None].expand(-1, 1, height, width)
        return torch.cat([pixel_coordinates(told.place, height, width), tokens], dim=1)


class Guide(Told):
    """The guide itself, and nothing where it says nothing."""

    def picture(self, told: Conditions, height: int, width: int) -> Tensor:
        return told.guide * told.guided + told.tokens[:, 0, 0].view(-1, 1, 1, 1)


# The last step ends on the estimate, and weighted sums of it are off by rounding.
ROUNDING = {"rtol": 0.0, "atol": 1e-9}


@every_canvas
@every_strategy
def test_every_window_is_told_its_own_place_and_its_own_samples_tokens(name, canvas):
    tokens = torch.tensor([0.1, 0.5, -0.7]).view(3, 1, 1).double()
    made = built(name).generate(Placed(), canvas, noise(), context=CanvasContext(tokens=tokens))
    # An axis that wraps has no places.
    edges = [float(not canvas.wrap_height), float(not canvas.wrap_width)]
    place = torch.tensor([[-edges[0], -edges[1], *edges]], dtype=torch.float64)
    whole = pixel_coordinates(place, canvas.height, canvas.width).expand(3, -1, -1, -1)
    expected = torch.cat([whole, tokens[..., None].expand(-1, 1, *whole.shape[-2:])], dim=1)
    # Middles of pixels are shares of the window in float32.
    torch.testing.assert_close(made, expected, rtol=0.0, atol=1e-6)


@every_canvas
@every_strategy
def test_every_window_is_guided_by_its_own_region(name, canvas):
    plan = torch.randn(3, 3, canvas.height, canvas.width).double()
    tokens = torch.tensor([0.1, 0.5, -0.7]).view(3, 1, 1).double()
    context = CanvasContext(plan=plan, scale=(1, 1), tokens=tokens)
    made = built(name).generate(Guide(), canvas, noise(), context=context)
    torch.testing.assert_close(made, plan + tokens[..., None], **ROUNDING)


@every_strategy
def test_a_tensor_of_tokens_is_one_row_a_sample(name):
    class Bare(Told):
        def picture(self, told: Tensor, height: int, width: int) -> Tensor:
            return told[:, 0, 0].view(-1, 1, 1, 1).expand(-1, 3, height, width)

    tokens = torch.tensor([0.1, 0.5, -0.7]).view(3, 1, 1).double()
    made = built(name, max_batch=2).generate(Bare(), PLANE, noise(), context=tokens)
    torch.testing.assert_close(made, tokens[..., None].expand_as(made), **ROUNDING)


def given(canvas: Canvas, *, own: bool) -> Known:
    """Some pixels of three samples; others of each if they are each sample's own."""
    mask = torch.zeros(3 if own else 1, 1, canvas.height, canvas.width, dtype=torch.bool)
    for k, row in enumerate(mask):
        row[:, : 3 + k, 2 + 3 * k : 9 + 3 * k] = True
    y = torch.rand(3, 3, canvas.height, canvas.width).double() - 0.5
    return Known(y.where(mask, math.nan), mask)


class Blurred:
    """Knows its neighbours and what it is told, image by image and to the last bit."""

    patch_size, multiple, channels, takes_noise_maps = 8, 2, 3, True

    def __call__(self, x_t: Tensor, sigma: Tensor, context: Any = None) -> Tensor:
        mean = F.avg_pool2d(x_t / (1 + sigma.square()) + 0.1, 3, stride=1, padding=1)
        if context.tokens is not None:
            given = True if context.given is None else context.given.view(-1, 1, 1, 1)
            mean = mean + torch.where(
                torch.as_tensor(given), context.tokens[:, 0].view(-1, 3, 1, 1), -0.2
            )
        if context.guide is not None:
            mean = mean + 0.5 * context.guide * context.guided + 0.1 * context.guided
        mean = mean + 0.2 * context.known + 0.1 * context.place.view(-1, 4, 1, 1)[:, 1:2]
        return torch.where(sigma == 0, x_t, mean.to(x_t))


def colours(image: Tensor, mask: Tensor) -> Tensor:
    """Three numbers that differ if one pixel does, or one bit of the mask."""
    mask = mask.expand(len(image), -1, -1, -1)
    weight = torch.linspace(0.5, 1.5, mask[0].numel()).double().view(1, *mask.shape[1:])
    seen = filled(image, mask) * weight + 0.3 * mask * weight
    # A sum of its own for each image: what stands beside it changes no bit.
    return torch.stack([each.flatten(1).mean(1) for each in seen])[:, None]


LOOKING = CanvasContext(encode=colours, grown_guide=True, scale=(3, 4))
GROWING = [Replacement, Reconstruction, LShapeRepaint, AsyncPatch]


@pytest.mark.parametrize(
    "canvas", [PLANE, pytest.param(TORUS, marks=pytest.mark.slow)], ids=["plane", "torus"]
)
@pytest.mark.parametrize("strategy", GROWING, ids=lambda s: s.__name__)
def test_raster_and_wavefront_are_the_same_bits_for_a_context_that_looks(strategy, canvas):
    visits = {"jump_n_sample": 1} if strategy is LShapeRepaint else {}
    made = [
        strategy(solver=SOLVER, order=order, **visits).generate(
            Blurred(), canvas, noise(0, 1), context=LOOKING
        )
        for order in ("raster", "wavefront")
    ]
    assert torch.equal(*made)


@pytest.mark.parametrize("own", [False, True], ids=["one mask", "own masks"])
@every_strategy
def test_a_sample_is_what_it_is_alone(name, own):
    context = LOOKING
    if not own:
        tokens, plan = torch.rand(3, 1, 3).double(), torch.rand(3, 3, 5, 5).double()
        context = CanvasContext(tokens=tokens, plan=plan, scale=(3, 4))
    known = given(PLANE, own=own)
    strategy = built(name)
    together = strategy.generate(Blurred(), PLANE, noise(), known=known, context=context)
    for k in range(3):
        one = torch.tensor([k])
        mask = known.mask[k : k + 1] if own else known.mask
        alone = strategy.generate(
            Blurred(), PLANE, noise(k), known=Known(known.y[k : k + 1], mask), context=context[one]
        )
        # Float64; a line search divides by what it finds.
        torch.testing.assert_close(together[k : k + 1], alone, rtol=1e-9, atol=1e-9)
        assert torch.equal(alone.where(mask, 0.0), known.y[k : k + 1].where(mask, 0.0))


@every_strategy
def test_what_is_given_is_seen(name):
    # All windows of a parallel strategy, and the first of a sequential one, see no more than that.
    known = given(CHAIN, own=True)
    heard = Guide()
    context = CanvasContext(encode=colours, grown_guide=True, scale=(2, 2))
    built(name).generate(heard, CHAIN, noise(), known=known, context=context)
    mask = known.mask
    first = heard.heard[0]
    if len(first) % 3 == 0:  # of all samples together
        expected = colours(known.y, mask).repeat(len(first) // 3, 1, 1)
        torch.testing.assert_close(first.tokens, expected, rtol=1e-12, atol=1e-12)
    else:
        # In groups, by what they are given.
        choices = colours(known.y, mask)
        assert (first.tokens - choices).abs().amax((1, 2)).min() < 1e-12
    assert first.given.all()


@pytest.mark.parametrize("order", ["raster", "wavefront"])
def test_a_sequential_strategy_sees_what_earlier_turns_painted(order):
    seen = []

    def spy(image: Tensor, mask: Tensor) -> Tensor:
        seen.append((image.clone(), mask.clone()))
        return colours(image, mask)

    canvas = Canvas(height=8, width=20)
    strategy = LShapeRepaint(solver=SOLVER, jump_n_sample=1, order=order)
    heard = Guide()
    made = strategy.generate(
        heard, canvas, noise(0), context=CanvasContext(encode=spy, grown_guide=True, scale=(1, 1))
    )
    # Windows of 8 px at 0, 4, 8 and 12.
    assert [mask[0, 0, 0].sum().item() for _, mask in seen] == [0, 8, 12, 16]
    for image, mask in seen:
        assert torch.equal(image.where(mask, 0.0), made.where(mask, 0.0))
    firsts = heard.heard[:: len(heard.heard) // 4]
    assert [bool(told.given) for told in firsts] == [False, True, True, True]
    assert [told.known[0, 0, 0].tolist() for told in firsts] == [
        [0.0] * 8,
        *[[1.0] * 4 + [0.0] * 4] * 3,
    ]
    # At a scale of 1 px the guide is what is known.
    for told in firsts:
        assert torch.equal(told.guided, told.known)


@every_strategy
def test_who_ignores_contexts_makes_the_same_canvas(name):
    class Deaf(GaussianDenoiser):
        def __call__(self, x_t: Tensor, sigma: Tensor, context: Any = None) -> Tensor:
            return super().__call__(x_t, sigma)

    exact = Deaf(GaussianField(channels=3, columns_length=3.0), patch_size=8)
    canvas = Canvas(height=8, width=20)
    context = CanvasContext(
        tokens=torch.randn(2, 1, 3).double(), plan=torch.randn(1, 3, 2, 5).double(), scale=(4, 4)
    )
    made = [
        built(name).generate(exact, canvas, noise(0, 1), context=each) for each in (None, context)
    ]
    assert torch.equal(*made)


def seen_of(canvas: Canvas, samples: int = 2) -> Known:
    size = canvas.height, canvas.width
    y, mask = torch.randn(samples, 3, *size).double(), torch.rand(samples, 1, *size) < 0.5
    return Known(y.where(mask, math.nan), mask)


def test_places_are_shares_of_the_canvas_also_beyond_it():
    canvas = Canvas(height=10, width=40)
    places = [Place(0, 0, 10, 40), Place(4, 10, 8, 20), Place(6, 36, 8, 8)]
    seen, known = seen_of(canvas), torch.zeros(6, 1, 8, 8, dtype=torch.bool)
    told = CanvasContext().at(places, canvas, seen, known)
    expected = [[-1, -1, 1, 1], [-0.2, -0.5, 1.4, 0.5], [0.2, 0.8, 1.8, 1.2]]
    for place, rows in zip(expected, told.place.chunk(3), strict=True):
        for row in rows:
            assert row.tolist() == pytest.approx(place, abs=1e-12)
    assert told.plan.tolist() == [False] * 6
    assert CanvasContext(is_plan=True).at(places, canvas, seen, known).plan.tolist() == [True] * 6
    assert (told.tokens, told.guide) == (None, None)


@pytest.mark.parametrize("wraps", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("grown", [False, True])
def test_guides_of_windows_are_cut_from_that_of_the_canvas(wraps, grown):
    canvas = Canvas(height=8, width=12, wrap_height=wraps[0], wrap_width=wraps[1])
    seen = seen_of(canvas)
    plan = torch.randn(2, 3, 2, 4).double()
    context = (
        CanvasContext(grown_guide=True, scale=(4, 3))
        if grown
        else CanvasContext(plan=plan, scale=(4, 3))
    )
    whole = context.at([Place(0, 0, 8, 12)], canvas, seen, torch.zeros(2, 1, 8, 12).bool())
    if grown:
        guide, guided = coarse_guide(seen.y, seen.mask, (4, 3), wraps=wraps)
        assert torch.equal(whole.guide, guide)
        assert torch.equal(whole.guided, guided)
    else:
        assert (whole.guided == 1).all()
    places = [Place(2, 3, 6, 6), Place(5, 8, 6, 6)]
    told = context.at(places, canvas, seen, torch.zeros(4, 1, 6, 6).bool())
    for row, (place, k) in enumerate((place, k) for place in places for k in range(2)):
        for i in range(6):
            for j in range(6):
                y, x = place.top + i, place.left + j
                inside = (y < 8 or wraps[0]) and (x < 12 or wraps[1])
                for own, of_canvas in ((told.guide, whole.guide), (told.guided, whole.guided)):
                    expected = of_canvas[k, :, y % 8, x % 12] * inside
                    assert torch.equal(own[row, :, i, j], expected)


def test_what_is_painted_beyond_the_canvas_is_not_seen():
    canvas, larger = Canvas(height=4, width=6), torch.zeros(2, 3, 4, 8).double()
    larger[..., 6:] = 99.0
    mask = torch.ones(2, 1, 4, 8, dtype=torch.bool)
    told = CanvasContext(encode=colours).at(
        [Place(0, 0, 4, 8)], canvas, Known(larger, mask), torch.zeros(2, 1, 4, 8).bool()
    )
    expected = colours(larger[..., :6], mask[..., :6])
    assert torch.equal(told.tokens, expected)


def test_a_parallel_strategy_asks_once_for_each_size_of_window():
    asked = []

    class Counting(CanvasContext):
        def at(self, places, *args):
            asked.append(len(places))
            return super().at(places, *args)

    tokens = torch.zeros(1, 1, 1)
    context = Counting(tokens=tokens)
    built("diffcollage").generate(Placed(), Canvas(height=8, width=20), noise(), context=context)
    assert asked == [4, 3]
    heard = Placed()
    known = given(CHAIN, own=True)
    Naive(solver=SOLVER).generate(heard, CHAIN, noise(), known=known, context=context)
    mask = F.pad(known.mask, (0, 2)).double()  # as planned
    assert torch.equal(heard.heard[0].known, torch.cat(mask.split(8, dim=-1)))


def test_ends_lie_at_the_ends_of_the_canvas():
    canvas = Canvas(height=8, width=32)
    first, last = torch.randn(2, 3, 5).double(), torch.randn(1, 3, 5).double()
    context = CanvasContext(tokens=first, ends=last)
    places = [Place(0, left, 8, 8) for left in (0, 12, 24, 32)]
    told = context.at(places, canvas, seen_of(canvas), torch.zeros(8, 1, 8, 8).bool())
    # The middles of the windows; beyond the canvas there is no more than its end.
    for rows, share in zip(told.tokens.chunk(4), (4 / 32, 0.5, 28 / 32, 1.0), strict=True):
        torch.testing.assert_close(rows, slerp(first, last.expand(2, -1, -1), share))
    torch.testing.assert_close(told.tokens[6:], last.expand(2, -1, -1))
    assert told.given is None


def vectors(*tokens: list[float]) -> Tensor:
    return torch.tensor(tokens, dtype=torch.float64)[None]


@pytest.mark.parametrize("lengths", [(1.0, 1.0), (0.5, 4.0)])
def test_slerp_turns_at_a_constant_speed_and_keeps_the_length(lengths):
    first = F.normalize(torch.randn(3, 4, 6).double(), dim=-1) * lengths[0]
    last = F.normalize(torch.randn(3, 4, 6).double(), dim=-1) * lengths[1]
    # acos of a number known to 1e-16, away from 1.
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(slerp(first, last, 0.0), first, **close)
    torch.testing.assert_close(slerp(first, last, 1.0), last, **close)
    whole = torch.cosine_similarity(first, last, dim=-1).acos()
    for share in (0.2, 0.5, 0.9):
        between = slerp(first, last, share)
        turned = torch.cosine_similarity(first, between, dim=-1).acos()
        left = torch.cosine_similarity(between, last, dim=-1).acos()
        torch.testing.assert_close(turned, share * whole, **close)
        torch.testing.assert_close(left, (1 - share) * whole, **close)
        length = (1 - share) * lengths[0] + share * lengths[1]
        torch.testing.assert_close(between.norm(dim=-1), torch.full((3, 4), length).double())


def test_where_no_circle_is_greatest_tokens_are_mixed_in_a_straight_line():
    first = vectors([1.0, 0.0], [1.0, 0.0], [0.0, 0.0])
    last = vectors([3.0, 0.0], [-3.0, 0.0], [0.0, 0.0])
    expected = vectors([1.5, 0.0], [0.0, 0.0], [0.0, 0.0])
    torch.testing.assert_close(slerp(first, last, 0.25), expected)
    # Between nothing and something there is less of something.
    torch.testing.assert_close(
        slerp(vectors([0.0, 0.0]), vectors([0.0, 2.0]), 0.5).norm(dim=-1), vectors([2**0.5 / 2])[0]
    )


def test_after_a_pass_what_looked_at_the_canvas_looks_at_all_of_it():
    image = torch.randn(2, 3, 6, 9).double()
    context = CanvasContext(encode=colours, grown_guide=True, scale=(2, 3)).after(image)
    whole = torch.ones(1, 1, 6, 9, dtype=torch.bool)
    assert torch.equal(context.tokens, colours(image, whole))
    torch.testing.assert_close(context.plan, F.avg_pool2d(image, (2, 3)))
    assert (context.encode, context.grown_guide) == (None, False)
    fixed = CanvasContext(tokens=torch.zeros(1, 1, 3))
    assert fixed.after(image) == fixed


def test_contexts_of_some_samples_are_chosen():
    rows = torch.arange(3.0).view(3, 1, 1)
    context = CanvasContext(tokens=rows, ends=rows[:1], plan=rows[..., None], scale=(1, 1))
    chosen = context[torch.tensor([2, 0])]
    assert chosen.tokens.flatten().tolist() == chosen.plan.flatten().tolist() == [2.0, 0.0]
    assert chosen.ends.flatten().tolist() == [0.0]
    assert conditions_at(None, [], CHAIN, seen_of(CHAIN), torch.zeros(1, 1, 1, 1).bool()) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokens": torch.zeros(1, 1, 2), "encode": colours}, "not both"),
        ({"ends": torch.zeros(1, 1, 2)}, "ends must be tokens of the same shape"),
        (
            {"tokens": torch.zeros(1, 1, 2), "ends": torch.zeros(1, 2, 2)},
            "ends must be tokens of the same shape",
        ),
        (
            {"plan": torch.zeros(1, 3, 2, 2), "grown_guide": True, "scale": (2, 2)},
            "a guide is a plan or what is seen of the canvas: not both",
        ),
        ({"plan": torch.zeros(1, 3, 2, 2)}, "a guide needs the scale of a plan's cells"),
        ({"grown_guide": True}, "a guide needs the scale of a plan's cells"),
    ],
)
def test_contexts_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CanvasContext(**settings)


@every_strategy
def test_what_does_not_go_with_the_canvas_is_refused(name):
    def generate(canvas: Canvas, **settings) -> None:
        built(name).generate(Guide(), canvas, noise(), context=CanvasContext(**settings))

    tokens = torch.zeros(2, 1, 3)
    with pytest.raises(ValueError, match="tokens must be given once or for each of 3 samples"):
        generate(CHAIN, tokens=tokens)
    with pytest.raises(ValueError, match="plan must be given once or for each of 3 samples, got 2"):
        generate(CHAIN, plan=torch.zeros(2, 3, 8, 30), scale=(1, 1))
    with pytest.raises(ValueError, match="wraps along its width has no two ends"):
        generate(LOOP, tokens=tokens[:1], ends=tokens[:1])
    with pytest.raises(ValueError, match="a plan must cover the canvas of 8 x 30 px"):
        generate(CHAIN, plan=torch.zeros(1, 3, 2, 7), scale=(4, 4))
