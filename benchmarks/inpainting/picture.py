"""Completions side by side: a row a photograph, a column a strategy."""

from pathlib import Path

import torch
from jaxtyping import Bool, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from patchcanvas.plotting import style, write

__all__ = ["draw_grid", "masked"]

Pictures = UInt8[Tensor, "samples 3 height width"]

ENLARGED = 4  # dots along the side of a pixel
DOTS, FONT, GAP = 100, 8, 2  # dots an inch, points, pixels between images
HEAD, NARROWEST = 40, 28  # dots for names, pixels of a column that names need
UNKNOWN = (255, 0, 255)  # no landscape and few photographs have it


def masked(images: Pictures, known: Bool[Tensor, "samples 1 height width"]) -> Pictures:
    """Returns images with their unknown pixels in magenta."""
    magenta = torch.tensor(UNKNOWN, dtype=torch.uint8).view(1, 3, 1, 1)
    return images.where(known, magenta)


def draw_grid(columns: dict[str, Pictures], path: Path) -> None:
    """Writes a PNG with a column of images for each name, every pixel a square of dots."""
    stacks = {name: _stacked(images) for name, images in columns.items()}
    high, width = next(iter(stacks.values())).shape[1:]
    pitch = (max(width, NARROWEST) + GAP) * ENLARGED
    size = len(columns) * pitch, high * ENLARGED + HEAD
    with style(FONT):
        figure = Figure(figsize=(size[0] / DOTS, size[1] / DOTS), dpi=DOTS)
        for number, (name, stack) in enumerate(stacks.items()):
            dots = stack.repeat_interleave(ENLARGED, 1).repeat_interleave(ENLARGED, 2)
            figure.figimage(dots.permute(1, 2, 0).numpy(), xo=number * pitch, origin="upper")
            place = (number * pitch + width * ENLARGED / 2) / size[0], 1 - HEAD * 0.9 / size[1]
            figure.text(*place, name, ha="center", va="bottom")
        write(figure, path)


def _stacked(images: Pictures) -> UInt8[Tensor, "3 high wide"]:
    """Returns images one under the other, with white gaps."""
    gap = torch.full((*images.shape[1:2], GAP, images.shape[-1]), 255, dtype=torch.uint8)
    parts = [part for image in images for part in (image, gap)]
    return torch.cat(parts[:-1], dim=1)
