"""A function tile by tile against the function of the whole, and of the endless image."""

from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from denoisers.contract import Image
from denoisers.pretrained.autoencoder import Autoencoder
from denoisers.pretrained.stand_ins import sd_pipeline
from strategies.tile_by_tile import tile_spans, tiled
from tests.pretrained_stand_ins import tiny_autoencoder

# A busy machine is no failure.
few_examples = settings(max_examples=50, deadline=None)
lengths = st.integers(1, 40)
# Weights that sum to 1 and convolutions of some tens of numbers near 1, in float64.
ROUNDING = {"atol": 1e-12, "rtol": 0}
BOTH = (True, True)


@st.composite
def tilings(draw, stride: int = 1) -> tuple[int, int]:
    """A tile and an overlap that goes with it, at least `stride` px smaller."""
    overlap = draw(st.integers(1, 20))
    return overlap + draw(st.integers(stride, 20)), overlap


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


class Local(nn.Module):
    """Curved, different at the image's edges, `scale` times as large; it sees `reach` px far."""

    def __init__(self, reach: int, scale: int = 1) -> None:
        super().__init__()
        # The size of what it was shown, largest first on either axis.
        self.shown: list[tuple[int, int]] = []
        self.scale = scale
        self.weight = normal(1, 1, 2 * reach + 1, 2 * reach + 1)

    def forward(self, image: Image) -> Image:
        self.shown.append(tuple(image.shape[-2:]))
        # Zeros beyond the edge, as everywhere in an autoencoder.
        seen = F.conv2d(image, self.weight, padding="same").tanh() + 0.3
        return seen.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


def of_the_endless_image(
    function: Callable[[Image], Image], image: Image, wraps: tuple[bool, bool], margin: int
) -> Image:
    """What a function makes of an image that goes on for `margin` px on all sides that wrap."""
    cuts = []
    for axis, wrap in zip((-2, -1), wraps, strict=True):
        length, beyond = image.shape[axis], margin if wrap else 0
        cuts.append((axis, beyond, length))
        image = image.index_select(axis, torch.arange(-beyond, length + beyond) % length)
    made = function(image)
    scale = Fraction(made.shape[-1], image.shape[-1])
    for axis, beyond, length in cuts:
        made = made.narrow(axis, int(beyond * scale), int(length * scale))
    return made


@given(lengths, tilings(), st.booleans())
def test_tiles_cover_an_axis_and_share_the_overlap(length, tiling, wraps):
    tile, overlap = tiling
    spans = tile_spans(length, tile, overlap, wraps=wraps)
    assert spans[0][0] == 0
    # Where the axis wraps the next tile after the last is the first, a length further on.
    following = [start for start, _ in spans[1:]] + [length] * wraps
    for (start, stop), after in zip(spans, following, strict=False):
        assert start < after
        assert stop - after >= overlap
    assert max(stop - start for start, stop in spans) <= tile
    if not wraps:
        assert spans[-1][1] == length


@given(lengths, tilings(), st.booleans())
def test_there_are_no_more_tiles_than_are_needed(length, tiling, wraps):
    tile, overlap = tiling
    fewer = len(tile_spans(length, tile, overlap, wraps=wraps)) - 1
    reached = fewer * (tile - overlap) + (0 if wraps else overlap)
    assert fewer == 0 or reached < length


@few_examples
@given(
    sides=st.tuples(lengths, lengths),
    tiling=tilings(stride=4),
    scale=st.integers(1, 3),
    wraps=st.tuples(st.booleans(), st.booleans()),
)
def test_weights_sum_to_one_on_every_pixel(sides, tiling, scale, wraps):
    tile, overlap = tiling

    def enlarged(image: Image) -> Image:
        return image.repeat_interleave(scale, -1).repeat_interleave(scale, -2)

    image = normal(1, 1, *sides)
    settings = {"tile": tile, "overlap": overlap, "wraps": wraps}
    larger = tiled(enlarged, image, scale=scale, **settings)
    torch.testing.assert_close(larger, enlarged(image), **ROUNDING)
    smaller = tiled(
        lambda part: F.avg_pool2d(part, scale),
        larger,
        scale=Fraction(1, scale),
        cell=scale,
        **settings | {"tile": scale * tile, "overlap": scale * overlap},
    )
    torch.testing.assert_close(smaller, image, **ROUNDING)


