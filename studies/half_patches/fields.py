"""Samples of a Gaussian field as training patches: the exact estimate of any half is known."""

import torch
from torch import Generator
from typing_extensions import override

from datamodules.patches import Crop, PatchData, Split
from denoisers.gaussian import GaussianField
from sampling.images import to_uint8
from sampling.noise import seed_of

__all__ = ["FIELD", "Fields"]

# Smooth, and long enough that a half says much of the other one. Values beyond [-1, 1] lie four
# deviations out, and bytes round by 0.0023, a twentieth of the lowest level that is looked at.
FIELD = GaussianField(
    rows="matern32",
    columns="matern32",
    rows_length=6.0,
    columns_length=6.0,
    variance=0.0625,
    channels=3,
)


class Fields(PatchData):
    """Samples of `FIELD`; crops of different sizes have nothing in common.

    The arguments are those of `PatchData`.
    """

    @override
    def crop(self, split: Split, index: int, height: int, width: int) -> Crop:
        generator = Generator().manual_seed(seed_of(self.seed, split, index))
        eps = torch.randn(
            1, FIELD.channels, height, width, generator=generator, dtype=torch.float64
        )
        return to_uint8(FIELD.sample(eps))[0]
