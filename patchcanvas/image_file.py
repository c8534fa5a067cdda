"""Image files that a command line names: read whole, or refused in one sentence."""

import hashlib
import math
import warnings
from pathlib import Path

from PIL import Image as Picture

from datamodules.image_file import MAX_MEGAPIXELS, decode, decode_with_alpha

__all__ = ["MAX_MEGAPIXELS", "read_image", "validate_max_megapixels"]


def read_image(
    path: Path, setting: str, *, as_stored: bool = False, max_megapixels: float = MAX_MEGAPIXELS
) -> tuple[Picture.Image, str]:
    """Returns the image of a file, upright and of 8 bits, and the file's SHA-256 in hexadecimal.

    Warns of metadata that cannot be read and were left aside.

    Args:
        path: The file.
        setting: What names it, for errors.
        as_stored: Whether it comes with its own values of red, green and blue, its alpha and its
            profile; otherwise it is of sRGB, on white.
        max_megapixels: Most pixels that are decoded, in millions.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no image that can be read, or one of too many pixels.
    """
    if path.is_dir():
        raise ValueError(
            f"{setting} must be an image file, but {path} is a folder: name an image in it."
        )
    if not path.is_file():
        raise FileNotFoundError(f"{setting} must be an image file, but there is no {path}.")
    content = path.read_bytes()
    left_aside: list[str] = []
    decoder = decode_with_alpha if as_stored else decode
    try:
        picture = decoder(content, max_megapixels=max_megapixels, tell=left_aside.append)
    except Exception as error:  # decoders raise whatever they like
        raise ValueError(
            f"{setting} must be an image file, but {path} cannot be read as one ({error})."
        ) from error
    for text in left_aside:
        warnings.warn(f"{setting}: of {path}, {text}.", stacklevel=2)
    return picture, hashlib.sha256(content).hexdigest()


def validate_max_megapixels(max_megapixels: float) -> None:
    """Checks a setting.

    Raises:
        ValueError: If no image would be read.
    """
    if not 0 < max_megapixels < math.inf:
        raise ValueError(f"max_megapixels must be a finite number above 0, got {max_megapixels}.")
