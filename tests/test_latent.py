"""Canvases in pixels by strategies on latents: sizes, loops, given pixels and their edges."""

import dataclasses
import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from typing_extensions import override

from denoisers.contract import Image, PatchDenoiser, Sigma
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.async_patch import AsyncPatch
from strategies.base import Strategy
from strategies.canvas import Canvas, Known, WindowEdges
from strategies.catalogue import names, strategy_class
from strategies.diffcollage import DiffCollage
from strategies.direct import Direct
from strategies.latent import Decoding, blended, extended, on_latents
from strategies.lshape_repaint import LShapeRepaint
from strategies.naive import Naive
from strategies.reconstruction import Reconstruction
from strategies.replacement import Replacement

PATCH, SCALE = 8, 4
# Those that take denoisers of one level an image.
WITHOUT_MAPS = [name for name in names() if name != "async_patch"]
every_strategy = pytest.mark.parametrize("name", WITHOUT_MAPS)
# A busy machine is no failure.
few_examples = settings(max_examples=10, deadline=None)
more_examples = settings(max_examples=40, deadline=None)
booleans = st.tuples(st.booleans(), st.booleans())
# Sums of some hundred numbers near 1, in float64.
ROUNDING = {"atol": 1e-12, "rtol": 0}


class Blocks:
    """Loses nothing of images of blocks; it writes down the size of what it is shown."""

    scale, channels, latent_channels = SCALE, 3, 4

    def __init__(self) -> None:
        self.encoded: list[tuple[int, ...]] = []
        self.decoded: list[tuple[int, ...]] = []

    def encode(self, images: Image) -> Image:
        self.encoded.append(tuple(images.shape[-2:]))
        means = F.avg_pool2d(images, SCALE)
        return torch.cat([means, means.sum(1, keepdim=True)], 1)

    def decode(self, latents: Image) -> Image:
        self.decoded.append(tuple(latents.shape[-2:]))
        return latents[:, :3].repeat_interleave(SCALE, -1).repeat_interleave(SCALE, -2)


class Seeing(Blocks):
    """Sees a pixel of the latents around, and zeros beyond their edge."""

    def decode(self, latents: Image) -> Image:
        return super().decode(F.avg_pool2d(latents, 3, stride=1, padding=1))


