"""A plan first and the canvas after it, and passes over what is done."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from denoisers.conditions import Conditions
from sampling.noise import CanvasNoise
from sampling.solvers import Euler
from strategies.canvas import Canvas, Known
from strategies.context import CanvasContext
from strategies.diffcollage import DiffCollage
from strategies.lshape_repaint import LShapeRepaint
from strategies.naive import Naive
from strategies.planning import plan_canvas, planned_context, refined

SOLVER = Euler(num_steps=2, sigma_min=0.5)


class Planner:
    """In plan mode it makes what its noise and tokens say, in detail mode what its guide says."""

    patch_size, multiple, channels, takes_noise_maps = 8, 2, 3, True
    takes = frozenset({"plan", "guide", "tokens"})

    def __init__(self) -> None:
        self.heard: list[Conditions] = []

    def __call__(self, x_t: Tensor, sigma: Tensor, context: Any = None) -> Tensor:
        self.heard.append(context)
        tokens = 0.0 if context.tokens is None else context.tokens[:, :1, :1, None]
        if context.plan.all():
            return x_t / (1 + sigma.square()) + tokens
        assert not context.plan.any()
        return (context.guide * context.guided).to(x_t) + 0.0 * x_t


def noise(*indices: int, seed: int = 7) -> CanvasNoise:
    return CanvasNoise(seed, indices or (0, 1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("canvas", "scale", "size"),
    [
        (Canvas(height=32, width=192), (4, 4), (8, 48)),
        (Canvas(height=32, width=190), (4, 4), (8, 48)),
        (Canvas(height=33, width=193), (4, 4), (9, 49)),
        (Canvas(height=16, width=30), (4, 2), (8, 15)),  # a window at least
        (Canvas(height=32, width=192, wrap_width=True), (4, 4), (8, 48)),
    ],
)
def test_a_plan_has_as_many_cells_as_cover_the_canvas(canvas, scale, size):
    plan = plan_canvas(canvas, scale, (8, 8))
    assert (plan.height, plan.width) == size
    assert (plan.wrap_height, plan.wrap_width) == (canvas.wrap_height, canvas.wrap_width)
    assert plan.channels == canvas.channels


@pytest.mark.parametrize(
    ("canvas", "message"),
    [
        (
            Canvas(height=32, width=190, wrap_width=True),
            "the width of a canvas that wraps must be a multiple of 4 px, and at least 32 px, .* "
            "got 190 px",
        ),
        (
            Canvas(height=16, width=64, wrap_height=True),
            "the height of a canvas that wraps must be a multiple of 4 px, and at least 32 px, .* "
            "got 16 px",
        ),
    ],
)
def test_a_loop_that_is_no_number_of_cells_is_refused(canvas, message):
    with pytest.raises(ValueError, match=message):
        plan_canvas(canvas, (4, 4), (8, 8))


@pytest.mark.parametrize("strategy", [DiffCollage, LShapeRepaint, Naive])
def test_a_canvas_follows_the_plan_that_the_same_strategy_made(strategy):
    own = (
        strategy(solver=SOLVER)
        if strategy is not LShapeRepaint
        else strategy(solver=SOLVER, jump_n_sample=1)
    )
    canvas, scale = Canvas(height=16, width=64), (2, 4)
    tokens = torch.tensor([0.1, -0.4]).view(2, 1, 1).double()
    planner = Planner()
    context = planned_context(
        own, planner, canvas, noise(), CanvasContext(tokens=tokens), scale=scale
    )
    assert all(told.plan.all() and told.guide is None for told in planner.heard)
    # Places of a plan are those of the canvas, whole.
    places = torch.cat([told.place for told in planner.heard])
    assert places.amin().item() == -1
    assert places.amax().item() == 1
    assert (context.plan.shape, context.scale) == ((2, 3, 8, 16), scale)
    assert not context.is_plan
    made = own.generate(planner, canvas, noise(), context=context)
    expected = F.interpolate(context.plan, scale_factor=scale, mode="bilinear")
    # Weighted sums of the same numbers, in float64.
    torch.testing.assert_close(made, expected, rtol=0.0, atol=1e-9)
    alone = planned_context(
        own, planner, canvas, noise(1), CanvasContext(tokens=tokens[1:]), scale=scale
    )
    torch.testing.assert_close(alone.plan, context.plan[1:], rtol=0.0, atol=1e-9)


def test_a_plan_has_noise_of_its_own():
    canvas, starts = Canvas(height=32, width=32), []

    class Spy(Planner):
        def __call__(self, x_t: Tensor, sigma: Tensor, context: Any = None) -> Tensor:
            starts.append(x_t / 80.0)
            return super().__call__(x_t, sigma, context)

    strategy, spy = Naive(solver=SOLVER), Spy()
    for seed in (7, 8):
        context = planned_context(
            strategy, spy, canvas, noise(seed=seed), CanvasContext(), scale=(4, 4)
        )
    strategy.generate(
        spy,
        Canvas(height=8, width=8),
        noise(),
        context=CanvasContext(plan=context.plan, scale=(4, 4)),
    )
    first, _, other, _, detail, _ = starts
    # 192 numbers of two samples: a correlation of 0 with a standard error of 0.05.
    for one, two in ((first, other), (first, detail), (other, detail)):
        assert torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1].abs() < 0.25
    again = planned_context(strategy, spy, canvas, noise(seed=8), CanvasContext(), scale=(4, 4))
    assert torch.equal(again.plan, context.plan)


def test_what_cannot_be_planned_is_refused():
    canvas, planner = Canvas(height=32, width=64), Planner()

    def plan(denoiser: Any = planner, **settings) -> None:
        context = CanvasContext(**settings)
        planned_context(Naive(), denoiser, canvas, noise(), context, scale=(4, 4))

    class Plain(Planner):
        takes = frozenset({"guide", "tokens"})

    with pytest.raises(ValueError, match="was not trained to make plans: take one trained with"):
        plan(Plain())
    for settings in ({"encode": lambda *_: None}, {"grown_guide": True, "scale": (2, 2)}):
        with pytest.raises(ValueError, match="made before there is a canvas to be seen"):
            plan(**settings)


class Growing:
    """Adds the token and a quarter of the guide to what is known of the pixels around."""

    patch_size, multiple, channels, takes_noise_maps = 8, 2, 3, True

    def __init__(self) -> None:
        self.heard: list[Conditions] = []

    def __call__(self, x_t: Tensor, sigma: Tensor, context: Any = None) -> Tensor:
        self.heard.append(context)
        made = F.avg_pool2d(x_t / (1 + sigma.square()), 3, stride=1, padding=1)
        if context.tokens is not None:
            made = made + 0.3 * context.tokens[:, 0].view(-1, 3, 1, 1)
        if context.guide is not None:
            made = made + 0.25 * context.guide * context.guided
        return made


def mean_colour(image: Tensor, mask: Tensor) -> Tensor:
    weight = mask.expand(len(image), 1, -1, -1).double()
    total = image.where(mask, 0.0).sum((2, 3)) / weight.sum((2, 3)).clamp(min=1)
    return total[:, None]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    "strategy", [LShapeRepaint(solver=SOLVER, jump_n_sample=1), DiffCollage(solver=SOLVER)]
)
def test_each_pass_is_told_of_the_canvas_of_the_pass_before(strategy, known):
    canvas = Canvas(height=8, width=20)
    mask = torch.zeros(1, 1, 8, 20, dtype=torch.bool)
    mask[..., :4, 8:12] = True
    given = Known(torch.rand(2, 3, 8, 20).double(), mask) if known else None
    context = CanvasContext(encode=mean_colour, grown_guide=True, scale=(2, 2))
    options = {"known": given, "context": context}
    image = strategy.generate(Growing(), canvas, noise(), **options)
    for passes in (1, 2, 3):
        if passes > 1:
            plan = F.avg_pool2d(image, 2)
            fixed = CanvasContext(tokens=image.mean((2, 3))[:, None], plan=plan, scale=(2, 2))
            image = strategy.generate(Growing(), canvas, noise(), known=given, context=fixed)
        made = refined(strategy, Growing(), canvas, noise(), passes=passes, **options)
        # A mean of the same numbers, in another order.
        torch.testing.assert_close(made, image, rtol=0.0, atol=1e-10)
        if known:
            assert torch.equal(made.where(mask, 0.0), given.y.where(mask, 0.0))


def test_passes_that_would_change_nothing_are_refused():
    arguments = Naive(), Planner(), Canvas(height=8, width=8), noise()
    with pytest.raises(ValueError, match="passes must be at least 1, got 0"):
        refined(*arguments, context=CanvasContext(), passes=0)
    fixed = CanvasContext(tokens=torch.zeros(1, 1, 3))
    with pytest.raises(ValueError, match="another pass would be told what the first one was"):
        refined(*arguments, context=fixed, passes=2)
