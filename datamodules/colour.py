"""What the numbers of an image mean: ICC profiles, converted to sRGB."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

from datamodules.metadata import Tell

__all__ = ["as_rgb", "as_srgb", "has_rgb_profile"]

# By the space that a profile is for: bands that it applies to, and modes that have or stand for
# them.
BANDS = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
GREYS = ("1", "L", "LA")
MODES = {"RGB": ("RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "YCbCr", *GREYS), "L": GREYS}
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
PROBED = 18  # levels of each band on which a profile is compared with sRGB: every 15th


def has_rgb_profile(image: Image.Image) -> bool:
    """Whether an image says what its red, green and blue mean."""
    return _bands(image.info.get("icc_profile") or b"") == "RGB" and image.mode in MODES["RGB"]


def as_srgb(image: Image.Image, tell: Tell) -> Image.Image:
    """Returns an image of 8 bits as sRGB, with alpha if it knows transparency.

    Its profile is applied, as by a viewer that heeds profiles: relative colorimetric, with black
    point compensation. Of one that means sRGB, whatever its name, all values stay as they are. One
    that cannot be applied is left aside, and that is told.
    """
    profile = image.info.get("icc_profile")
    colours = as_rgb(image)
    if not profile:
        return colours
    try:
        converted = _converted(_of_bands(image, colours, _bands(profile)), profile)
    except (ValueError, OSError, ImageCms.PyCMSError) as error:
        tell(f"a colour profile was left aside ({error})")
        converted = colours.convert("RGB")
    converted.info.pop("icc_profile", None)
    if colours.mode == "RGBA":
        converted.putalpha(colours.getchannel("A"))
    return converted


def as_rgb(image: Image.Image) -> Image.Image:
    """Returns an image as RGB, or RGBA if it knows transparency; as it is, if it is that."""
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _bands(profile: bytes) -> str:
    """The bands a profile applies to; nothing for other spaces."""
    return BANDS.get(profile[16:20], "")


def _of_bands(image: Image.Image, colours: Image.Image, bands: str) -> Image.Image:
    """Returns the colours of an image without alpha.

    Raises:
        ValueError: If the image has no such bands.
    """
    if image.mode not in MODES.get(bands, (bands,)):
        raise ValueError(f"it is for {bands or 'other colours'}, the image is {image.mode}")
    if bands == "RGB":
        return colours.convert("RGB")
    return image if image.mode == bands else colours.getchannel(0)


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    transform = _to_srgb(profile, image.mode)
    if transform is None:
        return as_rgb(image)
    return ImageCms.applyTransform(image, transform)  # type: ignore[return-value]  # not in place


@functools.lru_cache(maxsize=32)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns what converts to sRGB; None for a profile that already is."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=INTENT,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return None if mode != "CMYK" and _changes_nothing(transform, mode) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether no colour moves by more than one level, which is what rounding may do."""
    levels = np.linspace(0, 255, PROBED).astype(np.uint8)
    bands = np.meshgrid(*[levels] * len(mode), indexing="ij")
    colours = Image.merge(mode, [Image.fromarray(band.reshape(PROBED, -1)) for band in bands])
    before, after = np.asarray(colours.convert("RGB")), ImageCms.applyTransform(colours, transform)
    return int(np.abs(before.astype(int) - np.asarray(after)).max()) <= 1
