from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from patchcanvas.context.prompted import region_masks
from patchcanvas.context.settings import Region
from patchcanvas.mask_file import read_mask
from strategies.canvas import Canvas

SIZE = 40
HERE = np.zeros((SIZE, SIZE), bool)  # what is brushed
HERE[10:22, 6:30] = True


def painted(stroke, ground, mode: str = "RGBA") -> Image.Image:
    """A stroke of one colour on a ground of another."""
    image = Image.new(mode, (SIZE, SIZE), ground)
    image.paste(stroke, (6, 10, 30, 22))
    return image


def two_strokes(first, second, ground=(0, 0, 0, 0)) -> Image.Image:
    image = painted(first, ground)
    image.paste(second, (18, 10, 30, 22))
    return image


def gradient() -> Image.Image:
    steps = np.linspace(0, 255, SIZE).astype(np.uint8)
    return Image.fromarray(np.repeat(steps[None], SIZE, 0))


def photograph() -> Image.Image:
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))


def with_hole(ground) -> Image.Image:
    """A ground of which the stroke was rubbed out."""
    return painted((0, 0, 0, 0), ground)


MASKS = {
    "white on black": painted(255, 0, "L"),
    "white on black, in colours": painted((255, 255, 255), (0, 0, 0), "RGB"),
    "white on black, of one bit": painted(1, 0, "1"),
    "white on black, opaque": painted((255, 255, 255, 255), (0, 0, 0, 255)),
    "white on black, hardly transparent": painted((255, 255, 255, 250), (0, 0, 0, 250)),
    "white on black, 16 bits": Image.fromarray(np.where(HERE, 65535, 0).astype(np.uint16)),
    "light grey on dark grey": painted(200, 40, "L"),
    "white strokes": painted((255, 255, 255, 255), (0, 0, 0, 0)),
    "black strokes": painted((0, 0, 0, 255), (0, 0, 0, 0)),
    "black strokes on transparent white": painted((0, 0, 0, 255), (255, 255, 255, 0)),
    "red strokes": painted((220, 20, 20, 255), (0, 0, 0, 0)),
    "red and blue strokes": two_strokes((220, 20, 20, 255), (20, 20, 220, 255)),
    "strokes half transparent": painted((220, 20, 20, 120), (0, 0, 0, 0)),
    "grey strokes": painted((255, 255), (0, 0), "LA"),
}


@pytest.mark.parametrize("form", ["png", "webp", "tif"])
@pytest.mark.parametrize("kind", MASKS)
def test_what_editors_write_marks_what_was_brushed(kind, form, tmp_path):
    image, file = MASKS[kind], tmp_path / f"mask.{form}"
    if form == "webp" and image.mode.startswith("I"):
        pytest.skip("WebP has 8 bits")
    image.save(file, **({"lossless": True} if form == "webp" else {}))
    shares, sha256 = read_mask(file, "mask")
    assert ((shares >= 0.5).numpy() == HERE).all()
    assert len(sha256) == 64


def test_a_palette_of_a_gif_with_transparency_marks_its_strokes(tmp_path):
    MASKS["red strokes"].save(tmp_path / "mask.gif")
    shares, _ = read_mask(tmp_path / "mask.gif", "mask")
    assert ((shares >= 0.5).numpy() == HERE).all()


def test_a_jpeg_of_white_on_black_marks_what_was_brushed(tmp_path):
    painted((255, 255, 255), (0, 0, 0), "RGB").save(tmp_path / "mask.jpg", quality=60)
    shares, _ = read_mask(tmp_path / "mask.jpg", "mask")
    assert ((shares >= 0.5).numpy() == HERE).mean() > 0.99


def test_greys_are_shares(tmp_path):
    gradient().save(tmp_path / "mask.png")
    shares, _ = read_mask(tmp_path / "mask.png", "mask")
    assert torch.equal(shares[0], torch.from_numpy(np.array(gradient()))[0] / 255)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (two_strokes((255, 255, 255, 255), (0, 0, 0, 255)), "both black and white"),
        (with_hole((0, 0, 0, 255)), "a ground that is opaque and holes"),
        (with_hole((255, 255, 255, 255)), "a ground that is opaque and holes"),
        (photograph(), "in colour .* nowhere transparent"),
        (painted((220, 20, 20), (255, 255, 255), "RGB"), "in colour"),
        (Image.new("L", (SIZE, SIZE), 0), "marks nothing: no pixel of it is white"),
        (Image.new("RGBA", (SIZE, SIZE), (255, 0, 0, 0)), "marks nothing: every pixel"),
    ],
)
def test_what_can_be_understood_in_two_ways_is_refused(image, why, tmp_path):
    file: Path = tmp_path / "mask.png"
    image.save(file)
    with pytest.raises(ValueError, match=f"mask must be white on black .*mask.png .*{why}"):
        read_mask(file, "mask")


@pytest.mark.parametrize("kind", ["white on black", "red strokes", "white strokes"])
def test_masks_of_regions_are_understood_alike(kind, tmp_path):
    file = tmp_path / "mask.png"
    MASKS[kind].save(file)
    canvas = Canvas(height=SIZE, width=SIZE)
    background, region = region_masks([Region(prompt="a", mask=file)], canvas)
    assert ((region >= 0.5).numpy() == HERE).all()
    assert torch.equal(background, 1 - region)
    with pytest.raises(ValueError, match="megapixels"):
        region_masks([Region(prompt="a", mask=file)], canvas, 1e-4)
