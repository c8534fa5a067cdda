"""DINOv2 by transformers: image tokens learnt without any text.

References:
    [DINO] Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, 2023.
    arXiv:2304.07193
"""

from pathlib import Path

import torch
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

__all__ = ["Dino"]

SETTINGS = (
    "hidden_act",
    "num_attention_heads",
    "layer_norm_eps",
    "patch_size",
    "image_size",
    "use_swiglu_ffn",
)


class Dino(Backbone):
    """DINOv2's last hidden state after its layer normalisation, the CLS token first, in float32.

    All tokens have root mean square 1 over their features. The grid follows from what the
    preprocessing shows, 16 x 16 for 224 px and patches of 14: position embeddings are interpolated
    from those of the pretraining, as the library does.

    Args:
        model: A folder as `save_pretrained` writes it, or a name on the hub.
        fit: `crop` cuts a square out of the middle, as the library does; `squash` shows all of a
            wide or tall image.

    Raises:
        ModuleNotFoundError: If transformers is not installed.
        ValueError: If the folder does not hold a whole DINOv2 with its preprocessing.
        OSError: If there is no such folder, and the model can be neither found nor downloaded.
    """

    def __init__(self, model: str | Path = "facebook/dinov2-base", fit: str = "crop") -> None:
        checked_fit(fit)
        library, name = transformers(), str(model)
        self._network = network(library.Dinov2Model, name, model_type="dinov2")
        self._preprocessing = Preprocessing(
            loaded(library.AutoImageProcessor.from_pretrained, name), fit
        )
        config = self._network.config
        height, width = self._preprocessing.size
        super().__init__(
            {"model": name, "fit": fit},
            features=config.hidden_size,
            grid=(height // config.patch_size, width // config.patch_size),
            weights=self._network.state_dict(),
            settings={
                "vision": architecture(config, SETTINGS),
                "preprocessing": self._preprocessing.settings,
            },
        )

    @override
    def encode(self, images: Image) -> Tokens:
        shown = self._preprocessing(images)
        return scaled(self._network(pixel_values=shown).last_hidden_state)

    @override
    def move(self, device: torch.device) -> None:
        self._network.to(device)
