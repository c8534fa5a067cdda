import dataclasses
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denoisers.contract import Image, Sigma
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.base import Strategy
from strategies.canvas import Canvas, Known, WindowEdges
from strategies.catalogue import names, strategy_class
from strategies.collage import Collage, Weighted, total_weight
from strategies.conditioning import replaced
from strategies.diffcollage import DiffCollage
from strategies.direct import Direct
from strategies.multidiffusion import MultiDiffusion
from strategies.naive import Naive
from strategies.parallel import ParallelStrategy
from strategies.windows import Regions, grid, spans
from tests.doubles import Blurred, IndependentPixels, awake

PATCH, MULTIPLE = 8, 2
ALL = [strategy_class(name) for name in names()]
PARALLEL = [strategy for strategy in ALL if issubclass(strategy, ParallelStrategy)]

every_strategy = pytest.mark.parametrize("strategy", ALL, ids=names())
every_parallel_strategy = pytest.mark.parametrize(
    "strategy", PARALLEL, ids=[strategy.__name__ for strategy in PARALLEL]
)

# A busy machine is no failure.
few_examples = settings(max_examples=25, deadline=None)
# From one window to three and a bit: first, last, and some between.
sizes = st.integers(PATCH, 3 * PATCH + 1)
# What every strategy with overlaps takes: multiples of the network's up to half a window.
shared = st.sampled_from(range(MULTIPLE, PATCH // 2 + 1, MULTIPLE))


def independent() -> IndependentPixels:
    return IndependentPixels(PATCH, multiple=MULTIPLE, mean=0.3, std=0.5)


class ContextEverywhere(IndependentPixels):
    """Images that are their context, one colour a sample."""

    def __call__(self, x_t: Image, sigma: Sigma, context=None) -> Image:
        assert len(context) == len(x_t)
        return 0 * x_t + context[:, :, None, None]


def small_unet(dtype: torch.dtype) -> EDMPrecond:
    """A U-Net with attention that has no weight of 0, as if trained."""
    unet = UNet(channels=(8, 8), blocks=(1, 1), head_channels=8, patchify=1, features=8)
    awake(unet, std=0.2)
    assert unet.multiple == MULTIPLE
    return EDMPrecond(unet, patch_size=PATCH).to(dtype)


@pytest.fixture(scope="module")
def network() -> EDMPrecond:
    return small_unet(torch.float64)


def rounding(dtype: torch.dtype) -> dict[str, float]:
    """Tolerances for batches of other sizes, whose sums are added in another order.

    The starting noise of 80 is exact to 80 eps; the network is steep and magnifies that some ten
    times. Another ten is room, and far below what a mix-up of samples or regions does.
    """
    return {"atol": 100 * 80 * torch.finfo(dtype).eps, "rtol": 0}


def built(strategy: type[Strategy], overlap: int | None = None, **options) -> Strategy:
    """A strategy with a short ladder and few visits, and with the overlap if it has one."""
    has = {field.name for field in dataclasses.fields(strategy)}
    if overlap is not None and "overlap" in has:
        options["overlap"] = overlap
    if "jump_n_sample" in has:
        options.setdefault("jump_n_sample", 2)
    return strategy(solver=Heun(num_steps=3), **options)


def level(sigma: float) -> Sigma:
    return torch.full((1, 1, 1, 1), sigma)


def some_known(canvas: Canvas, samples: int) -> Known:
    """The left half of every canvas; what is not known is not a number."""
    y = torch.rand(samples, canvas.channels, canvas.height, canvas.width) - 0.5
    mask = torch.zeros(1, 1, canvas.height, canvas.width, dtype=torch.bool)
    mask[..., : canvas.width // 2] = True
    return Known(y.where(mask, torch.nan), mask)


@every_strategy
@few_examples
@given(height=sizes, width=sizes, overlap=shared)
def test_any_canvas_comes_out_as_large_as_asked(strategy, height, width, overlap):
    canvas = Canvas(height=height, width=width)
    image = built(strategy, overlap).generate(independent(), canvas, CanvasNoise(0, [0, 1]))
    assert image.shape == (2, 3, height, width)
    # Three steps down from 80 leave a standard deviation of about 1 to pixels of 0.5: an
    # uncovered pixel would keep its starting noise of 80 or sit at 0 to the last bit.
    assert image.abs().max() < 10
    assert (image != 0).all()


@pytest.mark.parametrize(
    ("strategy", "width", "expected"),
    [
        (Naive(), 17, 24),
        (Direct(), 17, 18),
        (MultiDiffusion(overlap=3), 17, 18),
        (DiffCollage(), 17, 20),
        (DiffCollage(overlap=2), 17, 20),
        (DiffCollage(overlap=2), 21, 26),
    ],
)
def test_no_more_is_planned_than_the_windows_need(strategy, width, expected):
    canvas = Canvas(height=8, width=width)
    assert strategy.planned(independent(), canvas) == Canvas(height=8, width=expected)


@every_parallel_strategy
@few_examples
@given(height=sizes, width=sizes, overlap=shared)
def test_weights_sum_to_one_on_every_pixel(strategy, height, width, overlap):
    made_by, denoiser = built(strategy, overlap), independent()
    planned = made_by.planned(denoiser, Canvas(height=height, width=width))
    assert height <= planned.height < height + PATCH
    assert width <= planned.width < width + PATCH
    total = total_weight(made_by.groups(denoiser, planned), planned)
    # Sums of a few float64 numbers near 1.
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-14, rtol=0)


@pytest.mark.parametrize("weight", ["uniform", "tapered"])
@few_examples
@given(overlap=st.integers(0, PATCH - 1), height=sizes, width=sizes)
def test_multidiffusion_takes_any_overlap(weight, overlap, height, width):
    strategy, denoiser = MultiDiffusion(overlap=overlap, weight=weight), independent()
    planned = strategy.planned(denoiser, Canvas(height=height, width=width))
    total = total_weight(strategy.groups(denoiser, planned), planned)
    # At most PATCH^2 float64 numbers.
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-13, rtol=0)


def test_tapered_windows_count_less_towards_their_edges():
    strategy, canvas = MultiDiffusion(overlap=4, weight="tapered"), Canvas(height=8, width=12)
    (group,) = strategy.groups(independent(), canvas)
    # Two windows of tapers 1 3 5 7 7 5 3 1, the second 4 px further on.
    first = [1, 1, 1, 1, 7 / 8, 5 / 8, 3 / 8, 1 / 8]
    expected = torch.tensor([first, first[::-1]], dtype=torch.float64)
    for row in range(8):
        torch.testing.assert_close(group.weight[:, 0, 0, row], expected)


@pytest.mark.parametrize(
    "groups",
    [
        [Weighted(Regions(8, 8, ((0, 0), (0, 8))), 1.0)],  # four columns uncovered
        [Weighted(grid(spans(8, 8, 4), spans(20, 8, 4)), 1.0)],  # overlaps summed
        [Weighted(grid(spans(8, 8, 4), spans(20, 8, 4)), 0.5)],  # ends halved
    ],
)
def test_weights_that_do_not_sum_to_one_are_our_mistake(groups):
    with pytest.raises(AssertionError, match="weights must sum to 1"):
        Collage(independent(), groups, Canvas(height=8, width=20))


@every_parallel_strategy
@pytest.mark.parametrize("overlap", [2, 4])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 20), (8, 56), (20, 8), (20, 32)])
def test_independent_pixels_are_denoised_as_if_there_were_no_windows(
    strategy, overlap, height, width
):
    denoiser, made_by = independent(), built(strategy, overlap)
    planned = made_by.planned(denoiser, Canvas(height=height, width=width))
    canvas = made_by.canvas_denoiser(denoiser, planned)
    x_t = torch.randn(2, 3, planned.height, planned.width)
    for sigma in (0.0, 0.01, 1.0, 80.0):
        torch.testing.assert_close(canvas(x_t, level(sigma)), denoiser(x_t, level(sigma)))


