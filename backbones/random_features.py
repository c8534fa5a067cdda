"""A frozen network of random filters: what a backbone says before it has learnt anything.

Two convolutions with rectifiers, scaled as in [HE] Eq. (10) so that neither makes its input larger
or smaller, then the mean over each cell and the layer normalisation that learned transformers end
with [LN].

References:
    [HE] He et al., Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet
    Classification, 2015. arXiv:1502.01852
    [LN] Ba et al., Layer Normalization, 2016. arXiv:1607.06450
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from backbones.contract import Backbone, Tokens, checked_grid
from denoisers.contract import Image

__all__ = ["RandomFeatures"]

STEPS = 2**15  # weights are whole numbers of so many steps to either side
FIRST_BIAS = 0.5  # about what an image puts into a filter: grey, too, then has features of its own


class RandomFeatures(Backbone):
    """Seeded random features of an image of any size, down to one pixel.

    Each token has mean 0 and variance 1 over its features.

    Args:
        features: Length of a token.
        grid: Rows and columns of the local tokens.
        seed: Seeds the filters. Integers are drawn, so every machine draws the same ones.

    Raises:
        ValueError: If there are fewer than 2 features, or the grid is not two numbers from 1 up.
    """

    def __init__(self, features: int = 64, grid: Sequence[int] = (4, 4), seed: int = 0) -> None:
        if features < 2:
            raise ValueError(f"features must be at least 2, got {features}.")
        rows_and_columns = checked_grid(grid)
        init_args = {"features": features, "grid": list(rows_and_columns), "seed": seed}
        generator = torch.Generator().manual_seed(seed)
        self._weights = {
            "first": _filters(features, 3, generator),
            "bias": FIRST_BIAS * _uniform((features,), generator),
            "second": _filters(features, features, generator),
        }
        super().__init__(
            init_args,
            features=features,
            grid=rows_and_columns,
            weights=self._weights,
            settings={"grid": list(rows_and_columns)},
        )

    @override
    def encode(self, images: Image) -> Tokens:
        fine = _convolved(images, self._weights["first"], self._weights["bias"])
        coarse = _convolved(F.avg_pool2d(fine, 2, ceil_mode=True), self._weights["second"])
        cells = F.adaptive_avg_pool2d(coarse, self.grid).flatten(2).mT
        tokens = torch.cat([coarse.mean((2, 3))[:, None], cells], dim=1)
        return F.layer_norm(tokens, (self.features,))

    @override
    def move(self, device: torch.device) -> None:
        self._weights = {name: weight.to(device) for name, weight in self._weights.items()}


def _convolved(
    x: Float[Tensor, "batch inputs height width"],
    filters: Float[Tensor, "features inputs 3 3"],
    bias: Float[Tensor, " features"] | None = None,
) -> Float[Tensor, "batch features height width"]:
    """Filters and rectifies; an image goes on beyond its border as it ends there."""
    return F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), filters, bias))


def _filters(
    features: int, inputs: int, generator: torch.Generator
) -> Float[Tensor, "features inputs 3 3"]:
    """Returns 3 x 3 filters with variance 2 / (9 * inputs), [HE] Eq. (10)."""
    return (2 / (9 * inputs)) ** 0.5 * _uniform((features, inputs, 3, 3), generator)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "..."]:
    """Returns numbers of mean 0 and variance 1, uniform in [-sqrt(3), sqrt(3)]."""
    drawn = torch.randint(-STEPS, STEPS + 1, shape, generator=generator)
    return drawn / STEPS * 3**0.5
