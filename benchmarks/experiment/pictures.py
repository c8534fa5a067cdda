"""The first canvases of a row, as PNG in the folder of a run."""

from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from patchcanvas.pictures import read_picture, write_picture

__all__ = ["picture_files", "read_pictures", "write_pictures"]

Canvases = UInt8[Tensor, "samples 3 height width"]


def picture_files(row: str, count: int) -> list[str]:
    """Returns where pictures of a row's first canvases go, relative to the folder."""
    return [f"canvases/{row}-{index:03d}.png" for index in range(count)]


def write_pictures(folder: Path, row: str, canvases: Iterable[Tensor]) -> list[str]:
    """Writes canvases as PNG; returns their paths relative to the folder."""
    canvases = list(canvases)
    files = picture_files(row, len(canvases))
    for file, canvas in zip(files, canvases, strict=True):
        write_picture(canvas, folder / file)
    return files


def read_pictures(folder: Path, files: Iterable[str]) -> Canvases:
    """Reads what `write_pictures` wrote."""
    return torch.stack([read_picture(folder / file) for file in files])