@every_parallel_strategy
@pytest.mark.parametrize(
    "shape", [(2, 1, 24, 32), (1, 1, 24, 32), (2, 1, 1, 1), (1, 1, 1, 32), (2, 1, 24, 1)]
)
def test_a_map_of_levels_is_cut_like_the_canvas(strategy, shape):
    denoiser, x_t, sigma = independent(), torch.randn(2, 3, 24, 32), 3 * torch.rand(shape)
    canvas = built(strategy).canvas_denoiser(denoiser, Canvas(height=24, width=32))
    torch.testing.assert_close(canvas(x_t, sigma), denoiser(x_t, sigma))


@every_parallel_strategy
@pytest.mark.parametrize("max_batch", [None, 2])
def test_a_map_of_one_level_is_that_level(strategy, max_batch):
    x_t = torch.randn(3, 3, 16, 24)
    canvas = built(strategy, max_batch=max_batch).canvas_denoiser(
        Blurred(), Canvas(height=16, width=24)
    )
    once = canvas(x_t, level(0.7))
    for batch in (1, 3):
        torch.testing.assert_close(canvas(x_t, torch.full((batch, 1, 16, 24), 0.7)), once)


@every_parallel_strategy
def test_samples_at_levels_of_their_own_are_what_they_are_alone(strategy, network):
    x_t = torch.randn(3, 3, 8, 24, dtype=torch.float64)
    sigma = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64).view(3, 1, 1, 1)
    canvas = built(strategy, max_batch=2).canvas_denoiser(network, Canvas(height=8, width=24))
    with torch.no_grad():
        together = canvas(x_t, sigma)
        alone = [canvas(x_t[k : k + 1], sigma[k : k + 1]) for k in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), **rounding(torch.float64))


