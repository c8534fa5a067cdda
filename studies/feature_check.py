"""What a feature network sees: distances of spoilt photographs, beside the floor of sound ones.

    python -m studies.feature_check --root DIR --scale 0.5 --count 2000 --seed 0 \
        --features random_conv

A network is fit to judge seams only if crops with a seam inside one photograph, whose content is
plausible on both sides, lie far above the floor.
"""

from pathlib import Path

import torch
from jaxtyping import UInt8
from jsonargparse import auto_cli
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from benchmarks.metrics.features import build_features
from benchmarks.metrics.frechet import frechet_distance
from benchmarks.tables.columns import by_rows, markdown
from datamodules.photos import Photos

__all__ = ["feature_check", "spoilt_crops"]

Crops = UInt8[Tensor, "count 3 32 32"]

SIDE = 32  # pixels of a crop
FADE = 8  # pixels over which a soft seam goes from one half to the other
REACH = 160  # pixels between the outer edges of two halves glued within one photograph


def spoilt_crops(photos: Photos, count: int) -> dict[str, Crops]:
    """Returns a reference, as many other sound crops, and the ways to spoil them, by name.

    All come from the training photographs. Sets named for the same kind of spoiling, and those
    made of sound crops, share their places; the reference shares its places with none.
    """
    reference, sound, other = (_crops(photos, start * count, count, SIDE) for start in range(3))
    long = _crops(photos, 3 * count, count, REACH)
    half = SIDE // 2
    return {
        "reference": reference,
        "sound": sound,
        "glued within a photograph": torch.cat([long[..., :half], long[..., -half:]], dim=-1),
        f"glued within, cross-faded over {FADE} px": _cross_faded(long),
        "glued between photographs": torch.cat([sound[..., :half], other[..., half:]], dim=-1),
        "blurred, sigma = 0.5 px": gaussian_blur(sound, [5, 5], [0.5, 0.5]),
        "red + 8, blue - 8 levels": _shifted(sound, 8),
        "upside down": sound.flip(-2),
    }


def feature_check(
    root: Path,
    scale: float = 0.5,
    count: int = 2000,
    seed: int = 0,
    features: str = "random_conv",
    weights: Path | None = None,
    device: str = "cpu",
) -> None:
    """Prints, as a Markdown table, the Frechet distance of every set of spoilt crops.

    Args:
        root: Folder of the photographs, each at least 32 x 160 px once scaled.
        scale: Factor on both sides of every photograph before crops are taken.
        count: Crops a set.
        seed: Seeds the choice of crops.
        features: Feature network: random_conv or inception.
        weights: Local weights of inception; without, they are downloaded.
        device: Where features are computed.
    """
    network = build_features(features, weights=weights, device=device)
    photos = Photos(root=root, scale=scale, patch_size=SIDE, seed=seed)
    crops = spoilt_crops(photos, count)
    reference = network(crops.pop("reference"))
    distances = {
        name: frechet_distance(network(spoilt), reference) for name, spoilt in crops.items()
    }
    print(f"{network.name}, {network.dimensions} dimensions, {count} crops of {SIDE} x {SIDE},")
    print(f"seed {seed}, fingerprint {network.fingerprint[:16]}\n")
    rows = [
        [name, f"{distance:.4g}", f"{distance / distances['sound']:.1f}"]
        for name, distance in distances.items()
    ]
    print(markdown(by_rows(["crops", "Frechet distance", "times the floor"], rows)))


def _crops(photos: Photos, first: int, count: int, width: int) -> UInt8[Tensor, "count 3 32 width"]:
    crops = [photos.crop("train", index, SIDE, width) for index in range(first, first + count)]
    return torch.stack(crops)


def _cross_faded(long: UInt8[Tensor, "count 3 32 160"]) -> Crops:
    """Joins the outer columns of long crops through a linear ramp: no step, but no match either."""
    outer = (SIDE + FADE) // 2
    ramp = torch.ones(SIDE)
    ramp[outer - FADE : outer] = torch.linspace(1, 0, FADE + 2)[1:-1]
    ramp[outer:] = 0
    mixed = ramp * long[..., :SIDE] + (1 - ramp) * long[..., -SIDE:]
    return mixed.round().to(torch.uint8)


def _shifted(crops: Crops, levels: int) -> Crops:
    tint = torch.tensor([levels, 0, -levels], dtype=torch.int16).view(3, 1, 1)
    return (crops.to(torch.int16) + tint).clamp(0, 255).to(torch.uint8)


if __name__ == "__main__":
    auto_cli(feature_check, as_positional=False)
