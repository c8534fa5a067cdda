"""Cost follows the hole: windows of which all is given are not evaluated; canvases are the same."""

import dataclasses

import pytest
import torch
from torch import nn

from denoisers.contract import Image
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from patchcanvas.accounting import NFECounter
from patchcanvas.budget import spent_on
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies import parallel
from strategies.canvas import Canvas, Known
from strategies.catalogue import names, strategy_class
from strategies.context import CanvasContext
from strategies.diffcollage import DiffCollage
from strategies.direct import Direct
from strategies.latent import Decoding, on_latents
from strategies.multidiffusion import MultiDiffusion
from strategies.naive import Naive
from strategies.parallel import ParallelStrategy
from tests.test_latent import Blocks, IndependentLatents, Seeing

SOLVER = Heun(num_steps=3, churn=1.0)
PATCH = 8
Hole = tuple[int, int, int, int]  # top, left, height, width
ALL = [strategy_class(name) for name in names()]
PARALLEL = [strategy for strategy in ALL if issubclass(strategy, ParallelStrategy)]


class Neighbours:
    """Every pixel follows its neighbours; elementwise, so that no window depends on its batch.

    It writes down which pixels of every window are said to be known.
    """

    patch_size, multiple, channels, takes_noise_maps = PATCH, 2, 3, True
    takes = frozenset({"known", "place"})

    def __init__(self) -> None:
        self.known: list[torch.Tensor] = []

    def __call__(self, x_t: Image, sigma: torch.Tensor, context=None) -> Image:
        near = sum(x_t.roll(shift, axis) for shift in (-1, 1) for axis in (-2, -1))
        x0_hat = 0.1 + (x_t + 0.2 * near) / (1 + sigma**2)
        if isinstance(context, torch.Tensor):
            x0_hat = x0_hat + context.view(-1, 1, 1, 1)
        elif context is not None:
            self.known.append(context.known)
            x0_hat = x0_hat + 0.1 * context.place.sum(1).view(-1, 1, 1, 1)
        return torch.where(sigma > 0, x0_hat, x_t)


def given(canvas: Canvas, *samples: list[Hole]) -> Known:
    """Everything but the holes, one list of them for each sample or one for all."""
    mask = torch.ones(len(samples), 1, canvas.height, canvas.width, dtype=torch.bool)
    for sample, holes in enumerate(samples):
        for top, left, height, width in holes:
            mask[sample, :, top : top + height, left : left + width] = False
    y = torch.randn(len(samples), canvas.channels, canvas.height, canvas.width)
    return Known(y.where(mask, 0.0), mask)


PLAIN, SURPLUS = Canvas(height=40, width=40), Canvas(height=41, width=42)
LOOP = Canvas(height=24, width=40, wrap_width=True)
SURPLUS_LOOP = Canvas(height=26, width=40, wrap_width=True)
TORUS = Canvas(height=40, width=40, wrap_height=True, wrap_width=True)
CASES = [
    pytest.param(PLAIN, ([(17, 18, 3, 3)],), id="in the middle"),
    pytest.param(PLAIN, ([(0, 30, 5, 10)],), id="at the edge"),
    pytest.param(PLAIN, ([(2, 2, 1, 1), (30, 25, 2, 9)],), id="two holes"),
    pytest.param(PLAIN, ([(1, 1, 2, 2)], [(33, 30, 4, 4)]), id="another hole a sample"),
    pytest.param(PLAIN, ([(17, 18, 3, 3)], []), id="nothing to make of one sample"),
    pytest.param(PLAIN, ([],), id="nothing to make"),
    pytest.param(SURPLUS, ([(4, 5, 3, 3)],), id="planned larger, far from its edge"),
    pytest.param(SURPLUS, ([(4, 36, 3, 6)],), id="planned larger, at its edge"),
    pytest.param(LOOP, ([(10, 0, 2, 2), (10, 38, 2, 2)],), id="across the closing line"),
    pytest.param(SURPLUS_LOOP, ([(22, 38, 4, 2)],), id="planned larger, where a loop closes"),
    pytest.param(TORUS, ([(39, 39, 1, 1)],), id="torus"),
    pytest.param(PLAIN, ([(0, 0, 40, 20)],), id="half"),
]


def generated(strategy, canvas, known, denoiser=None, **options) -> tuple[Image, NFECounter]:
    denoiser = NFECounter(denoiser or Neighbours())
    image = strategy.generate(denoiser, canvas, CanvasNoise(0, [3, 4]), known=known, **options)
    return image, denoiser


@pytest.fixture
def everything(monkeypatch):
    """Returns what evaluates all windows, as if nothing were given."""

    def evaluate_all(*arguments, **options):
        def all_windows(groups, planned, canvas, known):
            counts = [len(group.regions.corners) for group in groups]
            return [torch.ones(count, 1, dtype=torch.bool) for count in counts]

        with monkeypatch.context() as patched:
            patched.setattr(parallel, "needed_windows", all_windows)
            return generated(*arguments, **options)

    return evaluate_all


@pytest.mark.parametrize(("canvas", "holes"), CASES)
@pytest.mark.parametrize("strategy", ALL, ids=names())
def test_no_window_is_evaluated_of_which_all_is_known(strategy, canvas, holes):
    denoiser, known = Neighbours(), given(canvas, *holes)
    built = strategy(solver=SOLVER)
    image, metered = generated(built, canvas, known, denoiser, context=CanvasContext())
    assert all((told < 1).flatten(1).any(1).all() for told in denoiser.known)
    assert (metered.patches == 0) == (not any(holes))
    assert torch.equal(image.where(known.mask, 0.0), known.y.expand_as(image))


