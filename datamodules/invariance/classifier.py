"""Left or right? A small classifier that is antisymmetric under mirroring, and its training."""

import copy
import math
from collections.abc import Callable
from typing import Literal, get_args

import lightning as L
import torch
import torchvision
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

__all__ = ["Network", "SideClassifier", "patches", "probabilities", "trained"]

Network = Literal["small", "resnet18", "resnet50"]
Thumbnails = UInt8[Tensor, "images 3 size size"]
Patches = Float[Tensor, "patches 3 height width"]


class SideClassifier(nn.Module):
    """The log odds that a patch comes from the right side of its image.

    Mirroring a patch changes the sign, exactly: `f(x) = g(x) - g(flip(x))`. This is training with
    mirrored patches and opposite labels, without the variance of doing so at random. It starts at
    even odds for every patch.

    Args:
        network: `small`, four layers for thumbnails, or a ResNet of torchvision's, untrained.
    """

    def __init__(self, network: Network = "small") -> None:
        super().__init__()
        self.one_sided = _small() if network == "small" else _resnet(network)

    @override
    def forward(self, x: Patches) -> Float[Tensor, " patches"]:
        # One batch, so that batch statistics see both halves alike.
        there, mirrored = self.one_sided(torch.cat([x, x.flip(-1)]))[:, 0].chunk(2)
        return there - mirrored


def patches(thumbnails: Thumbnails, width: int) -> tuple[Patches, Patches]:
    """The left and the right patch of every image, in [-1, 1]."""
    pixels = thumbnails.float() / 127.5 - 1
    return pixels[..., :width], pixels[..., -width:]


def trained(
    thumbnails: Thumbnails,
    *,
    network: Network,
    width: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    fabric: L.Fabric,
    after_epoch: Callable[[], None] = lambda: None,
) -> nn.Module:
    """Trains a classifier on both sides of every image, and returns the best of its epochs.

    A tenth of the images is left out of the gradients; the epoch with the lowest log loss on it is
    the best, and the untrained classifier, even odds for everything, is the first candidate.
    Without this a classifier that has memorised its images would be sure of noise.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(thumbnails), generator=generator)
    held_out = math.ceil(len(thumbnails) / 10)
    watched, used = thumbnails[order[:held_out]], thumbnails[order[held_out:]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = SideClassifier(network)
    optimizer = torch.optim.AdamW(
        classifier.parameters(), lr=learning_rate, weight_decay=weight_decay
    )
    classifier, optimizer = fabric.setup(classifier, optimizer)
    best, lowest = copy.deepcopy(classifier.state_dict()), math.log(2)
    for _ in range(epochs):
        classifier.train()
        for batch in torch.randperm(len(used), generator=generator).split(batch_size):
            optimizer.zero_grad()
            fabric.backward(_loss(classifier, fabric.to_device(used[batch]), width))
            optimizer.step()
        found = _log_loss(probabilities(classifier, watched, width, batch_size, fabric))
        if found < lowest:
            best, lowest = copy.deepcopy(classifier.state_dict()), found
        after_epoch()
    classifier.load_state_dict(best)
    return classifier


@torch.inference_mode()
def probabilities(
    classifier: nn.Module, thumbnails: Thumbnails, width: int, batch_size: int, fabric: L.Fabric
) -> Float[Tensor, "images 2"]:
    """The probability of "right" for the left and for the right patch of every image."""
    classifier.eval()
    found = [
        torch.stack(
            [classifier(side).double().sigmoid() for side in patches(fabric.to_device(some), width)]
        )
        for some in thumbnails.split(batch_size)
    ]
    return torch.cat(found, dim=1).T.cpu()


def _loss(classifier: nn.Module, thumbnails: Thumbnails, width: int) -> Float[Tensor, ""]:
    logits = classifier(torch.cat(patches(thumbnails, width)))
    labels = torch.zeros_like(logits)
    labels[len(thumbnails) :] = 1  # from the right
    return F.binary_cross_entropy_with_logits(logits, labels)


def _log_loss(found: Float[Tensor, "images 2"]) -> float:
    right = torch.stack([1 - found[:, 0], found[:, 1]])
    return -right.clamp_min(1e-7).log().mean().item()


def _small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        _even_odds(64),
    )


def _resnet(network: Network) -> nn.Module:
    if network not in get_args(Network):
        raise ValueError(f"network must be one of {', '.join(get_args(Network))}, got {network!r}.")
    resnet = getattr(torchvision.models, network)(weights=None)
    resnet.fc = _even_odds(resnet.fc.in_features)
    return resnet


def _even_odds(features: int) -> nn.Linear:
    """A last layer that starts at 0; a bias would cancel in the difference."""
    layer = nn.Linear(features, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return layer