@every_parallel_strategy
def test_gradients_flow_through_the_canvas_denoiser(strategy):
    canvas = built(strategy).canvas_denoiser(independent(), Canvas(height=8, width=16))
    x_t = torch.randn(1, 3, 8, 16, dtype=torch.float64, requires_grad=True)
    canvas(x_t, level(0.5).double()).sum().backward()
    # Where sigma is the deviation of the data, half of what comes in goes out.
    torch.testing.assert_close(x_t.grad, torch.full_like(x_t, 0.5))


@every_parallel_strategy
def test_the_canvas_denoiser_runs_where_the_image_is(strategy):
    # A device without data: weights left on the CPU would be refused as they are on a GPU.
    canvas = built(strategy).canvas_denoiser(independent(), Canvas(height=8, width=16))
    image = torch.empty(1, 3, 8, 16, device="meta", dtype=torch.float16)
    estimate = canvas(image, torch.empty(1, 1, 1, 1, device="meta", dtype=torch.float16))
    assert (estimate.device, estimate.dtype) == (image.device, image.dtype)


@every_strategy
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_is_the_same_image_in_any_company(strategy, dtype):
    canvas, made_by, network = Canvas(height=8, width=20), built(strategy), small_unet(dtype)
    together = made_by.generate(network, canvas, CanvasNoise(0, range(8), dtype=dtype))
    assert together.dtype == dtype
    for index in (0, 5):
        alone = made_by.generate(network, canvas, CanvasNoise(0, [index], dtype=dtype))
        torch.testing.assert_close(together[[index]], alone, **rounding(dtype))
    assert (together[0] - together[5]).abs().mean() > 0.1