@pytest.mark.parametrize(("canvas", "holes"), CASES)
@pytest.mark.parametrize(
    "strategy",
    [
        Naive(solver=SOLVER),
        Direct(solver=SOLVER),
        MultiDiffusion(solver=SOLVER),
        MultiDiffusion(solver=SOLVER, weight="tapered", max_batch=3),
        DiffCollage(solver=SOLVER),
        DiffCollage(solver=SOLVER, variables="mirrored"),
    ],
    ids=["naive", "direct", "multidiffusion", "tapered in parts", "diffcollage", "mirrored"],
)
@pytest.mark.parametrize("context", [None, torch.tensor([0.5, -0.5]), CanvasContext()])
def test_canvases_are_those_of_all_windows_bit_by_bit(strategy, canvas, holes, context, everything):
    known = given(canvas, *holes)
    image, spent = generated(strategy, canvas, known, context=context)
    expected, in_full = everything(strategy, canvas, known, context=context)
    assert torch.equal(image, expected)
    assert spent.pixels <= in_full.pixels


def test_regions_of_your_own_are_left_out_too(everything):
    regions = tuple((0, left, 16, 16) for left in (0, 10, 20, 24))
    strategy = DiffCollage(solver=SOLVER, regions=regions)
    canvas = Canvas(height=16, width=40)
    known = given(canvas, [(3, 12, 2, 2)])
    image, spent = generated(strategy, canvas, known)
    expected, in_full = everything(strategy, canvas, known)
    assert torch.equal(image, expected)
    # The two windows that hold the hole and what they share, of 4 windows and 3 overlaps or more.
    assert spent.patches == 3 * 2 * (2 * SOLVER.num_steps - 1)
    assert in_full.patches > 2 * spent.patches


@pytest.mark.parametrize("strategy", [MultiDiffusion(solver=SOLVER), DiffCollage(solver=SOLVER)])
def test_a_convolutional_network_rounds_by_the_batch_and_nothing_else_differs(strategy, everything):
    network = EDMPrecond(UNet(channels=(32,), blocks=(1,), attention_levels=0), PATCH).eval()
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.05)
    known = given(PLAIN, [(17, 18, 3, 3)])
    image, _ = generated(strategy, PLAIN, known, network)
    expected, _ = everything(strategy, PLAIN, known, network)
    # float32 rounds by 6e-8 of numbers up to 80, and a convolution sums a few hundred of them in
    # an order that depends on how many images there are.
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("strategy", [s for s in ALL if s is not Direct])
def test_cost_follows_the_hole_whatever_the_canvas(strategy):
    built, costs = strategy(solver=SOLVER), set()
    for side in (48, 64, 96):
        canvas = Canvas(height=side, width=side)
        # At the same place of the lattice, and of the order of windows.
        known = given(canvas, [(side // 2 + 1, side // 2 + 2, 3, 3)])
        costs.add(generated(built, canvas, known)[1].pixels)
    assert len(costs) == 1


@pytest.mark.parametrize("strategy", [MultiDiffusion, DiffCollage])
def test_what_is_planned_beyond_the_canvas_is_made_where_something_depends_on_it(strategy):
    def windows(left: int) -> int:
        known = given(SURPLUS, [(4, left, 3, 2)])
        return generated(strategy(solver=SOLVER), SURPLUS, known)[1].patches

    # Windows begin every 4 px, to 44 px of which 42 are wanted.
    assert windows(5) == windows(13) < windows(37)


@pytest.mark.parametrize("strategy", [MultiDiffusion, DiffCollage, Naive])
def test_reconstruction_evaluates_all_windows_since_given_pixels_follow_them(strategy):
    built = strategy(solver=SOLVER, known_method="reconstruction")
    known = given(PLAIN, [(17, 18, 3, 3)])
    _, spent = generated(built, PLAIN, known)
    _, nothing_given = generated(built, PLAIN, None)
    assert spent.patches == nothing_given.patches


@pytest.mark.parametrize(("canvas", "holes"), CASES)
@pytest.mark.parametrize("strategy", ALL, ids=names())
def test_the_cost_that_is_planned_is_what_is_evaluated(strategy, canvas, holes):
    built, known = strategy(solver=SOLVER), given(canvas, *holes)
    metered = NFECounter(Neighbours())
    built.generate(metered, canvas, CanvasNoise(0, range(len(known.mask))), known=known)
    planned = spent_on(built, Neighbours(), canvas, known=known)
    pixels = canvas.height * canvas.width * len(known.mask)
    assert planned.evaluations == metered.pixels / pixels


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("codec", [Blocks, Seeing])
@pytest.mark.parametrize("hole", [(50, 60, 9, 9), (0, 0, 4, 4), (70, 190, 10, 10), (0, 0, 80, 208)])
def test_latents_are_decoded_where_something_is_made(codec, hole, wrap):
    canvas = Canvas(height=80, width=208, wrap_width=wrap)
    known = given(canvas, [hole])
    known = dataclasses.replace(known, y=known.y.double())
    images, tiles = [], []
    for everywhere in (False, True):
        decoder = codec()
        strategy = on_latents(MultiDiffusion(solver=SOLVER), decoder, Decoding(tile=8, overlap=2))
        if everywhere:
            strategy = dataclasses.replace(strategy)
            object.__setattr__(strategy, "_near_unknown", lambda *given: lambda *spans: True)
        noise = CanvasNoise(0, [0], dtype=torch.float64)
        images.append(strategy.generate(IndependentLatents(), canvas, noise, known=known))
        tiles.append(len(decoder.decoded))
    assert torch.equal(*images)
    small = hole != (0, 0, 80, 208)
    assert (tiles[0] < tiles[1] / 2) == small