@few_examples
@given(
    sides=st.tuples(lengths, lengths),
    reach=st.integers(0, 2),
    more=st.integers(0, 3),
    larger=st.integers(4, 12),
    scale=st.integers(1, 2),
    wraps=st.tuples(st.booleans(), st.booleans()),
)
def test_a_local_function_is_that_of_the_whole(sides, reach, more, larger, scale, wraps):
    # Any overlap of which a quarter is `reach` px and something.
    overlap = max(1, 4 * reach + more)
    tile = overlap + larger
    function, image = Local(reach, scale), normal(2, 1, *sides)
    made = tiled(function, image, scale=scale, tile=tile, overlap=overlap, wraps=wraps)
    # Never more than a tile is shown at once, whatever the image.
    assert max(max(shown) for shown in function.shown) <= tile
    expected = of_the_endless_image(function, image, wraps, margin=reach)
    torch.testing.assert_close(made, expected, **ROUNDING)


def test_what_reaches_further_than_a_quarter_of_the_overlap_is_not_that_of_the_whole():
    function, image = Local(reach=2), normal(1, 1, 30, 30)
    made = tiled(function, image, scale=1, tile=14, overlap=5)
    error = (made - function(image)).abs()
    # Tiles are 0 to 14, 8 to 22 and 16 to 30. From row 9 on the second has a weight, which there
    # sees 1 px of two: up to there all is right.
    assert float(error[..., :9, :9].max()) < ROUNDING["atol"]
    assert float(error[..., 9, :].max()) > 0.01