@every_strategy
def test_a_run_is_repeated_to_the_last_bit(strategy):
    canvas, made_by, network = (
        Canvas(height=12, width=20),
        built(strategy),
        small_unet(torch.float32),
    )
    first, second, other = (
        made_by.generate(network, canvas, CanvasNoise(seed, [0, 4])) for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert (first - other).abs().mean() > 0.1


@every_strategy
def test_max_batch_changes_the_calls_and_not_the_image(strategy, network):
    canvas, noise = Canvas(height=12, width=20), CanvasNoise(0, [0, 1], dtype=torch.float64)
    whole, split = (
        built(strategy, max_batch=max_batch).generate(network, canvas, noise)
        for max_batch in (None, 3)
    )
    torch.testing.assert_close(split, whole, **rounding(torch.float64))


@every_strategy
def test_no_call_is_larger_than_max_batch(strategy):
    denoiser, canvas = independent(), Canvas(height=12, width=20)
    built(strategy, max_batch=3).generate(denoiser, canvas, CanvasNoise(0, [0, 1]))
    assert max(batch for batch, _, _ in denoiser.calls) <= 3


@every_strategy
def test_no_graph_is_kept_of_a_network_that_could_be_trained(strategy, network):
    assert any(parameter.requires_grad for parameter in network.parameters())
    canvas = Canvas(height=8, width=16)
    assert (
        not built(strategy)
        .generate(network, canvas, CanvasNoise(0, [0], dtype=torch.float64))
        .requires_grad
    )


@every_strategy
def test_every_window_of_a_sample_has_that_samples_context(strategy):
    context = torch.tensor([[0.1, 0.2, 0.3], [-0.4, -0.5, -0.6], [0.7, 0.8, 0.9]])
    canvas, noise = Canvas(height=12, width=20), CanvasNoise(0, range(3))
    for max_batch in (None, 2):
        image = built(strategy, max_batch=max_batch).generate(
            ContextEverywhere(), canvas, noise, context=context
        )
        # The last estimate is the image; float32 weights add up to 1.
        torch.testing.assert_close(image, context[:, :, None, None].expand_as(image))


@pytest.mark.parametrize(
    ("strategy", "height", "width", "expected"),
    [
        (Naive(), 8, 24, [(6, 8, 8)]),
        (Naive(), 16, 24, [(12, 8, 8)]),
        (Direct(), 8, 24, [(2, 8, 24)]),
        (Direct(), 16, 48, [(2, 16, 48)]),
        (MultiDiffusion(), 8, 24, [(10, 8, 8)]),
        (MultiDiffusion(), 16, 24, [(30, 8, 8)]),
        # Half-patches along each axis that the canvas grows along, whatever its size.
        (DiffCollage(), 8, 8, [(2, 8, 8)]),
        (DiffCollage(), 8, 24, [(10, 8, 8), (8, 8, 4)]),
        (DiffCollage(), 8, 248, [(122, 8, 8), (120, 8, 4)]),
        (DiffCollage(), 24, 8, [(10, 8, 8), (8, 4, 8)]),
        (DiffCollage(), 16, 24, [(30, 8, 8), (24, 8, 4), (20, 4, 8), (16, 4, 4)]),
        (DiffCollage(window=12), 12, 24, [(6, 12, 12), (4, 12, 6)]),
        # Only `max_batch` asks for more calls.
        (Naive(max_batch=4), 8, 24, [(4, 8, 8), (2, 8, 8)]),
        (DiffCollage(max_batch=8), 8, 24, [(8, 8, 8), (2, 8, 8), (8, 8, 4)]),
    ],
)
def test_network_calls_of_an_evaluation(strategy, height, width, expected):
    denoiser = independent()
    canvas = strategy.canvas_denoiser(denoiser, Canvas(height=height, width=width))
    canvas(torch.randn(2, 3, height, width), level(1.0))
    assert denoiser.calls == expected


@every_parallel_strategy
def test_there_is_one_solver_and_it_runs_on_the_canvas(strategy):
    denoiser, solver = independent(), Heun(num_steps=5)
    canvas = Canvas(height=8, width=24)
    made_by = strategy(solver=solver)
    made_by.canvas_denoiser(denoiser, Canvas(height=8, width=24))(
        torch.randn(1, 3, 8, 24), level(1.0)
    )
    once = len(denoiser.calls)
    made_by.generate(denoiser, canvas, CanvasNoise(0, [0]))
    assert len(denoiser.calls) - once == (2 * 5 - 1) * once


@every_strategy
@few_examples
@given(height=sizes, width=sizes)
def test_known_pixels_come_back_bit_by_bit(strategy, height, width):
    canvas = Canvas(height=height, width=width)
    known = some_known(canvas, samples=2)
    image = built(strategy).generate(independent(), canvas, CanvasNoise(0, [0, 1]), known=known)
    mask = known.mask.expand_as(image)
    assert torch.equal(image[mask], known.y[mask])
    # What `y` holds elsewhere is never read, be it no number at all.
    assert image.isfinite().all()


class Inexact(Heun):
    """A solver that ends a little off its last estimate, as most do but ours."""

    def __call__(self, denoiser, eps, noise):
        return super().__call__(denoiser, eps, noise) + 1e-3


@every_strategy
def test_known_pixels_come_back_bit_by_bit_whatever_the_solver_leaves(strategy):
    canvas = Canvas(height=8, width=18)
    known = some_known(canvas, samples=1)
    made_by = strategy(solver=Inexact(num_steps=3))
    image = made_by.generate(independent(), canvas, CanvasNoise(0, [0]), known=known)
    assert torch.equal(image[..., :9], known.y[..., :9])


@every_strategy
def test_nothing_known_is_as_if_nothing_were_given(strategy):
    # 24 or 20 px are planned for 18: what is added must be no more known than the rest.
    canvas, noise = Canvas(height=8, width=18), CanvasNoise(0, [0])
    nothing = Known(torch.zeros(1, 3, 8, 18), torch.zeros(1, 1, 8, 18, dtype=torch.bool))
    images = [built(strategy).generate(Blurred(), canvas, noise, known=k) for k in (None, nothing)]
    assert torch.equal(*images)


@every_strategy
def test_one_known_canvas_serves_all_samples(strategy):
    canvas = Canvas(height=8, width=20)
    known = some_known(canvas, samples=1)
    noise = CanvasNoise(0, [0, 1])
    image = built(strategy).generate(independent(), canvas, noise, known=known)
    assert torch.equal(image[..., :10], known.y[..., :10].expand(2, -1, -1, -1))
    assert (image[0, ..., 10:] != image[1, ..., 10:]).all()


@every_strategy
def test_unknown_pixels_are_made_to_go_with_the_known_ones(strategy, network):
    canvas, noise = Canvas(height=8, width=20), CanvasNoise(0, [0], dtype=torch.float64)
    mask = torch.zeros(1, 1, 8, 20, dtype=torch.bool)
    mask[..., :4] = True
    bright, dark = (
        built(strategy).generate(
            network, canvas, noise, known=Known(torch.full((1, 3, 8, 20), y).double(), mask)
        )
        for y in (0.9, -0.9)
    )
    assert (bright[..., 4:8] - dark[..., 4:8]).abs().mean() > 1e-3
    assert (bright[..., 4:] != 0.9).all()


def test_replacement_overwrites_the_estimate_where_it_is_known_and_nowhere_else():
    denoiser, x_t = ContextEverywhere(), torch.randn(2, 3, 8, 8)
    known = some_known(Canvas(height=8, width=8), samples=2)
    context = torch.randn(2, 3)
    estimate = replaced(denoiser, known)(x_t, level(1.0), context)
    assert torch.equal(estimate[..., :4], known.y[..., :4])
    assert torch.equal(estimate[..., 4:], denoiser(x_t, level(1.0), context)[..., 4:])


def test_replacements_stack():
    inner, outer = (torch.zeros(1, 1, 8, 8, dtype=torch.bool) for _ in range(2))
    inner[..., :4], outer[..., 3:5] = True, True
    ones, twos = torch.ones(1, 3, 8, 8), torch.full((1, 3, 8, 8), 2.0)
    stacked = replaced(replaced(Blurred(), Known(ones, inner)), Known(twos, outer))
    estimate = stacked(torch.zeros(1, 3, 8, 8), level(1.0))
    assert estimate[0, 0, 0, :5].tolist() == [1, 1, 1, 2, 2]


CANVAS = Canvas(height=8, width=20)


@every_strategy
@pytest.mark.parametrize(("height", "width", "short"), [(7, 20, 7), (20, 6, 6), (1, 1, 1)])
def test_a_canvas_smaller_than_a_window_is_refused(strategy, height, width, short):
    denoiser, canvas = independent(), Canvas(height=height, width=width)
    with pytest.raises(ValueError, match=rf"8 px .* got .*\b{short}\b"):
        built(strategy).generate(denoiser, canvas, CanvasNoise(0, [0]))
    assert not denoiser.calls


@every_strategy
def test_windows_that_the_network_cannot_take_are_refused(strategy):
    denoiser = independent()
    with pytest.raises(ValueError, match="2 px, got 7"):
        built(strategy, window=7).generate(denoiser, CANVAS, CanvasNoise(0, [0]))
    assert not denoiser.calls


@every_strategy
def test_other_channels_than_the_denoisers_are_refused(strategy):
    denoiser, grey = independent(), Canvas(height=8, width=20, channels=1)
    with pytest.raises(ValueError, match="3 channels, got 1"):
        built(strategy).generate(denoiser, grey, CanvasNoise(0, [0]))
    assert not denoiser.calls


@every_strategy
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 8, 24), r"\(3, 8, 20\), got y of \(3, 8, 24\) and a mask of \(1, 8, 24\)"),
        ((1, 3, 4, 20), r"\(3, 8, 20\), got y of \(3, 4, 20\)"),
        ((1, 1, 8, 20), r"\(3, 8, 20\), got y of \(1, 8, 20\)"),
        ((3, 3, 8, 20), "2 samples, got 3"),
    ],
)
def test_known_pixels_of_another_canvas_are_refused(strategy, shape, message):
    denoiser = independent()
    mask = torch.ones(1, 1, *shape[-2:], dtype=torch.bool)
    with pytest.raises(ValueError, match=message):
        built(strategy).generate(
            denoiser, CANVAS, CanvasNoise(0, [0, 1]), known=Known(torch.zeros(shape), mask)
        )
    assert not denoiser.calls


