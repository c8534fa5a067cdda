"""How each kind of network is asked: the one place that knows the arguments of diffusers' models.

A network here takes noisy images as it was trained on them, timesteps and what the text says, one
row an image, and gives back what it predicts, in the type that its weights have.

References:
    [SDXL] Podell et al.: SDXL: Improving Latent Diffusion Models for High-Resolution Image
    Synthesis, 2023. arXiv:2307.01952
"""

import abc
from typing import Any

import torch
from diffusers import (
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    UNet2DModel,
)
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from denoisers.contract import Image
from denoisers.pretrained.text import TextTokens

__all__ = ["FluxNetwork", "Network", "PixelNetwork", "SD3Network", "TextNetwork", "network_of"]

Timesteps = Float[Tensor, " batch"]


class Network(nn.Module, abc.ABC):
    """A network of diffusers, asked as a denoiser asks.

    Args:
        model: The network.
        side: Side of the square patches it was trained on, in its own pixels.

    Attributes:
        multiple: Heights and widths are multiples of this.
        channels: Channels of the images.
        takes_text: Whether it is told what a text says.
        longest: Most pixels along an axis; None for no limit.
    """

    model: Any  # a Module with attributes of its own
    takes_text = True
    longest: int | None = None

    def __init__(self, model: nn.Module, side: int) -> None:
        super().__init__()
        self.model = model
        self.side = side
        self.channels: int = self.model.config.in_channels

    @property
    @abc.abstractmethod
    def multiple(self) -> int:
        """Heights and widths are multiples of this."""

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        # The library's own attribute walks all modules, at every call.
        return next(self.model.parameters()).dtype

    @property
    def tokens(self) -> int:
        """Tokens that are made of a patch, for networks that have tokens."""
        return (self.side // self.multiple) ** 2

    @override
    def forward(self, x: Image, timestep: Timesteps, text: TextTokens | None) -> Image:
        """Returns what the network predicts, without the variance that some predict beside it."""
        return self.predict(x, timestep, text)[:, : self.channels]

    @abc.abstractmethod
    def predict(self, x: Image, timestep: Timesteps, text: Any) -> Image:
        """Asks the model; `text` is None for one that takes no text."""


class PixelNetwork(Network):
    """A U-Net that is told nothing but, where it was trained on classes, the class.

    Args:
        model: The network.
        label: Number of the class; None for a network without classes.

    Raises:
        ValueError: If a class is missing, unknown, or given to a network without classes.
    """

    takes_text = False

    def __init__(self, model: UNet2DModel, label: int | None = None) -> None:
        classes = model.config.num_class_embeds
        known = label is None or not classes or 0 <= label < classes
        if (classes is None) != (label is None) or not known:
            must = "be left out" if classes is None else f"be a class from 0 to {classes - 1}"
            raise ValueError(f"for this network label must {must}, got {label}.")
        super().__init__(model, square(model.config.sample_size))
        self.label = label

    @property
    @override
    def multiple(self) -> int:
        return 2 ** (len(self.model.config.block_out_channels) - 1)

    @override
    def predict(self, x: Image, timestep: Timesteps, text: None) -> Image:
        labels = None
        if self.label is not None:
            labels = torch.full((len(x),), self.label, device=x.device)
        return self.model(x, timestep, class_labels=labels, return_dict=False)[0]


class TextNetwork(Network):
    """The U-Net of Stable Diffusion 1, 2 and XL.

    That of XL is told sizes too ([SDXL] Sec. 2.2): each window is a whole image of its own size,
    made from one as large as a patch, with nothing cut off.

    Args:
        model: The network.
        scale: Pixels of the image along a side of one of the network's pixels.

    Raises:
        ValueError: If it takes more than a noisy image and a text.
    """

    def __init__(self, model: UNet2DConditionModel, scale: int) -> None:
        config = model.config
        if config.time_cond_proj_dim is not None:
            raise ValueError(
                "a network must estimate the clean image at any noise level, but this one was "
                "distilled for few steps (time_cond_proj_dim is set)."
            )
        if config.addition_embed_type not in (None, "text_time") or config.class_embed_type:
            raise ValueError(
                "a network must be told text, or text and sizes as that of SDXL is, got "
                f"addition_embed_type={config.addition_embed_type!r}, "
                f"class_embed_type={config.class_embed_type!r}."
            )
        super().__init__(model, square(config.sample_size))
        self.scale = scale

    @property
    @override
    def multiple(self) -> int:
        return 2 ** (len(self.model.config.block_out_channels) - 1)

    @override
    def predict(self, x: Image, timestep: Timesteps, text: TextTokens) -> Image:
        return self.model(
            x,
            timestep,
            encoder_hidden_states=text.tokens,
            added_cond_kwargs=self._sizes(x, text),
            return_dict=False,
        )[0]

    def _sizes(self, x: Image, text: TextTokens) -> dict[str, Any] | None:
        if self.model.config.addition_embed_type is None:
            return None
        whole, (height, width) = self.side * self.scale, x.shape[-2:]
        sizes = [whole, whole, 0, 0, height * self.scale, width * self.scale]
        return {"text_embeds": text.pooled, "time_ids": x.new_tensor([sizes]).repeat(len(x), 1)}


class SD3Network(Network):
    """The transformer of Stable Diffusion 3: places are those within the window, from its middle.

    Args:
        model: The network.
    """

    def __init__(self, model: SD3Transformer2DModel) -> None:
        super().__init__(model, model.config.sample_size)
        self.longest = model.config.pos_embed_max_size * self.multiple

    @property
    @override
    def multiple(self) -> int:
        return self.model.config.patch_size

    @override
    def predict(self, x: Image, timestep: Timesteps, text: TextTokens) -> Image:
        return self.model(
            hidden_states=x,
            timestep=timestep,
            encoder_hidden_states=text.tokens,
            pooled_projections=text.pooled,
            return_dict=False,
        )[0]


class FluxNetwork(Network):
    """The transformer of Flux: four pixels are a token, and places those within the window.

    Args:
        model: The network.
        side: Side of the square patches, in its own pixels.
        guidance: What it is told of guidance, for a network that was distilled with it.
    """

    multiple = 2

    def __init__(self, model: FluxTransformer2DModel, side: int, guidance: float = 3.5) -> None:
        super().__init__(model, side)
        self.channels = model.config.in_channels // 4
        self.guidance = guidance

    @override
    def predict(self, x: Image, timestep: Timesteps, text: TextTokens) -> Image:
        batch, channels, height, width = x.shape
        like: dict[str, Any] = {"device": x.device, "dtype": x.dtype}
        guidance = None
        if self.model.config.guidance_embeds:
            guidance = torch.full((batch,), self.guidance, **like)
        packed = self.model(
            hidden_states=FluxPipeline._pack_latents(x, batch, channels, height, width),
            timestep=timestep / 1000,
            guidance=guidance,
            pooled_projections=text.pooled,
            encoder_hidden_states=text.tokens,
            txt_ids=torch.zeros(text.tokens.shape[1], 3, **like),
            img_ids=FluxPipeline._prepare_latent_image_ids(
                batch, height // 2, width // 2, x.device, x.dtype
            ),
            return_dict=False,
        )[0]
        return FluxPipeline._unpack_latents(packed, height, width, vae_scale_factor=1)


def network_of(
    model: nn.Module,
    *,
    scale: int,
    side: int | None = None,
    label: int | None = None,
    guidance: float = 3.5,
) -> Network:
    """Returns the network of a pipeline.

    Args:
        model: Its U-Net or transformer.
        scale: Pixels of the image along a side of one of the network's pixels.
        side: Side of the patches, in the network's pixels, where the network does not say.
        label: Number of the class, for networks of classes.
        guidance: What a network that was distilled with guidance is told of it.

    Raises:
        ValueError: If it is none that this project knows, takes more than images and text, or has
            no classes to be labelled by.
    """
    config: Any = model.config
    given, predicted = config.in_channels, getattr(config, "out_channels", None)
    # Twice as many where a variance is predicted too.
    if predicted is not None and predicted not in (given, 2 * given):
        raise ValueError(
            "a network must be given a noisy image alone and predict one like it, but this one "
            f"takes {given} channels and predicts {predicted}."
        )
    if label is not None and not isinstance(model, UNet2DModel):
        raise ValueError(f"for this network label must be left out, got {label}.")
    match model:
        case UNet2DModel():
            return PixelNetwork(model, label)
        case UNet2DConditionModel():
            return TextNetwork(model, scale)
        case SD3Transformer2DModel():
            return SD3Network(model)
        case FluxTransformer2DModel() if side is not None:
            return FluxNetwork(model, side, guidance)
    raise ValueError(
        "a pretrained network must be a UNet2DModel, UNet2DConditionModel, SD3Transformer2DModel "
        f"or FluxTransformer2DModel, got {type(model).__name__}."
    )


def square(side: int | list[int] | tuple[int, int] | None) -> int:
    """Returns the side of patches, the shorter one where they are not square.

    Raises:
        ValueError: If the network does not say what it was trained on.
    """
    if side is None:
        raise ValueError(
            "the network's configuration must say what it was trained on, but its sample_size is "
            "empty: set it to the side of the training images, in the network's own pixels."
        )
    return side if isinstance(side, int) else min(side)
