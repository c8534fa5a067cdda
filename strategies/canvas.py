"""What is to be made: a canvas, and what of it is given."""

import dataclasses

from torch import Tensor

from denoisers.contract import Image, Mask

__all__ = ["Borders", "Canvas", "Known"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Canvas:
    """The size of what is generated; any size from one patch up.

    Args:
        height: Pixels from top to bottom.
        width: Pixels from left to right.
        channels: Channels of the image.
    """

    height: int
    width: int
    channels: int = 3

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

    def pasted(self, image: Image) -> Image:
        """Returns `image` with the given pixels in place."""
        return self.y.where(self.mask, image)

    def padded(self, height: int, width: int) -> "Known":
        """Returns the same on a larger canvas whose added rows and columns are unknown."""
        return Known(_padded(self.y, height, width), _padded(self.mask, height, width))


@dataclasses.dataclass(frozen=True)
class Borders:
    """Where windows begin or end inside a canvas, in pixels: row r lies between r - 1 and r."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


def _padded(image: Tensor, height: int, width: int) -> Tensor:
    padded = image.new_zeros(*image.shape[:-2], height, width)
    padded[..., : image.shape[-2], : image.shape[-1]] = image
    return padded
