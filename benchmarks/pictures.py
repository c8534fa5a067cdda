"""Canvases as PNG."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from benchmarks.atomic import whole
from benchmarks.origin import CHUNK, Origin

__all__ = ["read_picture", "write_picture"]


def write_picture(
    canvas: UInt8[Tensor, "channels height width"],
    path: Path,
    *,
    origin: Origin | None = None,
    profile: bytes | None = None,
) -> None:
    """Writes a canvas in one stroke; a file that is there is whole.

    Args:
        canvas: The pixels.
        path: The file.
        origin: What it was made from.
        profile: What its colours mean (ICC); None for sRGB, which is not said.
    """
    texts = PngInfo()
    if origin is not None:
        texts.add_text(CHUNK, origin.text)
    picture = Picture.fromarray(canvas.permute(1, 2, 0).numpy())
    with whole(path) as part:
        picture.save(part, "PNG", pnginfo=texts, icc_profile=profile)


def read_picture(path: Path) -> UInt8[Tensor, "3 height width"]:
    """Reads what `write_picture` wrote."""
    with Picture.open(path) as picture:
        pixels = np.array(picture.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)
