"""CLIP by transformers: image and text tokens in one space.

[CLIP] compares one pooled embedding of an image with one of a text. Its other vision tokens are put
into the same space here, through the normalisation and the projection of the pooled one.

References:
    [CLIP] Radford et al., Learning Transferable Visual Models From Natural Language Supervision,
    2021. arXiv:2103.00020
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from backbones.contract import Backbone, Tokens, scaled
from backbones.pretrained import (
    Preprocessing,
    architecture,
    checked_fit,
    loaded,
    network,
    transformers,
)
from denoisers.contract import Image

__all__ = ["Clip"]

BOTH = ("hidden_act", "num_attention_heads", "layer_norm_eps")


class Clip(Backbone):
    """CLIP's two towers, in float32, behind transformers' own preprocessing.

    The global token points where `get_image_features` does, a prompt's where `get_text_features`
    does; all tokens have root mean square 1 over their features.

    Args:
        model: A folder as `save_pretrained` writes it, or a name on the hub.
        fit: `crop` cuts a square out of the middle, as the library does; `squash` shows all of a
            wide or tall image.

    Raises:
        ModuleNotFoundError: If transformers is not installed.
        ValueError: If the folder does not hold a whole CLIP with its preprocessing and tokenizer.
        OSError: If there is no such folder, and the model can be neither found nor downloaded.
    """

    has_text = True

    def __init__(
        self, model: str | Path = "openai/clip-vit-base-patch32", fit: str = "crop"
    ) -> None:
        checked_fit(fit)
        library, name = transformers(), str(model)
        self._network = network(library.CLIPModel, name, model_type="clip")
        self._preprocessing = Preprocessing(
            loaded(library.AutoImageProcessor.from_pretrained, name), fit
        )
        self._tokenizer = loaded(library.CLIPTokenizer.from_pretrained, name)
        text, vision = self._network.config.text_config, self._network.config.vision_config
        side = vision.image_size
        if self._preprocessing.size != (side, side):
            height, width = self._preprocessing.size
            raise ValueError(
                f"the preprocessing of {name} must make the {side} x {side} px that its network "
                f"takes, got {height} x {width} px."
            )
        super().__init__(
            {"model": name, "fit": fit},
            features=self._network.config.projection_dim,
            grid=(side // vision.patch_size, side // vision.patch_size),
            weights=self._network.state_dict(),
            settings={
                "vision": architecture(vision, (*BOTH, "patch_size", "image_size")),
                "text": architecture(text, (*BOTH, "eos_token_id", "max_position_embeddings")),
                "preprocessing": self._preprocessing.settings,
                "vocabulary": self._tokenizer.get_vocab(),
            },
        )

    @override
    def encode(self, images: Image) -> Tokens:
        vision = self._network.vision_model
        hidden = vision(pixel_values=self._preprocessing(images)).last_hidden_state
        return scaled(self._network.visual_projection(vision.post_layernorm(hidden)))

    @override
    def encode_text(self, prompts: list[str]) -> Float[Tensor, "batch 1 features"]:
        tokens = self._tokenizer(prompts, padding=True, return_tensors="pt").to(self.device)
        longest = self._network.config.text_config.max_position_embeddings
        if tokens["input_ids"].shape[1] > longest:
            raise ValueError(
                f"a prompt must have at most {longest} tokens with its start and end, got one of "
                f"{tokens['input_ids'].shape[1]}."
            )
        pooled = self._network.text_model(**tokens).pooler_output
        return scaled(self._network.text_projection(pooled))[:, None]

    @override
    def move(self, device: torch.device) -> None:
        self._network.to(device)
