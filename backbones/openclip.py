"""CLIP by open_clip: the same tokens as `backbones.clip`, from its many trained models.

References:
    [CLIP] Radford et al., Learning Transferable Visual Models From Natural Language Supervision,
    2021. arXiv:2103.00020
    [OPEN] Cherti et al., Reproducible Scaling Laws for Contrastive Language-Image Learning, 2022.
    arXiv:2212.07143
"""

import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from typing_extensions import override

from backbones.activation import with_its_activation
from backbones.contract import Backbone, Tokens, scaled, to_uint8
from backbones.pretrained import checked_fit
from denoisers.contract import Image

__all__ = ["OpenClip"]

UNREADABLE = (
    pickle.UnpicklingError,
    SafetensorError,
    EOFError,
    KeyError,
    RuntimeError,
    OSError,
)


class OpenClip(Backbone):
    """The two towers of an open_clip model, in float32, behind open_clip's own preprocessing.

    The global token points where `encode_image` does, a prompt's where `encode_text` does; all
    tokens have root mean square 1 over their features. Preprocessing resizes pictures on the CPU,
    as open_clip does.

    Args:
        model: A vision transformer that open_clip knows, as `ViT-B-32`. Which activation a network
            has is part of its name: for pretrained weights that need it `ViT-B-32-quickgelu` is
            taken by itself; OpenAI's own weights, from a file, need that name.
        weights: A file of its weights, or the tag of pretrained ones, which are downloaded.
        fit: `crop` is the model's own preprocessing, most often to cut a square out of the middle;
            `squash` shows all of a wide or tall image.

    Raises:
        ModuleNotFoundError: If open_clip is not installed.
        ValueError: If there is no such model, tag or file, the file does not hold its weights, or
            the model has no class token to take the global token from.
        OSError: If pretrained weights or a tokenizer cannot be downloaded.
    """

    has_text = True

    def __init__(
        self,
        model: str = "ViT-B-32",
        weights: str | Path = "laion2b_s34b_b79k",
        fit: str = "crop",
    ) -> None:
        checked_fit(fit)
        library = _open_clip()
        _validate_name(library, model, weights)
        asked, model = model, with_its_activation(library, model, weights)
        config = library.get_model_config(model)
        self._network, self._preprocess = _loaded(library, model, weights, fit)
        self._tokenizer = _tokenizer(library, model)
        self._network.eval().requires_grad_(False)
        visual = _vision_transformer(self._network, model)
        super().__init__(
            {"model": asked, "weights": str(weights), "fit": fit},
            features=visual.proj.shape[1],
            grid=tuple(visual.grid_size),
            weights=self._network.state_dict(),
            settings={
                "model": config,
                "activation": type(visual.transformer.resblocks[0].mlp.gelu).__name__,
                "preprocessing": dict(visual.preprocess_cfg) | {"fit": fit},
            },
        )

    @override
    def encode(self, images: Image) -> Tokens:
        pictures = [to_pil_image(image) for image in to_uint8(images).cpu()]
        shown = torch.stack([self._preprocess(picture) for picture in pictures]).to(self.device)
        last = self._network.visual.forward_intermediates(
            shown,
            indices=1,
            normalize_intermediates=True,
            intermediates_only=True,
            output_fmt="NLC",
            output_extra_tokens=True,
        )
        ((local,), (first,)) = last["image_intermediates"], last["image_intermediates_prefix"]
        return scaled(torch.cat([first, local], dim=1) @ self._network.visual.proj)

    @override
    def encode_text(self, prompts: list[str]) -> Float[Tensor, "batch 1 features"]:
        return scaled(self._network.encode_text(self._tokens(prompts).to(self.device)))[:, None]

    @override
    def move(self, device: torch.device) -> None:
        self._network.to(device)

    def _tokens(self, prompts: list[str]) -> Int64[Tensor, "batch length"]:
        """Tokenizes; a tokenizer cuts what is too long, so one more token would change it."""
        length = self._tokenizer.context_length
        tokens = self._tokenizer(prompts, context_length=length)
        longer = self._tokenizer(prompts, context_length=length + 1)[:, :length]
        for prompt, one, other in zip(prompts, tokens, longer, strict=True):
            if not torch.equal(one, other):
                raise ValueError(
                    f"a prompt must have at most {length} tokens with its start and end, got more: "
                    f"{prompt!r}."
                )
        return tokens


def _open_clip() -> ModuleType:
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the backbone openclip needs the package open_clip: pip install patchcanvas[clip], or "
            "choose downsampled or random."
        ) from error
    return open_clip


def _validate_name(open_clip: ModuleType, model: str, weights: str | Path) -> None:
    if model not in open_clip.list_models():
        raise ValueError(f"model must be one of open_clip.list_models(), got {model!r}.")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not Path(weights).is_file() and str(weights) not in tags:
        raise ValueError(
            f"weights of {model} must be a file or one of {', '.join(tags) or 'no tags'}, got "
            f"{str(weights)!r}."
        )


def _loaded(open_clip: ModuleType, model: str, weights: str | Path, fit: str) -> tuple[Any, Any]:
    """Returns the network and the preprocessing of its images."""
    try:
        network, _, preprocess = open_clip.create_model_and_transforms(
            model,
            pretrained=str(weights),
            image_resize_mode="squash" if fit == "squash" else None,
            weights_only=True,
        )
    except UNREADABLE as error:
        if Path(weights).is_file():
            raise ValueError(f"{weights} must hold the weights of {model} ({error}).") from error
        raise OSError(
            f"the weights {weights} of {model} could not be downloaded ({error}); give a local "
            "file of them."
        ) from error
    return network, preprocess


def _tokenizer(open_clip: ModuleType, model: str) -> Any:
    try:
        return open_clip.get_tokenizer(model)
    except OSError as error:
        raise OSError(
            f"the tokenizer of {model} could not be downloaded ({error}); choose a model whose "
            "tokenizer comes with open_clip, such as ViT-B-32."
        ) from error


def _vision_transformer(network: Any, model: str) -> Any:
    """Returns the image tower, if its pooled token is one of its tokens, projected."""
    visual = network.visual
    found = (
        getattr(visual, "pool_type", None) == "tok"
        and visual.attn_pool is None
        and visual.proj is not None
        and not visual.final_ln_after_pool
    )
    if not found:
        raise ValueError(
            f"model must be a vision transformer whose embedding is its class token, got {model}, "
            "whose is not."
        )
    return visual
