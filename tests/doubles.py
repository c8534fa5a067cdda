"""Denoisers that many tests put in the place of a trained network, and how they remember."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoisers.checkpoint import save_denoiser
from denoisers.contract import Image, Sigma
from denoisers.gaussian import GaussianDenoiser, GaussianField
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet


class IndependentPixels:
    """The exact denoiser of pixels that know nothing of each other: N(mean, std^2) each.

    Args:
        patch_size: Side of its windows.
        multiple: Of what its sides must be.
        channels: Of its images.
        mean: Of a pixel.
        std: Of a pixel.
        takes_noise_maps: Whether levels may differ from pixel to pixel.
    """

    def __init__(
        self,
        patch_size: int = 8,
        *,
        multiple: int = 2,
        channels: int = 3,
        mean: float = 0.0,
        std: float = 1.0,
        takes_noise_maps: bool = True,
    ) -> None:
        self.patch_size, self.multiple, self.channels = patch_size, multiple, channels
        self.mean, self.variance = mean, std**2
        self.takes_noise_maps = takes_noise_maps
        self.shown: list[tuple[Image, Sigma, Any]] = []

    @property
    def calls(self) -> list[tuple[int, int, int]]:
        """The batch, the height and the width of all that it was shown."""
        return [(len(x_t), *x_t.shape[-2:]) for x_t, _, _ in self.shown]

    @property
    def batches(self) -> list[int]:
        """How many windows it was shown at a time."""
        return [len(x_t) for x_t, _, _ in self.shown]

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        self.shown.append((x_t, sigma, context))
        return self.mean + self.variance / (self.variance + sigma.square()) * (x_t - self.mean)


class Blurred(IndependentPixels):
    """A mean over 3 x 3 pixels, each weighed by its own level, and zero beyond the window.

    An image knows nothing of its batch, to the last bit; where its level is 0 a pixel stays as it
    is, and no other is exactly 0.
    """

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        weighed = super().__call__(x_t, sigma, context) + 0.1
        return torch.where(sigma == 0, x_t, F.avg_pool2d(weighed, 3, stride=1, padding=1))


class Spy(GaussianDenoiser):
    """The exact denoiser of a field in windows of 8 px, and a list of what it was given."""

    def __init__(self, field: GaussianField | None = None) -> None:
        super().__init__(field or GaussianField(mean=0.2, variance=0.5), patch_size=8)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, x_t, sigma, context=None):
        self.seen.append((x_t, sigma))
        return super().__call__(x_t, sigma, context)


def awake(network: nn.Module, *, std: float = 0.1, seed: int = 0) -> nn.Module:
    """Returns a network as if trained: a fresh one ends in zeros, which hide what goes wrong."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=std, generator=generator)
    return network


def save_tiny(path: Path, *, seed: int = 0) -> Path:
    """Writes a checkpoint of the smallest U-Net, of windows of 16 px, as if trained."""
    network = awake(UNet(channels=(32,), blocks=(1,), attention_levels=0), seed=seed)
    save_denoiser(EDMPrecond(network, 16), path, provenance={"command": "none: untrained"})
    return path
