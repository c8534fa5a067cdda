"""The backbone without weights: an image's tokens are the mean colours of its cells."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F
from typing_extensions import override

from backbones.contract import Backbone, Tokens, checked_grid
from denoisers.contract import Image

__all__ = ["Downsampled"]


class Downsampled(Backbone):
    """Mean colours, in [-1, 1]: the global token of all the image, a local one of its cell.

    Nothing is normalised, for brightness is what these tokens say. Where the sides are no multiples
    of the grid, the cells that meet in a pixel share it.

    Args:
        grid: Rows and columns of cells.

    Raises:
        ValueError: If the grid is not two numbers from 1 up.
    """

    def __init__(self, grid: Sequence[int] = (4, 4)) -> None:
        rows_and_columns = checked_grid(grid)
        init_args = {"grid": list(rows_and_columns)}
        super().__init__(
            init_args, features=3, grid=rows_and_columns, weights={}, settings=init_args
        )

    @override
    def encode(self, images: Image) -> Tokens:
        cells = F.adaptive_avg_pool2d(images, self.grid)
        return torch.cat([images.mean((2, 3))[:, None], cells.flatten(2).mT], dim=1)

    @override
    def move(self, device: torch.device) -> None:
        pass