def decoder_reach(autoencoder: Autoencoder) -> float:
    """How far the decoder of an AutoencoderTiny sees, in latent pixels: its own layers say so."""
    reach, scale = 0.0, 1
    for layer in autoencoder.model.decoder.modules():
        if isinstance(layer, nn.Upsample):
            scale *= int(layer.scale_factor)
        if isinstance(layer, nn.Conv2d):
            reach += (layer.kernel_size[0] // 2) / scale
    return reach


def encoder_reach(autoencoder: Autoencoder) -> int:
    """How far its encoder sees, in pixels of the image."""
    reach, stride = 0, 1
    for layer in autoencoder.model.encoder.modules():
        if isinstance(layer, nn.Conv2d):
            reach += (layer.kernel_size[0] // 2) * stride
            stride *= layer.stride[0]
    return reach


@pytest.fixture(scope="module")
def tiny() -> Autoencoder:
    return Autoencoder(tiny_autoencoder().double())


every_wrap = pytest.mark.parametrize("wraps", [(False, False), (False, True), BOTH])


@every_wrap
def test_a_tiny_decoder_is_that_of_the_whole(tiny, wraps):
    # 1 + 3 at the latents' size, 1 + 3 at twice and 1 + 4 at four times that, see its layers.
    reach = decoder_reach(tiny)
    assert reach == 4 + 4 / 2 + 5 / 4
    latents, overlap = normal(1, 4, 21, 45), int(4 * reach)
    tiles = {"scale": 4, "tile": overlap + 10, "overlap": overlap, "wraps": wraps}
    made = tiled(tiny.decode, latents, **tiles)
    expected = of_the_endless_image(tiny.decode, latents, wraps, margin=8)
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(made, expected, **ROUNDING)
    tiles |= {"tile": 16, "overlap": 4}
    assert float((tiled(tiny.decode, latents, **tiles) - expected).abs().max()) > 1e-4


@every_wrap
def test_a_tiny_encoder_is_that_of_the_whole(tiny, wraps):
    # 4 px, then 1 + 6 at steps of 2 px, then 2 + 12 + 4 at steps of 4 px, see its layers.
    reach = encoder_reach(tiny)
    assert reach == 4 + (1 + 6) + (2 + 12 + 4)
    # The middle of a latent's pixel is 2 px from its edge.
    images, overlap = normal(1, 3, 96, 204), 4 * (reach + 2)
    made = tiled(
        tiny.encode,
        images,
        scale=Fraction(1, 4),
        tile=overlap + 48,
        overlap=overlap,
        wraps=wraps,
        cell=4,
    )
    expected = of_the_endless_image(tiny.encode, images, wraps, margin=32)
    assert float(expected.std()) > 0.001
    torch.testing.assert_close(made, expected, **ROUNDING)


def test_there_are_no_seams_where_a_decoder_sees_all_of_a_tile():
    # It normalises and attends to all that it is shown: tiles differ everywhere, and the steps of
    # (tiled - whole) from column to column are what tiling adds, here in units of the whole's own.
    decoder = Autoencoder(sd_pipeline().vae)
    latents = torch.randn(4, 4, 16, 64)

    def steps(image: Image) -> Tensor:
        return image.diff(dim=-1).abs().mean((0, 1, 2))

    whole = decoder.decode(latents)
    own = steps(whole).mean()
    faded = tiled(decoder.decode, latents, scale=4, tile=16, overlap=4)
    apart = torch.cat([decoder.decode(part) for part in latents.split(16, -1)], -1)
    added, at_borders = steps(faded - whole) / own, (steps(apart - whole) / own)[63::64]
    # Measured with other seeds: 0.19 to 0.22 at most, some 0.1 in the middle, and 1.00 to 1.22 at
    # the edges of tiles that do not overlap.
    assert float(at_borders.min()) > 0.9
    assert float(added.max()) < 0.3
    assert float(added.max()) < 3 * float(added.median())
    # Seen in the image itself, no column has a step unlike the whole's: measured, 0.92 to 1.15.
    ratio = steps(faded) / steps(whole)
    assert float(ratio.min()) > 0.85
    assert float(ratio.max()) < 1.2


def standardised(image: Image) -> Image:
    """Local in nothing: as a network that normalises what it is shown."""
    return (image - image.mean((2, 3), keepdim=True)) / image.std((2, 3), keepdim=True)


@pytest.mark.parametrize(("down", "across"), [(6, 0), (0, 6), (12, 18), (-6, 24)])
def test_a_loop_may_be_rolled_by_whole_strides_whatever_the_function(down, across):
    # Tiles of 8 px every 6 px on either axis.
    image, tiles = normal(2, 3, 24, 36), {"scale": 1, "tile": 8, "overlap": 2, "wraps": BOTH}
    made = tiled(standardised, image, **tiles)
    rolled = tiled(standardised, image.roll((down, across), (-2, -1)), **tiles)
    torch.testing.assert_close(rolled, made.roll((down, across), (-2, -1)), **ROUNDING)
    assert float((made - standardised(image)).abs().max()) > 0.1


def counted() -> Callable[[Image], Image]:
    """Returns a function whose images are all 0 the first time, then all 1, and so on."""
    number: Iterator[int] = iter(range(100))
    return lambda image: torch.full_like(image, next(number))


def test_between_two_tiles_one_fades_into_the_other():
    image = torch.zeros(1, 1, 3, 14, dtype=torch.float64)
    made = tiled(counted(), image, scale=1, tile=10, overlap=6)
    # Tiles are 0 to 10 and 4 to 14. A quarter of the 6 px is not used on either side: between 5.5
    # and 8.5 the second takes over, in a straight line through the pixels' middles.
    expected = [0] * 5 + [0, 1 / 3, 2 / 3, 1] + [1] * 5
    assert made[0, 0, 1].tolist() == pytest.approx(expected, abs=1e-6)  # ramps are float32
    around = tiled(
        counted(), image[..., :8], scale=1, tile=8, overlap=4, wraps=(False, True)
    ).squeeze()
    # Tiles are 0 to 8 and 4 to 12, which is 4; each fades in from 1 px on, over 2 px.
    expected = [1, 0.75, 0.25, 0, 0, 0.25, 0.75, 1]
    assert around[1].tolist() == pytest.approx(expected, abs=1e-6)


def test_an_image_of_one_tile_is_the_function_itself():
    image, function = torch.randn(2, 3, 8, 5), Local(1).float()
    function.weight = function.weight.float()
    channel = image[:, :1]
    assert torch.equal(tiled(function, channel, scale=1, tile=8, overlap=2), function(channel))
    assert function.shown == [(8, 5), (8, 5)]


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"tile": 8, "overlap": 8}, "need 0 < overlap < tile, got overlap=8, tile=8"),
        ({"tile": 8, "overlap": 0}, "need 0 < overlap < tile, got overlap=0, tile=8"),
        ({"tile": 8, "overlap": 4, "cell": 4}, r"multiples of 4 px, got \(8, 6\), 8, 4"),
        ({"tile": 6, "overlap": 4, "cell": 2}, None),
        ({"tile": 6, "overlap": 3, "cell": 2}, r"multiples of 2 px, got \(8, 6\), 6, 3"),
    ],
)
def test_tiles_that_do_not_go_with_the_image_are_refused(given, rule):
    image = torch.zeros(1, 1, 8, 6)
    if rule is None:
        assert tiled(torch.clone, image, scale=1, **given).shape == image.shape
        return
    with pytest.raises(ValueError, match=rule):
        tiled(torch.clone, image, scale=1, **given)
