"""Images of other than 8 bits, brought to them."""

import numpy as np
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

__all__ = ["eight_bits", "stretch_transparency"]

WHITE_IS_ZERO = 0  # of a TIFF's PhotometricInterpretation
STRETCHED = {"L;2": 85, "L;4": 17}  # of PNG greys, what Pillow multiplies a level by
SIXTEEN = ("PNG", "PPM")  # formats whose whole numbers, mode I, are of 16 bits


def eight_bits(image: Image.Image) -> Image.Image:
    """Returns a decoded image with 8 bits a band, or fewer; its info goes along.

    Of greys it is the nearest of 256 levels. (Of colours with 16 bits Pillow keeps the upper 8.)

    Raises:
        ValueError: If its numbers have no range that all agree on.
    """
    if image.mode == "F" or (image.mode == "I" and image.format not in SIXTEEN):
        kind = "floating-point" if image.mode == "F" else "signed or 32-bit"
        raise ValueError(f"{kind} pixels have no agreed range; save it as 8 or 16 bits")
    if image.mode.startswith("I"):
        return _grey(image)
    return image.convert("LA") if image.mode == "La" else image


def stretch_transparency(image: ImageFile.ImageFile) -> None:
    """Says which level of a PNG is transparent as one of 8 bits, as Pillow decodes its pixels.

    Pillow leaves it in the 2, 4 or 16 bits of the file. It is to be called before decoding.
    """
    transparent = image.info.get("transparency")
    if image.format != "PNG" or transparent is None or not image.tile:
        return
    layout = image.tile[0][3]
    if layout in STRETCHED:
        image.info["transparency"] = transparent * STRETCHED[layout]
    elif layout == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in transparent)


def _grey(image: Image.Image) -> Image.Image:
    """Maps greys of 12 or 16 bits: 65535 = 255 * 257. The one that is transparent stays so."""
    values, white = np.asarray(image), _white(image)
    levels = ((values.astype(np.uint32) * 255 + white // 2) // white).clip(0, 255).astype(np.uint8)
    if _tag(image, ExifTags.Base.PhotometricInterpretation) == WHITE_IS_ZERO:
        levels = 255 - levels  # Pillow does that of 8 bits alone
    grey = Image.fromarray(levels)
    if (transparent := image.info.get("transparency")) is not None:
        opaque = np.where(values == transparent, 0, 255).astype(np.uint8)
        grey = Image.merge("LA", (grey, Image.fromarray(opaque)))
    grey.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return grey


def _white(image: Image.Image) -> int:
    """The largest value; Pillow unpacks the 12 bits of a TIFF, but does not stretch them."""
    return 2**12 - 1 if _tag(image, ExifTags.Base.BitsPerSample) == (12,) else 2**16 - 1


def _tag(image: Image.Image, tag: ExifTags.Base) -> object:
    return image.tag_v2.get(tag) if isinstance(image, TiffImagePlugin.TiffImageFile) else None
