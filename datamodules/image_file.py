"""Encoded images: what a picture that somebody hands over becomes."""

import io

import numpy as np
from PIL import Image, ImageOps

__all__ = ["decode", "decode_with_alpha"]


def decode(data: bytes) -> Image.Image:
    """Reads an image file as upright 8-bit RGB; what is transparent becomes white.

    Raises:
        Exception: Of whatever type the decoder of that format raises, if the data is damaged.
    """
    image = decode_with_alpha(data)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def decode_with_alpha(data: bytes) -> Image.Image:
    """Reads an image file as upright 8-bit RGB, or RGBA where the file knows transparency.

    Of several frames it is the first. What has 16 bits is brought to 8.

    Raises:
        Exception: Of whatever type the decoder of that format raises, if the data is damaged.
    """
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode == "F":
            raise ValueError("floating-point pixels have no agreed range; save it as 8 or 16 bits")
        if image.mode.startswith("I"):
            image = _eight_bits(image)
        return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Maps 16-bit greys to 8 bits: 65535 = 255 * 257; the one that is transparent stays so."""
    values = np.asarray(image)
    grey = Image.fromarray((values / 257).round().clip(0, 255).astype(np.uint8))
    if "transparency" not in image.info:
        return grey
    opaque = np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)
    return Image.merge("LA", (grey, Image.fromarray(opaque)))
