"""How many network calls a picture takes, counted where a call costs nothing.

Nothing is derived: the strategy is run dry, with the same pixels given.
"""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from denoisers.contract import Image
from patchcanvas.accounting import Metered
from patchcanvas.budget import FreeDenoiser
from patchcanvas.context.conditioner import Telling
from patchcanvas.model import Model
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas, Known
from strategies.latent import on_latents

__all__ = ["FreeCodec", "network_calls"]

Latents = Float[Tensor, "batch latent_channels rows columns"]


@dataclasses.dataclass(frozen=True)
class FreeCodec:
    """Means of cells, and back; it has the sizes of an autoencoder.

    Args:
        scale: Pixels of the image along a side of a pixel of the latents.
        channels: Channels of the images.
        latent_channels: Channels of the latents.
    """

    scale: int
    channels: int
    latent_channels: int

    def encode(self, images: Image) -> Latents:
        """Returns the mean of each cell, in every channel."""
        means = F.avg_pool2d(images, self.scale).mean(1, keepdim=True)
        return means.expand(-1, self.latent_channels, -1, -1)

    def decode(self, latents: Latents) -> Image:
        """Returns cells of one colour."""
        grey = F.interpolate(latents.mean(1, keepdim=True), scale_factor=self.scale)
        return grey.expand(-1, self.channels, -1, -1)


class NoNoise(CanvasNoise):
    """Noise of one sample that costs nothing to draw: it is 0."""

    def __init__(self) -> None:
        super().__init__(0, [0])

    @override
    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        return torch.zeros(1, *shape)


def network_calls(
    strategy: Strategy, model: Model, canvas: Canvas, telling: Telling, known: Known | None = None
) -> int:
    """Returns how often the network is called for one picture, without calling it.

    Args:
        strategy: Makes it, fitted to the model.
        model: The denoiser and what belongs to it.
        canvas: Its size, in pixels.
        telling: What is told.
        known: What is given of it.
    """
    metered = Metered(FreeDenoiser.like(model.denoiser))
    if model.scale > 1:
        sizes = model.scale, model.channels, model.denoiser.channels
        strategy = on_latents(strategy.core, FreeCodec(*sizes))
    telling.free.generate(strategy, metered, canvas, NoNoise(), known=known)
    return metered.calls