@every_strategy
@pytest.mark.parametrize("name", ["window", "max_batch"])
def test_nothing_is_less_than_one(strategy, name):
    with pytest.raises(ValueError, match=f"{name} .* got 0"):
        built(strategy, **{name: 0})


@pytest.mark.parametrize("overlap", [-2, 0, 1, 3, 6, 8])
def test_diffcollage_refuses_overlaps_that_are_no_variables(overlap):
    needed = "multiple of 2" if overlap in (1, 3) else "window / 2"
    with pytest.raises(ValueError, match=f"overlap .*{needed}.* got {overlap}"):
        DiffCollage(overlap=overlap).generate(independent(), CANVAS, CanvasNoise(0, [0]))


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_multidiffusion_refuses_overlaps_that_leave_no_stride(overlap):
    with pytest.raises(ValueError, match=f"window.* got {overlap}"):
        MultiDiffusion(overlap=overlap).generate(independent(), CANVAS, CanvasNoise(0, [0]))


def test_multidiffusion_refuses_unknown_weights():
    strategy = MultiDiffusion()
    # The constructor's own annotation would refuse it first, but under pytest alone.
    object.__setattr__(strategy, "weight", "gaussian")
    with pytest.raises(ValueError, match=r"weight .* 'gaussian'"):
        strategy.__post_init__()


