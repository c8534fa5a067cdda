"""Canvases as PNG."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from datamodules.image_file import opened
from patchcanvas.files import whole
from patchcanvas.provenance import CHUNK, Provenance

__all__ = ["LARGEST_PROFILE", "read_picture", "write_picture"]

LARGEST_PROFILE = 2**20  # bytes: of a PNG with a larger one Pillow does not read the pixels either


def write_picture(
    canvas: UInt8[Tensor, "channels height width"],
    path: Path,
    *,
    origin: Provenance | None = None,
    profile: bytes | None = None,
) -> None:
    """Writes a canvas in one stroke; a file that is there is whole.

    Args:
        canvas: The pixels.
        path: The file.
        origin: What it was made from.
        profile: What its colours mean (ICC); None for sRGB, which is not said.

    Raises:
        OSError: If it cannot be written, or cannot be read as it was written.
    """
    texts = PngInfo()
    if origin is not None:
        texts.add_text(CHUNK, origin.text)
    picture = Picture.fromarray(canvas.permute(1, 2, 0).numpy())
    with whole(path) as part:
        picture.save(part, "PNG", pnginfo=texts, icc_profile=profile)
        if not _reads_as(part, picture, None if origin is None else origin.text, profile):
            raise OSError(f"{path} was written, but does not read as it was written.")


def read_picture(path: Path) -> UInt8[Tensor, "3 height width"]:
    """Reads what `write_picture` wrote, of any size."""
    with opened(path) as picture:
        pixels = np.array(picture.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _reads_as(file: Path, picture: Picture.Image, text: str | None, profile: bytes | None) -> bool:
    """Whether a file holds these pixels, this record and this profile."""
    try:
        with opened(file) as found:
            texts = getattr(found, "text", {})  # a PNG has some
            kept = texts.get(CHUNK) == text and found.info.get("icc_profile") == profile
            return kept and np.array_equal(np.asarray(found), np.asarray(picture))
    except Exception as error:  # decoders raise whatever they like
        raise OSError(f"{file} was written, but cannot be read ({error}).") from error
