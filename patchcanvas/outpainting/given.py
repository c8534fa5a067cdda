"""What is given of a canvas: a user's image, upright, masked, resized and put in its place."""

import dataclasses
import warnings

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image as Picture
from torch import Tensor

from datamodules.colour import as_srgb
from datamodules.resize import scaled
from patchcanvas.image_file import read_image
from patchcanvas.making import as_known
from patchcanvas.mask_file import read_mask
from patchcanvas.outpainting.settings import OutpaintSettings
from patchcanvas.pictures import LARGEST_PROFILE
from sampling.images import to_uint8
from strategies.canvas import Known
from strategies.latent import extended

__all__ = ["Given", "given_of"]

OPAQUE = 255
MARKED = 0.5  # of a mask, white from 128 up, as in diffusers

Pixels = UInt8[Tensor, "3 height width"]
Kept = Bool[Tensor, "height width"]


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """An image and which of its pixels are kept; or the same of a whole canvas.

    Args:
        pixels: In 8-bit colour; where nothing is kept they are never looked at.
        kept: Which come back bit by bit.
        profile: What the colours of the image mean (ICC), where its file says so: the same values
            without it would look otherwise.
    """

    pixels: Pixels
    kept: Kept
    profile: bytes | None = None

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.pixels.shape[-2]

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self.pixels.shape[-1]

    def known(self, device: torch.device | str) -> Known:
        """Returns what a strategy is given."""
        return as_known(self.pixels[None], self.kept[None, None], device)

    def pasted(self, canvas: Pixels) -> Pixels:
        """Returns a canvas with the kept pixels in place, which are those of the image."""
        return self.pixels.where(self.kept, canvas)


def given_of(settings: OutpaintSettings) -> tuple[Given, dict[str, str]]:
    """Reads image and mask, puts them in their place, and returns the SHA-256 of both files too.

    Raises:
        ValueError: If a file cannot be read as an image, sizes do not go together, or there is
            nothing to paint, or nothing to go by.
        OSError: If there is no such file.
    """
    limit = settings.max_megapixels
    image, sha256 = read_image(settings.source, "image", as_stored=True, max_megapixels=limit)
    given, hashes = opaque(with_small_profile(image)), {"image": sha256}
    if settings.mask is not None:
        mask, hashes["mask"] = read_mask(settings.mask, "mask", max_megapixels=limit)
        given = masked(given, mask)
    given = placed(resized(given, settings.scale), settings.size, settings.corner)
    validate_unknown_pixels(given)
    return given, hashes


def with_small_profile(picture: Picture.Image) -> Picture.Image:
    """Returns a picture as it is, or in sRGB if its profile is larger than other programs read."""
    if len(picture.info.get("icc_profile") or b"") <= LARGEST_PROFILE:
        return picture

    def tell(text: str) -> None:
        warnings.warn(f"image: {text}.", stacklevel=3)

    tell(
        f"its colour profile is larger than the {LARGEST_PROFILE / 2**20:g} MiB that most programs "
        "read in a PNG: its colours are converted to sRGB"
    )
    return as_srgb(picture, tell)


def opaque(picture: Picture.Image) -> Given:
    """Returns an image of which the pixels are kept that are quite opaque."""
    pixels = as_pixels(picture)
    kept = torch.ones_like(pixels[0], dtype=torch.bool) if len(pixels) == 3 else pixels[3] == OPAQUE
    return Given(pixels[:3], kept, picture.info.get("icc_profile"))


def as_pixels(picture: Picture.Image) -> UInt8[Tensor, "bands height width"]:
    """Returns all bands of a picture."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def masked(given: Given, mask: Float[Tensor, "rows columns"]) -> Given:
    """Returns an image of which nothing is kept where the mask marks.

    Raises:
        ValueError: If the mask has another size.
    """
    high, wide = mask.shape
    if (wide, high) != (given.width, given.height):
        raise ValueError(
            f"mask must have the size of the image, {given.width} x {given.height} px (width x "
            f"height), got {wide} x {high} px."
        )
    return dataclasses.replace(given, kept=given.kept & (mask < MARKED))


def resized(given: Given, scale: float) -> Given:
    """Returns the image `scale` times as large; of its pixels those are kept that are made of kept.

    Lanczos' filter looks three pixels far. So that it finds no edge where something is missing,
    that is filled in first by what lies about it, and a pixel is kept if nothing is missing next to
    it.
    """
    if scale == 1:
        return given
    size = scaled(given.width, scale), scaled(given.height, scale)
    whole = to_uint8(extended(given.known("cpu")))[0] if not given.kept.all() else given.pixels
    picture = Picture.fromarray(whole.permute(1, 2, 0).numpy())
    missing = Picture.fromarray((~given.kept).float().numpy())
    share = np.array(missing.resize(size, Picture.Resampling.BILINEAR))
    pixels = as_pixels(picture.resize(size, Picture.Resampling.LANCZOS))
    return dataclasses.replace(given, pixels=pixels, kept=torch.from_numpy(share) == 0)


def placed(given: Given, size: tuple[int, int] | None, corner: tuple[int, int] | None) -> Given:
    """Returns the canvas with the image on it.

    Args:
        given: The image.
        size: Width and height of the canvas, in pixels; None for those of the image.
        corner: Left and top of the image's corner, in pixels; None for the middle.

    Raises:
        ValueError: If the image does not lie on the canvas.
    """
    width, height = size or (given.width, given.height)
    spare = width - given.width, height - given.height
    if min(spare) < 0:
        raise ValueError(
            f"the image must fit the canvas, which is {width} x {height} px (width x height): it "
            f"is {given.width} x {given.height} px; give a larger to=, or a smaller scale=."
        )
    left, top = corner or (spare[0] // 2, spare[1] // 2)
    if not (0 <= left <= spare[0] and 0 <= top <= spare[1]):
        raise ValueError(
            f"the image must lie on the canvas: at=LEFT,TOP must be from 0,0 to {spare[0]},"
            f"{spare[1]} for {given.width} x {given.height} px (width x height) on "
            f"{width} x {height} px, got {left},{top}."
        )
    place = (..., slice(top, top + given.height), slice(left, left + given.width))
    pixels = torch.zeros(3, height, width, dtype=torch.uint8)
    kept = torch.zeros(height, width, dtype=torch.bool)
    pixels[place], kept[place] = given.pixels, given.kept
    return dataclasses.replace(given, pixels=pixels, kept=kept)


def validate_unknown_pixels(given: Given) -> None:
    """Checks that there is something to paint, and something to go by.

    Raises:
        ValueError: If there is not.
    """
    if given.kept.all():
        raise ValueError(
            "there must be something to paint, but every pixel of the canvas is given: give a "
            "larger to=WIDTHxHEIGHT, a mask=FILE with something white, or an image with "
            "transparent pixels."
        )
    if not given.kept.any():
        raise ValueError(
            "there must be something to keep, but every pixel of the canvas would be painted: "
            "patchcanvas generate makes canvases from nothing."
        )