@pytest.mark.parametrize("size", [(0, 8, 3), (8, -1, 3), (8, 8, 0)])
def test_an_empty_canvas_is_refused(size):
    height, width, channels = size
    with pytest.raises(ValueError, match=f"at least 1, got {height}, {width} and {channels}"):
        Canvas(height=height, width=width, channels=channels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mine(Naive):
    """A strategy of a user's own."""


class Unfinished(ParallelStrategy):
    """A strategy without its rule."""


def test_the_catalogue_is_the_folder():
    assert {"naive", "direct", "multidiffusion", "diffcollage"} <= set(names())
    assert not {"base", "canvas", "catalogue", "collage", "windows"} & set(names())
    assert strategy_class("diffcollage") is DiffCollage


def test_every_strategy_of_the_catalogue_is_alone_in_its_file():
    assert len(set(ALL)) == len(ALL)
    assert [strategy.__module__ for strategy in ALL] == [f"strategies.{name}" for name in names()]


@every_strategy
def test_a_strategy_needs_no_options_and_cannot_be_changed(strategy):
    made_by = strategy()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made_by.window = 16


def test_a_strategy_of_the_users_own_is_named_by_its_path():
    assert strategy_class(f"{__name__}.Mine") is Mine


@pytest.mark.parametrize(
    ("name", "nearest"), [("difcollage", "diffcollage"), ("multi_diffusion", "multidiffusion")]
)
def test_an_unknown_name_is_refused_with_the_nearest(name, nearest):
    with pytest.raises(
        ValueError, match=rf"one of .*naive.*, got '{name}'; did you mean '{nearest}'\?"
    ):
        strategy_class(name)


def test_a_name_like_no_other_is_refused_without_a_guess():
    with pytest.raises(ValueError, match=r"strategy must be one of .*, got 'zzz'\.$"):
        strategy_class("zzz")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module.Mine", "cannot be imported: No module named 'no_such_module'"),
        (f"{__name__}.Missing", "cannot be imported: .*has no attribute 'Missing'"),
        (".Mine", "cannot be imported"),
        ("..strategies.Mine", "cannot be imported"),
        ("torch.nn.Conv2d", r"must be a class derived from strategies\.base\.Strategy"),
        ("math.pi", r"must be a class derived from strategies\.base\.Strategy"),
        (f"{__name__}.Unfinished", "must not be abstract: it lacks groups, overlap_of"),
        ("strategies.base.Strategy", "must not be abstract: it lacks generate, overlap_of"),
    ],
)
def test_a_path_to_no_strategy_is_refused(path, message):
    with pytest.raises(ValueError, match=rf"strategy '{re.escape(path)}' {message}"):
        strategy_class(path)


