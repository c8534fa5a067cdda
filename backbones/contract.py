"""What a backbone is: a frozen network that says in tokens what is seen in an image.

Cross-attention takes them as keys and values. The first token is global, the others lie row by row
over the image, so that a place can be told to each.
"""

import abc
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from denoisers.contract import Image

__all__ = ["Backbone", "Tokens", "checked_grid", "fingerprint_of", "scaled", "to_uint8"]

Tokens = Float[Tensor, "batch tokens features"]

# Settings that say how a network sees images, and that differ where its weights are the same.
SEEN_BY = ("activation", "preprocessing")


class Backbone(abc.ABC):
    """A frozen function from images, and from text if it has a text tower, to tokens.

    No `nn.Module`: what holds a backbone neither trains its weights nor saves them. What it saves
    is the `description`, of which `backbones.catalogue.build` makes the backbone again.

    Attributes:
        features: Length of a token.
        grid: Rows and columns of the local tokens.
        has_text: Whether `text` has an answer.
        fingerprint: SHA-256 of the weights and of the settings, in hexadecimal: two backbones of
            one fingerprint make the same tokens, wherever their weights lie.
        seen_by: Those of the settings that say how it sees an image, for whoever compares two.
        chunk: Images in flight at once: bounds memory and changes no token.

    Args:
        init_args: What the class was given, as plain values.
        features: Length of a token.
        grid: Rows and columns of the local tokens.
        weights: All that is frozen, by name.
        settings: What makes the tokens beside the weights, as plain values.
    """

    has_text: bool = False
    chunk: int = 64

    def __init__(
        self,
        init_args: Mapping[str, Any],
        *,
        features: int,
        grid: tuple[int, int],
        weights: Mapping[str, Tensor],
        settings: Mapping[str, Any],
    ) -> None:
        self.features = features
        self.grid = grid
        self.fingerprint = fingerprint_of(weights, {"class_path": self._class_path, **settings})
        self.seen_by = {name: settings[name] for name in SEEN_BY if name in settings}
        self.device = torch.device("cpu")
        self._init_args = dict(init_args)

    @property
    def description(self) -> dict[str, Any]:
        """What makes this backbone again, as plain values: class path, arguments, fingerprint."""
        return {
            "class_path": self._class_path,
            "init_args": dict(self._init_args),
            "fingerprint": self.fingerprint,
        }

    def __call__(self, images: Image) -> Tokens:
        """Returns 1 + rows * columns tokens an image: the global one, then the local row by row.

        In float32, also where the caller computes in mixed precision; TF32 is off and no
        convolution is chosen by timing, so that an image has the same tokens whatever it was
        batched with, up to the rounding of float32. Images lie in [-1, 1] and may be of any size;
        tokens lie on the backbone's own device, and no gradient flows back.

        Raises:
            ValueError: If there are no images, or they are not in colour.
        """
        if not len(images) or images.shape[1] != 3:
            raise ValueError(
                "a backbone needs at least 1 image of 3 channels, got "
                f"{len(images)} of {images.shape[1]} channels."
            )
        parts = images.detach().to(self.device, torch.float32).split(self.chunk)
        with torch.no_grad(), _exact_convolutions(), _full_precision(self.device):
            return torch.cat([self.encode(part) for part in parts])

    def text(self, prompts: Sequence[str]) -> Float[Tensor, "batch 1 features"]:
        """Returns one global token a prompt.

        Raises:
            ValueError: If there is no text tower, there are no prompts, or one is too long for it.
        """
        if not self.has_text:
            raise ValueError(
                f"{type(self).__name__} has no text tower; prompts need a backbone that has one, "
                "such as clip or openclip."
            )
        if isinstance(prompts, str) or not len(prompts):
            raise ValueError(f"prompts must be a list of at least 1 prompt, got {prompts!r}.")
        with torch.no_grad(), _full_precision(self.device):
            return self.encode_text(list(prompts))

    @abc.abstractmethod
    def encode(self, images: Image) -> Tokens:
        """Returns the tokens of one chunk of images, which lie on the backbone's device."""

    def encode_text(self, prompts: list[str]) -> Float[Tensor, "batch 1 features"]:
        """Returns the tokens of prompts; to be defined where `has_text` is set."""
        raise TypeError(f"{type(self).__name__} sets has_text and must define encode_text.")

    def to(self, device: torch.device | str) -> "Backbone":
        """Moves the weights, and returns itself."""
        self.device = torch.device(device)
        self.move(self.device)
        return self

    @abc.abstractmethod
    def move(self, device: torch.device) -> None:
        """Moves whatever is frozen to a device."""

    @property
    def _class_path(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}"


def scaled(tokens: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch features"]:
    """Returns tokens whose features have root mean square 1: their directions are kept.

    Unit norm, the scale of cosines, would leave cross-attention entries of 1 / sqrt(features).
    """
    return F.normalize(tokens, dim=-1) * tokens.shape[-1] ** 0.5


def to_uint8(images: Image) -> UInt8[Tensor, "batch channels height width"]:
    """Returns what a PNG of images in [-1, 1] holds: rounded, and cut where they overshoot."""
    return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def checked_grid(grid: Sequence[int]) -> tuple[int, int]:
    """Returns rows and columns as a tuple.

    Raises:
        ValueError: If these are not two numbers from 1 up.
    """
    if len(grid) != 2 or min(grid) < 1:
        raise ValueError(f"grid must be rows and columns, both at least 1, got {tuple(grid)}.")
    return grid[0], grid[1]


def fingerprint_of(weights: Mapping[str, Tensor], settings: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a network's weights and settings, in hexadecimal."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, weight in sorted(weights.items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _exact_convolutions():
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )


def _full_precision(device: torch.device):
    return torch.autocast(device.type, enabled=False)
