"""Encoded images: what a picture that somebody hands over becomes.

One reader for all of them, so that a photograph means the same wherever it is given: upright, of 8
bits, and (but where its own numbers are to come back) in sRGB. What is done with each kind of image
is listed in docs/images.md.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from datamodules.bit_depth import eight_bits, stretch_transparency
from datamodules.colour import as_rgb, as_srgb, has_rgb_profile
from datamodules.metadata import Tell, exif_of_png, orientation, without_metadata
from datamodules.pillow_limits import forward_warnings, no_limits

__all__ = [
    "MAX_MEGAPIXELS",
    "TooLargeError",
    "decode",
    "decode_resized",
    "decode_with_alpha",
    "on_white",
    "opened",
    "upright_size",
    "warn_of_metadata",
]

MAX_MEGAPIXELS = 512.0
BYTES = 4  # of a decoded pixel of any colour, as Pillow holds it
# A JPEG is decoded at 1/2, 1/4 or 1/8 as long as that is so many times the size asked for. Then, of
# 2.5 megapixels, the result differs from that of a full decode by 0.4 to 0.7 grey levels (root mean
# square), rounding's own 0.35 included; at twice the size it is up to 1.0 (docs/images.md).
MARGIN = 3
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WIDTH_AND_HEIGHT = ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength

Source = bytes | Path
Box = tuple[float, float, float, float]
Read = TypeVar("Read")


class TooLargeError(ValueError):
    """An image of more pixels than are decoded."""


def warn_of_metadata(text: str) -> None:
    """Warns; of many images that lack the same, Python shows one."""
    warnings.warn(f"of an image, {text}.", stacklevel=1)


def decode(
    source: Source, *, max_megapixels: float = MAX_MEGAPIXELS, tell: Tell = warn_of_metadata
) -> Image.Image:
    """Reads an image as upright 8-bit sRGB; what is transparent becomes white.

    Args:
        source: What the file holds, or the file.
        max_megapixels: Most pixels that are decoded, in millions.
        tell: Is told of metadata that were left aside.

    Raises:
        TooLargeError: If it has more pixels.
        Exception: Of whatever type the decoder of that format raises, if the data is damaged.
    """
    return on_white(as_srgb(_loaded(source, max_megapixels, tell), tell))


def decode_resized(
    source: Source,
    height: int,
    width: int,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    tell: Tell = warn_of_metadata,
) -> Image.Image:
    """Reads an image as `decode` does, and brings it to `height` x `width` px by Lanczos.

    A JPEG that is much larger is decoded at a half, a quarter or an eighth of its size, for less
    time and memory; `max_megapixels` is about what is decoded then.

    Raises:
        TooLargeError: If more pixels would have to be decoded.
        Exception: Of whatever type the decoder of that format raises, if the data is damaged.
    """
    size = (width, height)
    image = on_white(as_srgb(_loaded(source, max_megapixels, tell, near=size), tell))
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def decode_with_alpha(
    source: Source, *, max_megapixels: float = MAX_MEGAPIXELS, tell: Tell = warn_of_metadata
) -> Image.Image:
    """Reads an image as upright 8-bit RGB, or RGBA where the file knows transparency.

    Its values are those of the file: a profile of RGB is not applied, and stays in the picture's
    `info["icc_profile"]`. Greys and CMYK become sRGB by theirs.

    Raises:
        TooLargeError: If it has more pixels than `max_megapixels` millions.
        Exception: Of whatever type the decoder of that format raises, if the data is damaged.
    """
    image = _loaded(source, max_megapixels, tell)
    if not has_rgb_profile(image):
        return as_srgb(image, tell)
    return as_rgb(image)


def upright_size(source: Source, *, tell: Tell = warn_of_metadata) -> tuple[int, int]:
    """Returns height and width of an image as it is seen, in pixels, without decoding them.

    Raises:
        Exception: Of whatever type Pillow raises, if it is no image.
    """

    def size(source: Source, tell: Tell) -> tuple[int, int]:
        with opened(source, tell) as image:
            turned = _orientation(image, tell) > 4
            if isinstance(image, TiffImagePlugin.TiffImageFile):  # some Pillows turn its size
                width, height = (image.tag_v2[tag] for tag in WIDTH_AND_HEIGHT)
            else:
                width, height = image.size
        return (width, height) if turned else (height, width)

    return _despite_metadata(size, source, tell)


def on_white(image: Image.Image) -> Image.Image:
    """Returns a picture of RGB or RGBA as RGB; what is transparent becomes white."""
    if image.mode == "RGB":
        return image
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")


@contextlib.contextmanager
def opened(source: Source, tell: Tell = warn_of_metadata) -> Iterator[ImageFile.ImageFile]:
    """An image of any number of pixels, which are decoded when they are asked for.

    Raises:
        Exception: Of whatever type Pillow raises, if it is no image or its metadata are damaged.
    """
    with no_limits(), io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as f:
        with forward_warnings(tell):
            image = Image.open(f)
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                image.info.pop("xmp", None)  # where Pillow would look for an orientation
                for block in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                    image.getexif().get_ifd(block)
            if image.format == "PNG" and "exif" not in image.info:
                image.info["exif"] = exif_of_png(_content(source))
        with image:
            yield image


def _content(source: Source) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _despite_metadata(read: Callable[[Source, Tell], Read], source: Source, tell: Tell) -> Read:
    """Returns what is read of an image; if that fails, of the image without its metadata.

    Of all that may be wrong with the metadata, the last is told, once.
    """
    said: list[str] = []
    try:
        found = _read_despite_metadata(read, source, said.append)
    finally:
        for text in said[-1:]:
            tell(text)
    return found


def _read_despite_metadata(
    read: Callable[[Source, Tell], Read], source: Source, tell: Tell
) -> Read:
    try:
        return read(source, tell)
    except (TooLargeError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever they like
        bare = without_metadata(_content(source))
        if bare is None:
            raise
        try:
            found = read(bare, tell)
        except Exception:
            raise error from None
        tell(f"metadata that cannot be read were left aside ({error})")
        return found


def _orientation(image: Image.Image, tell: Tell) -> int:
    try:
        with forward_warnings(tell):
            return orientation(image)
    except Exception as error:  # so may what reads Exif
        tell(f"Exif that cannot be read was left aside ({error})")
        return 1


def _loaded(
    source: Source, max_megapixels: float, tell: Tell, near: tuple[int, int] | None = None
) -> Image.Image:
    """Returns an image with its pixels, of 8 bits and upright.

    Args:
        source: What the file holds, or the file.
        max_megapixels: Most pixels that are decoded, in millions.
        tell: Is told of metadata that were left aside.
        near: Width and height that are asked for: a JPEG much larger comes in this size.
    """

    def load(source: Source, tell: Tell) -> Image.Image:
        with opened(source, tell) as image:
            turn = _orientation(image, tell)
            box = None if near is None else _reduced(image, near[::-1] if turn > 4 else near)
            validate_image_size(image.size, max_megapixels)
            stretch_transparency(image)
            image.load()
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                turn = orientation(image)  # Pillow has turned it, and says so
            found = eight_bits(image)
        if near is not None and box is not None:
            size = near[::-1] if turn > 4 else near
            found = found.resize(size, Image.Resampling.LANCZOS, box=box)
        return found.transpose(TURNS[turn]) if turn in TURNS else found

    return _despite_metadata(load, source, tell)


def _reduced(image: Image.Image, near: tuple[int, int]) -> Box | None:
    """Has a JPEG decoded smaller; returns what of that is the image, None if it stays whole."""
    whole = image.size
    drafted = image.draft(None, (MARGIN * near[0], MARGIN * near[1]))
    if drafted is None or image.size == whole:
        return None
    left, top, right, bottom = map(float, drafted[1])
    return left, top, right, bottom


def validate_image_size(size: tuple[int, int], max_megapixels: float) -> None:
    """Checks how many pixels would be decoded.

    Raises:
        TooLargeError: If they are too many.
    """
    megapixels = size[0] * size[1] / 1e6
    if megapixels > max_megapixels:
        raise TooLargeError(
            f"it has {megapixels:,.6g} megapixels ({size[0]} x {size[1]} px), more than "
            f"max_megapixels={max_megapixels:g}: decoded it takes "
            f"{BYTES * megapixels / 1000:.2g} GB of memory and as much again to work on; where "
            f"there is enough, set max_megapixels={math.ceil(megapixels)}, else make it smaller"
        )