class IndependentLatents:
    """The exact denoiser of pixels N(0.3, 0.5^2) each, which takes one level an image."""

    patch_size, multiple, channels, takes_noise_maps = PATCH, 2, 4, False

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        self.calls += 1
        return 0.3 + 0.25 / (0.25 + sigma**2) * (x_t - 0.3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fixed(Strategy):
    """Makes the latents that it is told to, and writes down which of them are given."""

    latents: Image
    given: list[Known] = dataclasses.field(default_factory=list)

    @override
    def generate(self, denoiser, canvas, noise, *, known=None, context=None) -> Image:
        assert self.latents.shape[1:] == (canvas.channels, canvas.height, canvas.width)
        if known is not None:
            self.given.append(known)
        return self.latents.expand(len(noise), -1, -1, -1)

    @override
    def window_edges(self, denoiser: PatchDenoiser, canvas: Canvas) -> WindowEdges:
        return WindowEdges((), ())

    @override
    def overlap_of(self, denoiser: PatchDenoiser, window: int) -> int:
        return 0


def quick(name: str) -> Strategy:
    return strategy_class(name)(solver=Heun(num_steps=3))


def made(
    strategy: Strategy,
    codec: Blocks,
    canvas: Canvas,
    samples: int = 1,
    known: Known | None = None,
    **decoding: int | None,
) -> Image:
    noise = CanvasNoise(0, range(samples), dtype=torch.float64)
    pixels = on_latents(strategy, codec, Decoding(**decoding))
    return pixels.generate(IndependentLatents(), canvas, noise, known=known)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def given_where(mask: Tensor, y: Tensor | None = None) -> Known:
    """Given pixels; what is not given is not a number."""
    values = normal(len(mask), 3, *mask.shape[-2:]) if y is None else y
    return Known(values.where(mask, math.nan), mask)


@every_strategy
@few_examples
@given(
    height=st.integers(PATCH * SCALE - 3, 2 * PATCH * SCALE),
    width=st.integers(PATCH * SCALE - 3, 3 * PATCH * SCALE),
)
def test_any_canvas_is_what_the_strategy_makes_of_the_latents_it_needs(name, height, width):
    image = made(quick(name), Blocks(), Canvas(height=height, width=width), samples=2)
    assert image.shape == (2, 3, height, width)
    small = Canvas(height=math.ceil(height / SCALE), width=math.ceil(width / SCALE), channels=4)
    noise = CanvasNoise(0, range(2), dtype=torch.float64)
    latents = quick(name).generate(IndependentLatents(), small, noise)
    expected = latents[:, :3].repeat_interleave(SCALE, -1).repeat_interleave(SCALE, -2)
    torch.testing.assert_close(image, expected[..., :height, :width], **ROUNDING)


def test_neither_more_is_decoded_at_once_than_a_tile_nor_encoded():
    codec, canvas = Blocks(), Canvas(height=70, width=300, wrap_width=True)
    known = given_where(torch.rand(1, 1, 70, 300) < 0.9)
    strategy = Fixed(latents=torch.zeros(1, 4, 18, 75).double())
    made(strategy, codec, canvas, known=known)
    # A patch of 8 latents is 32 px.
    assert max(map(max, codec.decoded)) == PATCH
    assert max(map(max, codec.encoded)) == PATCH * SCALE
    for tile, overlap in ((12, None), (12, 5), (None, 3)):
        codec = Blocks()
        made(strategy, codec, canvas, tile=tile, overlap=overlap)
        assert max(map(max, codec.decoded)) == (tile or PATCH)


@pytest.mark.parametrize("wraps", [(False, True), (True, False), (True, True)])
def test_a_loop_of_latents_is_decoded_as_the_loop_that_it_is(wraps):
    latents = normal(1, 4, 9, 14)
    sizes = {"height": 9 * SCALE, "width": 14 * SCALE}
    canvas = Canvas(**sizes, wrap_height=wraps[0], wrap_width=wraps[1])
    # A quarter of the overlap is as far as this decoder sees.
    image = made(Fixed(latents=latents), Seeing(), canvas, overlap=4)
    # The whole, on all sides continued by what lies at the other end, or by zeros.
    seen = F.pad(latents, (1, 1, 0, 0), mode="circular" if wraps[1] else "constant")
    seen = F.pad(seen, (0, 0, 1, 1), mode="circular" if wraps[0] else "constant")
    means = F.avg_pool2d(seen, 3, stride=1)[:, :3]
    expected = means.repeat_interleave(SCALE, -1).repeat_interleave(SCALE, -2)
    torch.testing.assert_close(image, expected, **ROUNDING)
    turns = [SCALE * turn * wrap for turn, wrap in zip((2, 5), wraps, strict=True)]
    rolled = latents.roll([turn // SCALE for turn in turns], (-2, -1))
    image_rolled = made(Fixed(latents=rolled), Seeing(), canvas, overlap=4)
    torch.testing.assert_close(image_rolled, image.roll(turns, (-2, -1)), **ROUNDING)


@every_strategy
@pytest.mark.parametrize("wrap", [False, True])
def test_given_pixels_come_back_bit_by_bit(name, wrap):
    canvas = Canvas(height=37, width=96 if wrap else 91, wrap_width=wrap)
    mask = torch.zeros(3, 1, canvas.height, canvas.width, dtype=torch.bool)
    mask[0, :, 5:30, :41] = True
    for row, column in ((0, 0), (17, 50), (36, canvas.width - 1)):
        mask[1, :, row, column] = True  # no latent of these is given
    mask[2] = torch.rand(mask.shape[1:]) < 0.97
    known = given_where(mask)
    image = made(quick(name), Seeing(), canvas, samples=3, known=known)
    assert torch.isfinite(image).all()
    assert torch.equal(known.only(image), known.only(known.y))


@every_strategy
def test_samples_of_different_masks_are_what_they_are_alone(name):
    canvas = Canvas(height=32, width=70)
    mask = torch.zeros(3, 1, 32, 70, dtype=torch.bool)
    mask[0, ..., :33], mask[1, ..., 40:], mask[2, :, 9, 9] = True, True, True
    known = given_where(mask)
    together = made(quick(name), Blocks(), canvas, samples=3, known=known)
    for index in range(3):
        own, noise = slice(index, index + 1), CanvasNoise(0, [index], dtype=torch.float64)
        alone = on_latents(quick(name), Blocks()).generate(
            IndependentLatents(), canvas, noise, known=Known(known.y[own], known.mask[own])
        )
        # Starting noise of 80 in float64, in batches of other sizes.
        torch.testing.assert_close(together[own], alone, atol=1e-10, rtol=0)


def cells_given(mask: Tensor) -> np.ndarray:
    """Which cells of SCALE x SCALE px have no pixel inside the canvas that is not given."""
    height, width = mask.shape
    cells = np.zeros((math.ceil(height / SCALE), math.ceil(width / SCALE)), dtype=bool)
    for row, column in product(range(cells.shape[0]), range(cells.shape[1])):
        rows = range(SCALE * row, min(SCALE * row + SCALE, height))
        columns = range(SCALE * column, min(SCALE * column + SCALE, width))
        cells[row, column] = all(bool(mask[r, c]) for r, c in product(rows, columns))
    return cells


@few_examples
@given(height=st.integers(29, 50), width=st.integers(29, 70), by_channel=st.booleans())
def test_latents_are_given_whose_pixels_all_are(height, width, by_channel):
    mask = torch.rand(2, 3 if by_channel else 1, height, width) < 0.97
    mask[0, ..., -6:] = True
    small = (math.ceil(height / SCALE), math.ceil(width / SCALE))
    strategy = Fixed(latents=torch.zeros(1, 4, *small).double())
    # Blocks of one colour, so that a cell's mean is its colour, of which some pixels are given.
    colours = normal(2, 3, *small)
    y = colours.repeat_interleave(SCALE, -1).repeat_interleave(SCALE, -2)[..., :height, :width]
    canvas = Canvas(height=height, width=width)
    made(strategy, Blocks(), canvas, samples=2, known=given_where(mask, y))
    (known,) = strategy.given
    for sample in range(2):
        expected = cells_given(mask[sample].all(0))
        assert np.array_equal(known.mask[sample, 0].numpy(), expected)
        # Whole cells alone: what lies beyond the canvas is filled in.
        whole = torch.from_numpy(expected)[: height // SCALE, : width // SCALE]
        rows, columns = whole.shape
        encoded = known.y[sample, :3, :rows, :columns]
        wanted = colours[sample, :, :rows, :columns]
        torch.testing.assert_close(encoded[:, whole], wanted[:, whole], **ROUNDING)
    assert torch.isfinite(known.y).all()


def test_cells_beyond_the_canvas_are_given_as_what_is_nearest():
    strategy = Fixed(latents=torch.zeros(1, 4, 8, 9).double())
    known = given_where(torch.ones(1, 1, 30, 33, dtype=torch.bool), normal(1, 3, 1, 1))
    known = Known(known.y.expand(1, 3, 30, 33), known.mask)
    image = made(strategy, Blocks(), Canvas(height=30, width=33), known=known)
    assert torch.equal(image, known.y)
    latents = strategy.given[0]
    assert latents.mask.all()
    assert latents.y.shape == (1, 4, 8, 9)
    torch.testing.assert_close(latents.y[:, :3], known.y[..., :8, :9], **ROUNDING)


def test_a_single_given_pixel_gives_no_latent():
    strategy = Fixed(latents=torch.zeros(1, 4, 8, 9).double())
    mask = torch.zeros(1, 1, 32, 36, dtype=torch.bool)
    mask[..., 13, 20] = True
    known = given_where(mask)
    image = made(strategy, Blocks(), Canvas(height=32, width=36), known=known)
    assert not strategy.given[0].mask.any()
    assert torch.equal(image[..., 13, 20], known.y[..., 13, 20])


@pytest.mark.parametrize("wrap", [False, True])
def test_what_is_decoded_meets_what_is_given_without_a_step(wrap):
    # What is decoded is black, what is given grey: the other pixels are grey next to it.
    strategy = Fixed(latents=torch.zeros(1, 4, 8, 40).double())
    mask = torch.zeros(1, 1, 32, 160, dtype=torch.bool)
    mask[..., :50] = True
    grey = torch.full((1, 3, 32, 160), 0.2, dtype=torch.float64)
    canvas = Canvas(height=32, width=160, wrap_width=wrap)
    image = made(strategy, Blocks(), canvas, known=given_where(mask, grey))
    distance = torch.arange(1, 111).double()
    if wrap:
        distance = torch.minimum(distance, 111 - distance)
    # A deviation of two latent pixels, up to three deviations.
    expected = 0.2 * torch.exp(-((distance / (2 * SCALE)) ** 2) / 2)
    expected[distance > 3 * 2 * SCALE] = 0
    torch.testing.assert_close(image[0, 0, 7, 50:], expected, **ROUNDING)


def distances(mask: Tensor, reach: int, wraps: tuple[bool, bool]) -> Tensor:
    """To the nearest given pixel of those within three reaches along both axes; or infinity."""
    size = mask.shape
    found = torch.full(size, math.inf, dtype=torch.float64)
    turns = [(-1, 0, 1) if wrap else (0,) for wrap in wraps]
    for (row, column), down, across in product(mask.nonzero().tolist(), *turns):
        rows = (torch.arange(size[0]) - row + down * size[0])[:, None].double()
        columns = (torch.arange(size[1]) - column + across * size[1])[None].double()
        within = (rows.abs() <= 3 * reach) & (columns.abs() <= 3 * reach)
        found = torch.minimum(found, torch.hypot(rows, columns).where(within, math.inf))
    return found


@more_examples
@given(
    size=st.tuples(st.integers(8, 24), st.integers(8, 24)),
    reach=st.integers(1, 2),
    wraps=booleans,
    share=st.sampled_from([0.0, 0.01, 0.1, 1.0]),
)
def test_a_constant_offset_fades_with_the_distance_from_given_pixels_of_any_shape(
    size, reach, wraps, share
):
    mask = torch.rand(1, 1, *size) < share
    # A strip, a corner and a pixel, beside those that lie anywhere.
    mask[..., 2:5, 2:7] = True
    mask[..., 0, -1] = True
    image, offset = normal(1, 2, *size), torch.tensor([0.3, -0.1]).double().view(1, 2, 1, 1)
    known = Known((image + offset).where(mask, math.nan), mask)
    distance = distances(mask[0, 0], reach, wraps)
    expected = image + offset * torch.exp(-((distance / reach) ** 2) / 2)
    out = blended(known, image, reach=reach, wraps=wraps)
    assert torch.equal(known.only(out), known.only(known.y))
    torch.testing.assert_close(out, expected, **ROUNDING)


def test_pixels_given_in_some_channels_come_back_and_move_nothing():
    mask = torch.zeros(1, 3, 20, 20, dtype=torch.bool)
    mask[:, 1, 8:12, 8:12] = True
    image = normal(1, 3, 20, 20)
    known = given_where(mask, image + 1)
    assert torch.equal(blended(known, image, reach=2), image + mask)


def test_an_offset_that_differs_along_the_border_is_followed_there():
    # Smooth along the border, over 40 reaches: what is moved differs from the offset next to it by
    # what a Gaussian of deviation 4 takes from such a wave, 1 - exp(-(2 pi 4 / 160)^2 / 2) = 1.2 %.
    wave = 0.3 * torch.sin(2 * math.pi * torch.arange(160).double() / 160).view(1, 1, -1, 1)
    mask = torch.zeros(1, 1, 160, 40, dtype=torch.bool)
    mask[..., :20] = True
    image = normal(1, 1, 160, 40)
    out = blended(Known(image + wave, mask), image, reach=4, wraps=(True, False))
    moved = (out - image)[0, 0, :, 20]
    expected = wave.flatten() * math.exp(-1 / 32) * math.exp(-((2 * math.pi * 4 / 160) ** 2) / 2)
    # Cut at three deviations, a Gaussian takes a little less.
    torch.testing.assert_close(moved, expected, atol=0.3 * 1e-3, rtol=0)


def test_an_offset_that_grows_away_from_the_border_is_its_mean_there():
    # In the mean under half a Gaussian a slope of 0.01 a px is 0.01 deviation sqrt(2 / pi).
    slope = 0.01 * (199.5 - torch.arange(400).double()).clamp(min=0)
    mask = (torch.arange(400) < 200).expand(1, 1, 3, 400)
    image = torch.zeros(1, 1, 3, 400).double()
    out = blended(Known(slope.expand(1, 1, 3, 400), mask), image, reach=20, wraps=(True, False))
    # That is 1 % less for a Gaussian cut at three deviations, and 1 % for a pixel whose middle lies
    # half a pixel beyond the border.
    assert float(out[0, 0, 1, 200]) == pytest.approx(0.2 * math.sqrt(2 / math.pi), rel=0.03)


@more_examples
@given(
    down=st.integers(0, 11),
    across=st.integers(0, 16),
    reach=st.integers(1, 4),
    wraps=booleans,
)
def test_a_loop_with_given_pixels_may_be_rolled(down, across, reach, wraps):
    mask, image = torch.rand(2, 1, 12, 17) < 0.1, normal(2, 3, 12, 17)
    known = Known(normal(2, 3, 12, 17), mask)
    turns = [turn * wrap for turn, wrap in zip((down, across), wraps, strict=True)]
    rolled = Known(known.y.roll(turns, (-2, -1)), mask.roll(turns, (-2, -1)))
    out = blended(known, image, reach=reach, wraps=wraps)
    again = blended(rolled, image.roll(turns, (-2, -1)), reach=reach, wraps=wraps)
    # Sums are added in another order, and divided by weights down to some 1e-5.
    torch.testing.assert_close(again, out.roll(turns, (-2, -1)), atol=1e-9, rtol=0)


@more_examples
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    share=st.sampled_from([0.0, 0.01, 0.3]),
    wraps=booleans,
)
def test_pixels_between_given_ones_lie_between_them(size, share, wraps):
    mask = torch.rand(2, 1, *size) < share
    mask[0, :, size[0] // 2, size[1] // 3] = True
    known = given_where(mask)
    out = extended(known, wraps=wraps)
    assert torch.equal(known.only(out), known.only(known.y))
    for sample in range(2):
        values = known.y[sample, :, mask[sample, 0]]
        if values.numel() == 0:
            assert (out[sample] == 0).all()
            continue
        low, high = values.amin(1), values.amax(1)
        # Means of means: rounded sums of weights that are 1.
        assert (out[sample].amin((1, 2)) >= low - 1e-12).all()
        assert (out[sample].amax((1, 2)) <= high + 1e-12).all()


@pytest.mark.parametrize("width", [64, 61])
@pytest.mark.parametrize("given_columns", [8, 13, 16, 29, 32, 48])
def test_given_pixels_go_on_as_they_were_at_their_border(width, given_columns):
    # A slope of 1 a column: 2 px beyond the border nothing is further off than the means of the two
    # halvings that it takes to get there, over 4 and 10 px.
    ramp = torch.arange(width).double().expand(1, 3, 8, width)
    mask = (torch.arange(width) < given_columns).expand(1, 1, 8, width)
    out = extended(Known(ramp, mask))
    beyond = out[0, 0, :, given_columns : given_columns + 2]
    assert float((beyond - (given_columns - 1)).abs().max()) < 3
    # Across the wrap the same, seen from the other end.
    around = extended(Known(-ramp, mask), wraps=(False, True))
    assert float(around[0, 0, :, -2:].abs().max()) < 3
    turned = extended(Known(-ramp.mT, mask.mT), wraps=(True, False))
    torch.testing.assert_close(turned, around.mT, **ROUNDING)


@pytest.mark.parametrize("wraps", [(False, True), (True, False)])
def test_an_encoder_sees_no_edge_where_a_loop_closes(wraps):
    class Steps(Blocks):
        largest = 0.0

        def encode(self, images: Image) -> Image:
            steps = [images.diff(dim=axis).abs().max().item() for axis in (-2, -1)]
            self.largest = max(self.largest, *steps)
            return super().encode(images)

    # From 8 at the edge that wraps down to 0, in steps of 1/2, over a quarter of the way.
    ramp = (8 - torch.arange(64).double() / 2).expand(1, 3, 64, 64)
    mask = (torch.arange(64) < 16).expand(1, 1, 64, 64)
    known = Known(ramp, mask) if wraps[1] else Known(ramp.mT, mask.mT)
    canvas = Canvas(height=64, width=64, wrap_height=wraps[0], wrap_width=wraps[1])
    codec = Steps()
    made(Fixed(latents=torch.zeros(1, 4, 16, 16).double()), codec, canvas, known=known)
    # Where the last pixel were filled without a look across the edge, its step would be some 6.
    assert codec.largest < 2


@pytest.mark.parametrize(
    ("strategy", "height", "width", "rows", "columns", "start"),
    [
        # 8 x 18 and 16 x 17 latents: windows begin and end every 8 of them, or every 4.
        (Naive(), 32, 70, (), (32, 64), 0),
        (DiffCollage(), 61, 65, (16, 32, 48), (16, 32, 48, 64), 0),
        # Windows of 8 begin at 0, 4, 8 and 12; the first is that at 4, which ends at 12.
        (Replacement(), 32, 80, (), (16, 48, 64), 16),
    ],
)
def test_borders_are_told_in_pixels(strategy, height, width, rows, columns, start):
    canvas, denoiser = Canvas(height=height, width=width), IndependentLatents()
    pixels = on_latents(strategy, Blocks())
    assert pixels.window_edges(denoiser, canvas) == WindowEdges(rows, columns)
    assert pixels.starts_at(denoiser, canvas) == start
    assert pixels.window_of(denoiser) == (PATCH, PATCH)
    assert pixels.overlap_of(denoiser, PATCH) == strategy.overlap_of(denoiser, PATCH)
    assert pixels.core is strategy
    assert pixels.denoised(canvas) == Canvas(
        height=math.ceil(height / SCALE), width=math.ceil(width / SCALE), channels=4
    )


def test_steps_are_those_of_the_strategy_within():
    noise, canvas = CanvasNoise(0, [0]), Canvas(height=32, width=32)
    fewer = on_latents(Naive(solver=Heun(num_steps=40)), Blocks()).with_steps(3)
    assert fewer.solver.num_steps == fewer.core.solver.num_steps == 3
    expected = on_latents(quick("naive"), Blocks())
    images = [s.generate(IndependentLatents(), canvas, noise) for s in (fewer, expected)]
    assert torch.equal(*images)


@pytest.mark.parametrize(
    ("length", "nearest"), [(63, "are 60 and 64"), (33, "are 32 and 36"), (3, "is 4")]
)
@pytest.mark.parametrize("axis", ["height", "width"])
def test_a_loop_that_is_no_whole_number_of_latents_is_refused(axis, length, nearest):
    canvas = Canvas(**({"height": 64, "width": 64} | {axis: length, f"wrap_{axis}": True}))
    rule = f"the {axis} of a loop must be a multiple of 4 px, .* got {length} px; the nearest "
    with pytest.raises(ValueError, match=rf"{rule}{nearest} px\.$"):
        made(Naive(), Blocks(), canvas)


@pytest.mark.parametrize(
    ("strategy", "canvas", "rule"),
    [
        # 17 latents are 68 px; windows of 8 close loops of multiples of 4.
        (DiffCollage(), {"width": 68, "wrap_width": True}, "a multiple of 4 px .* got 17 px"),
        (LShapeRepaint(), {"width": 68, "wrap_width": True}, "a multiple of 4 px .* got 17 px"),
        (Direct(), {"width": 68, "wrap_width": True}, "the denoiser's 2 px, got 17 px"),
        (Naive(), {"width": 20}, "at least one window of 8 px .* got 5 px"),
        (Reconstruction(), {"height": 20}, "at least one window of 8 px .* got 5 px"),
        (Naive(window=7), {}, "a multiple of the denoiser's 2 px, got 7"),
    ],
)
@pytest.mark.parametrize("given_pixels", [False, True])
def test_lengths_in_errors_are_said_to_be_of_latents(strategy, canvas, rule, given_pixels):
    codec, denoiser, size = Blocks(), IndependentLatents(), {"height": 32, "width": 64} | canvas
    known = None
    if given_pixels:
        mask = torch.ones(1, 1, size["height"], size["width"], dtype=torch.bool)
        known = given_where(mask)
    rule = rf"{rule}.* \(Lengths are in latent pixels, 4 px of the canvas each\.\)$"
    noise = CanvasNoise(0, [0])
    with pytest.raises(ValueError, match=rule):
        on_latents(strategy, codec).generate(denoiser, Canvas(**size), noise, known=known)
    assert not denoiser.calls
    # Direct alone says where its edges are on any canvas, and is asked once all is encoded.
    assert not codec.encoded or isinstance(strategy, Direct)


def test_async_patch_is_refused_with_its_own_reason():
    codec, denoiser = Blocks(), IndependentLatents()
    strategy, canvas = on_latents(AsyncPatch(), codec), Canvas(height=32, width=64)
    known = given_where(torch.ones(1, 1, 32, 64, dtype=torch.bool))
    rule = r"a noise level of its own.* \(takes_noise_maps is False\).*, or another strategy\.$"
    with pytest.raises(ValueError, match=rule):
        strategy.generate(denoiser, canvas, CanvasNoise(0, [0]), known=known)
    with pytest.raises(ValueError, match=rule):
        strategy.validate_denoiser(denoiser)
    assert not codec.encoded


def test_async_patch_makes_latents_where_levels_may_differ():
    class Everywhere(IndependentLatents):
        takes_noise_maps = True

    canvas, strategy = Canvas(height=45, width=70), AsyncPatch(solver=Heun(num_steps=3))
    known = given_where(torch.rand(1, 1, 45, 70) < 0.98)
    noise = CanvasNoise(0, [0], dtype=torch.float64)
    image = on_latents(strategy, Seeing()).generate(Everywhere(), canvas, noise, known=known)
    assert torch.isfinite(image).all()
    assert torch.equal(known.only(image), known.only(known.y))


def test_what_does_not_belong_to_the_canvas_is_refused():
    canvas = Canvas(height=32, width=64)
    known = given_where(torch.ones(1, 1, 32, 60, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"\(3, 32, 64\), got y of \(3, 32, 60\)"):
        made(Naive(), Blocks(), canvas, known=known)
    known = given_where(torch.ones(2, 1, 32, 64, dtype=torch.bool))
    with pytest.raises(ValueError, match="once or for each of 3 samples, got 2"):
        made(Naive(), Blocks(), canvas, samples=3, known=known)
    with pytest.raises(ValueError, match="must have the autoencoder's 3 channels, got 4"):
        made(Naive(), Blocks(), dataclasses.replace(canvas, channels=4))


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"tile": 1}, "tile must be at least 2 latent pixels, got 1"),
        ({"overlap": 0}, "overlap must be above 0 and below the tile, got 0 of None"),
        ({"tile": 8, "overlap": 8}, "overlap must be above 0 and below the tile, got 8 of 8"),
    ],
)
def test_decoding_in_no_tiles_is_refused(given, rule):
    with pytest.raises(ValueError, match=rule):
        Decoding(**given)


def test_tiles_are_patches_that_share_a_quarter():
    assert Decoding().sizes(64) == (64, 16)
    assert Decoding(tile=20).sizes(64) == (20, 5)
    assert Decoding(overlap=20).sizes(64) == (64, 20)
    # A patch that is too small to be cut still has neighbours.
    assert Decoding().sizes(1) == Decoding().sizes(2) == (2, 1)
    denoiser = IndependentLatents()
    strategy = on_latents(Naive(), Blocks(), Decoding(overlap=8))
    with pytest.raises(ValueError, match="overlap must be below the tile, got 8 of 8"):
        strategy.generate(denoiser, Canvas(height=32, width=32), CanvasNoise(0, [0]))
    assert not denoiser.calls


def test_no_graph_is_kept_of_an_autoencoder_that_could_be_trained():
    class Trained(Blocks):
        weight = nn.Parameter(torch.ones(()))

        def decode(self, latents: Image) -> Image:
            return self.weight * super().decode(latents)

    assert not made(quick("naive"), Trained(), Canvas(height=32, width=64)).requires_grad
