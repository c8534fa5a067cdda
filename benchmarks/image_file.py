"""Image files that a command line names: read whole, or refused in one sentence."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image as Picture

from datamodules.image_file import decode

__all__ = ["read_image"]


def read_image(
    path: Path, setting: str, decoder: Callable[[bytes], Picture.Image] = decode
) -> tuple[Picture.Image, str]:
    """Returns the image of a file, and the file's SHA-256 in hexadecimal.

    Args:
        path: The file.
        setting: What names it, for errors.
        decoder: Makes a picture of the file's bytes; by default one that is upright, in 8-bit
            colour.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no image that can be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{setting} must be an image file, but there is no {path}.")
    content = path.read_bytes()
    try:
        picture = decoder(content)
    except Exception as error:  # decoders raise whatever they like
        raise ValueError(
            f"{setting} must be an image file, but {path} cannot be read as one ({error})."
        ) from error
    return picture, hashlib.sha256(content).hexdigest()
