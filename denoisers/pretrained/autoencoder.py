"""Between images and latents: the autoencoder of a pretrained model."""

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, VQModel
from jaxtyping import Float
from torch import Tensor, nn

from denoisers.contract import Image

__all__ = ["Autoencoder"]

Latents = Float[Tensor, "batch latent_channels rows columns"]


class Autoencoder:
    """Encodes images in [-1, 1] to latents of the scale that the network was trained on, and back.

    Whole images at once: memory is in proportion to their size. In half precision it computes in
    float32 where the model's configuration says that it must (`force_upcast`).

    Args:
        model: AutoencoderKL, AutoencoderTiny or VQModel.

    Attributes:
        scale: Pixels of the image along a side of a pixel of the latents.
        channels: Channels of the images.
        latent_channels: Channels of the latents.

    Raises:
        ValueError: If it is another kind of model.
    """

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, AutoencoderKL | AutoencoderTiny | VQModel):
            raise ValueError(
                "an autoencoder must be an AutoencoderKL, AutoencoderTiny or VQModel, got "
                f"{type(model).__name__}."
            )
        self.model = model
        config = model.config
        self.channels: int = config.out_channels
        self.latent_channels: int = config.latent_channels
        stages = (
            config.decoder_block_out_channels
            if isinstance(model, AutoencoderTiny)
            else config.block_out_channels
        )
        self.scale = 2 ** (len(stages) - 1)
        must_upcast = config.get("force_upcast") and model.dtype == torch.float16
        self._dtype = torch.float32 if must_upcast else model.dtype
        if model.dtype != self._dtype:
            model.to(self._dtype)

    @torch.no_grad()
    def decode(self, latents: Latents) -> Image:
        """Returns images; they may overshoot [-1, 1] a little."""
        shift, spread = self._moments(latents)
        scaled = (latents * spread + shift).to(self._dtype)
        return self.model.decode(scaled, return_dict=False)[0].to(latents.dtype)

    @torch.no_grad()
    def encode(self, images: Image) -> Latents:
        """Returns latents, the mode where the encoder gives a distribution of them."""
        encoded = self.model.encode(images.to(self._dtype))
        if isinstance(self.model, AutoencoderKL):
            latents = encoded.latent_dist.mode()
        else:
            latents = encoded.latents
        shift, spread = self._moments(images)
        return (latents.to(images.dtype) - shift) / spread

    def _moments(self, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Returns what is added to latents and what they are multiplied by before decoding."""
        config = self.model.config
        mean, deviation = config.get("latents_mean"), config.get("latents_std")
        factor = 1 / config.scaling_factor
        if mean is None or deviation is None:
            return config.get("shift_factor") or 0.0, factor
        shift, spread = (like.new_tensor(each).view(1, -1, 1, 1) for each in (mean, deviation))
        return shift, spread * factor
