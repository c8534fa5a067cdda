"""What is to be made: a canvas, and what of it is given."""

import dataclasses

import torch
from torch import Tensor

from denoisers.contract import Image, Mask, Sigma

__all__ = ["Canvas", "Known", "WindowEdges"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Canvas:
    """The size of what is generated; any size from one patch up.

    Args:
        height: Pixels from top to bottom.
        width: Pixels from left to right.
        channels: Channels of the image.
        wrap_height: Whether the bottom edge continues at the top.
        wrap_width: Whether the right edge continues at the left: a loop, a 360-degree panorama.
    """

    height: int
    width: int
    channels: int = 3
    wrap_height: bool = False
    wrap_width: bool = False

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.channels) < 1:
            raise ValueError(
                "height, width and channels must be at least 1, got "
                f"{self.height}, {self.width} and {self.channels}."
            )


@dataclasses.dataclass(frozen=True)
class Known:
    """Pixels that are given and come back bit by bit.

    Args:
        y: A canvas that holds the given pixels; its other pixels are never read.
        mask: True where `y` is given.
    """

    y: Image
    mask: Mask

    @classmethod
    def placed(cls, image: Image, canvas: Canvas, *, top: int = 0, left: int = 0) -> "Known":
        """Returns a canvas of which `image` is given, its top left corner at (top, left) px.

        Raises:
            ValueError: If it has other channels than the canvas, or does not lie inside.
        """
        height, width = image.shape[-2:]
        if image.shape[1] != canvas.channels:
            raise ValueError(
                f"an image must have the canvas's {canvas.channels} channels, got {image.shape[1]}."
            )
        if not (0 <= top <= canvas.height - height and 0 <= left <= canvas.width - width):
            raise ValueError(
                f"an image of {height} x {width} px at row {top}, column {left} must lie inside "
                f"the canvas of {canvas.height} x {canvas.width} px."
            )
        y = image.new_zeros(len(image), canvas.channels, canvas.height, canvas.width)
        mask = torch.zeros(1, 1, canvas.height, canvas.width, dtype=torch.bool, device=y.device)
        y[..., top : top + height, left : left + width] = image
        mask[..., top : top + height, left : left + width] = True
        return cls(y, mask)

    def pasted(self, image: Image) -> Image:
        """Returns `image` with the given pixels in place."""
        return self.y.where(self.mask, image)

    def noised(self, sigma: Sigma, eps: Image) -> "Known":
        """Returns the same pixels at the noise level `sigma`."""
        return Known(self.y + sigma * eps, self.mask)

    def only(self, image: Image) -> Image:
        """Returns `image` where pixels are given, and 0 elsewhere."""
        return image.where(self.mask, 0.0)

    def validate_fit(self, canvas: Canvas, samples: int) -> None:
        """Checks that this belongs to `samples` canvases of that size.

        Raises:
            ValueError: If it has another size, or neither one canvas nor one for each sample.
        """
        asked = (canvas.channels, canvas.height, canvas.width)
        if self.y.shape[1:] != asked or self.mask.shape[-2:] != asked[1:]:
            raise ValueError(
                f"known pixels must be given on the whole canvas, (channels, height, width) = "
                f"{asked}, got y of {tuple(self.y.shape[1:])} and a mask of "
                f"{tuple(self.mask.shape[1:])}."
            )
        if len(self.y) not in (1, samples):
            raise ValueError(
                f"known pixels must be given once or for each of {samples} samples, got "
                f"{len(self.y)}."
            )

    def padded(self, height: int, width: int) -> "Known":
        """Returns the same on a larger canvas whose added rows and columns are unknown."""
        return Known(_padded(self.y, height, width), _padded(self.mask, height, width))

    def for_each(self, samples: int) -> "Known":
        """Returns the same with a row for each of as many samples."""
        return Known(self.y.expand(samples, -1, -1, -1), self.mask.expand(samples, -1, -1, -1))


@dataclasses.dataclass(frozen=True)
class WindowEdges:
    """Where windows begin or end inside a canvas, in pixels: row r lies between r - 1 and r."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


def _padded(image: Tensor, height: int, width: int) -> Tensor:
    padded = image.new_zeros(*image.shape[:-2], height, width)
    padded[..., : image.shape[-2], : image.shape[-1]] = image
    return padded
