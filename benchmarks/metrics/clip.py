"""Image embeddings of CLIP, by open_clip: a package of its own that only this file needs."""

import pickle
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from backbones.activation import activation, with_its_activation
from backbones.contract import fingerprint_of

__all__ = ["ClipImages"]

CHUNK = 64  # images in flight at once: bounds memory


class ClipImages:
    """CLIP's image tower, in float32, behind open_clip's own preprocessing.

    Attributes:
        name: The model's, its activation included.
        settings: What figures rest on beside its weights, as plain values.
        fingerprint: SHA-256 of the image tower's weights and of the settings, in hexadecimal.

    Args:
        model: A model that open_clip knows, as `ViT-B-32`; for pretrained weights that need
            another activation its twin, `ViT-B-32-quickgelu`, is taken by itself.
        weights: A file of its weights, or the tag of pretrained ones, which are downloaded.
        device: Where to compute.

    Raises:
        ModuleNotFoundError: If open_clip is not installed.
        ValueError: If there is no such model, tag or file, or the file does not hold its weights.
        RuntimeError: If pretrained weights cannot be downloaded.
    """

    def __init__(
        self, model: str, weights: str | Path, *, device: torch.device | str = "cpu"
    ) -> None:
        open_clip = _open_clip()
        if model not in open_clip.list_models():
            raise ValueError(f"CLIP's model must be one of open_clip.list_models(), got {model!r}.")
        tags = open_clip.list_pretrained_tags_by_model(model)
        if not Path(weights).is_file() and str(weights) not in tags:
            raise ValueError(
                f"CLIP's weights must be a file or one of {', '.join(tags) or 'no tags'}, got "
                f"{str(weights)!r}."
            )
        self.name = with_its_activation(open_clip, model, weights)
        network, self._preprocess = _loaded(open_clip, self.name, weights)
        self.settings = {
            "name": self.name,
            "activation": activation(open_clip, self.name),
            "preprocessing": str(self._preprocess),
            "dtype": "float32",
        }
        self.fingerprint = fingerprint_of(network.visual.state_dict(), self.settings)
        self._network = network.eval().requires_grad_(False)
        self.to(device)

    def to(self, device: torch.device | str) -> "ClipImages":
        """Moves the network, and returns itself."""
        self._network.to(device)
        self._device = device
        return self

    def __call__(self, images: UInt8[Tensor, "n 3 height width"]) -> Float[Tensor, "n dimensions"]:
        """Returns one embedding of unit norm an image."""
        with torch.no_grad():
            return torch.cat([self._embed(part) for part in images.split(CHUNK)])

    def _embed(self, images: UInt8[Tensor, "n 3 height width"]) -> Float[Tensor, "n dimensions"]:
        x = torch.stack([self._preprocess(to_pil_image(image)) for image in images.cpu()])
        return self._network.encode_image(x.to(self._device), normalize=True)


def _open_clip():
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "CLIP needs the package open_clip: pip install open_clip_torch, or leave CLIP out."
        ) from error
    return open_clip


def _loaded(open_clip, model: str, weights: str | Path):
    """Returns the network and the preprocessing of its images."""
    try:
        network, _, preprocess = open_clip.create_model_and_transforms(
            model, pretrained=str(weights), weights_only=True
        )
    except (pickle.UnpicklingError, EOFError, KeyError, RuntimeError, OSError) as error:
        if Path(weights).is_file():
            raise ValueError(f"{weights} must hold the weights of {model} ({error}).") from error
        raise RuntimeError(
            f"the weights {weights} of {model} could not be downloaded ({error}); give a local "
            "file, or leave CLIP out."
        ) from error
    return network, preprocess
