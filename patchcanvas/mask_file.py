"""Masks that people paint: white on black, or strokes on a transparent ground."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image as Picture
from torch import Tensor

from patchcanvas.image_file import MAX_MEGAPIXELS, read_image

__all__ = ["masked_shares", "read_mask"]

HALF = 128  # from here up a level is white, and a pixel opaque
# What no longer counts as black or white, and how much red, green and blue of a grey may differ
# after lossy compression.
DARK, LIGHT, TINGE = 64, 192, 48
FEW = 0.01  # share of the pixels that may be otherwise: edges of strokes, and compression

Shares = Float[Tensor, "height width"]


def read_mask(
    path: Path, setting: str, *, max_megapixels: float = MAX_MEGAPIXELS
) -> tuple[Shares, str]:
    """Returns how much of each pixel a mask marks, 0 to 1, and the file's SHA-256 in hexadecimal.

    Args:
        path: The file.
        setting: What names it, for errors.
        max_megapixels: Most pixels that are decoded, in millions.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no image, or one that can be understood in two ways, or marks
            nothing.
    """
    picture, sha256 = read_image(path, setting, as_stored=True, max_megapixels=max_megapixels)
    try:
        return masked_shares(picture), sha256
    except ValueError as error:
        raise ValueError(
            f"{setting} must be white on black where it marks, or strokes on a transparent ground, "
            f"but {path} {error}."
        ) from error


def masked_shares(picture: Picture.Image) -> Shares:
    """Returns how much of each pixel is marked, 0 to 1.

    Where all is opaque, that is how white it is. On a transparent ground it is how opaque it is,
    whatever the colour, with the most opaque pixel as 1: a brush may be half transparent.

    Raises:
        ValueError: If it can be understood in two ways, or nothing is marked.
    """
    colours = torch.from_numpy(np.array(picture.convert("RGB")))
    if picture.mode == "RGBA":
        alpha = torch.from_numpy(np.array(picture.getchannel("A")))
        if (alpha < HALF).any():
            return _strokes(colours, alpha)
    _validate_grey(colours)
    shares = torch.from_numpy(np.array(picture.convert("RGB").convert("L"))) / 255
    if not (shares >= HALF / 255).any():
        raise ValueError("marks nothing: no pixel of it is white")
    return shares


def _strokes(
    colours: UInt8[Tensor, "height width 3"], alpha: UInt8[Tensor, "height width"]
) -> Shares:
    if not alpha.any():
        raise ValueError("marks nothing: every pixel of it is transparent")
    shares = alpha / alpha.max()
    painted = shares >= 0.5
    if painted[[0, 0, -1, -1], [0, -1, 0, -1]].all():
        raise ValueError(
            "has a ground that is opaque and holes that are transparent, and does not say which of "
            "the two it marks: fill the one with white and the other with black"
        )
    levels = colours[painted].float().mean(-1)
    if _some(levels < DARK) and _some(levels >= LIGHT):
        raise ValueError(
            "is partly transparent, and of what is opaque both black and white: either could mean "
            "to mark; leave out one of the three"
        )
    return shares


def _validate_grey(colours: UInt8[Tensor, "height width 3"]) -> None:
    tinge = colours.amax(-1).int() - colours.amin(-1).int()
    if _some(tinge > TINGE):
        share = (tinge > TINGE).float().mean()
        raise ValueError(
            f"is in colour ({100 * share:.0f} % of it) and nowhere transparent: a picture in place "
            "of its mask? Paint white on black, or save the strokes without the picture"
        )


def _some(found: Bool[Tensor, " ..."]) -> bool:
    """Whether there are more of these than edges and compression account for."""
    return bool(found.float().mean() > FEW)