@pytest.mark.parametrize(
    ("strategy", "height", "width", "rows", "columns"),
    [
        (Naive(), 8, 24, (), (8, 16)),
        (Naive(), 8, 17, (), (8, 16)),
        (Naive(), 20, 16, (8, 16), (8,)),
        (Direct(), 8, 20, (), (8, 16)),  # it has none: these are for comparison
        (MultiDiffusion(overlap=2), 8, 20, (), (6, 8, 12, 14)),
        (DiffCollage(overlap=4), 8, 20, (), (4, 8, 12, 16)),
        (DiffCollage(overlap=4), 8, 17, (), (4, 8, 12, 16)),
        (DiffCollage(overlap=2), 8, 20, (), (6, 8, 12, 14)),
        # The last window, 12 to 20, begins inside the canvas and ends outside.
        (DiffCollage(overlap=2), 8, 15, (), (6, 8, 12, 14)),
        (DiffCollage(overlap=2), 15, 12, (6, 8, 12, 14), (6, 8)),
        (DiffCollage(window=12), 12, 24, (), (6, 12, 18)),
    ],
)
def test_borders_are_where_windows_begin_and_end(strategy, height, width, rows, columns):
    edges = strategy.window_edges(independent(), Canvas(height=height, width=width))
    assert edges == WindowEdges(rows, columns)


@every_strategy
@few_examples
@given(height=sizes, width=sizes, overlap=shared)
def test_borders_lie_inside_the_canvas_in_order(strategy, height, width, overlap):
    canvas = Canvas(height=height, width=width)
    edges = built(strategy, overlap).window_edges(independent(), canvas)
    for places, length in ((edges.rows, height), (edges.columns, width)):
        assert list(places) == sorted(set(places))
        assert all(0 < place < length for place in places)
        assert bool(places) == (length > PATCH)
