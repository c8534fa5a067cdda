"""What a denoiser is compared with are images that it was never shown."""

from collections.abc import Collection
from typing import Any

from rich.console import Console

from datamodules.patches import PatchData

__all__ = ["hold_out", "validate_split"]


def hold_out(data: PatchData, checkpoint: dict[str, Any], trained_on: Collection[str]) -> None:
    """Takes images that a denoiser was trained on out of the reference, and says so.

    Args:
        data: Gives the reference; the record of what it is says how many were left out.
        checkpoint: Describes the denoiser.
        trained_on: Names of the images that it was shown, by their contents.

    Raises:
        ValueError: If the images are those of its training but cut or split otherwise, or if none
            is left.
    """
    validate_split(checkpoint, data.description)
    try:
        left_out = data.leave_out(trained_on)
    except ValueError as error:
        trained = (checkpoint["provenance"] or {}).get("data") or {}
        own = {name: trained.get(name) for name in ("root", "seed", "scale") if name in trained}
        raise ValueError(
            f"every reference image was trained on by {checkpoint['file']}: give data the settings "
            f"of the training ({own}), or other images."
        ) from error
    if left_out:
        remain = data.description["images"]["test"]
        Console(stderr=True, soft_wrap=True).print(
            f"{left_out} reference images were trained on by {checkpoint['file']} and are left out "
            f"of the reference; {remain} remain.",
            markup=False,
            highlight=False,
        )


def validate_split(checkpoint: dict[str, Any], data: dict[str, Any]) -> None:
    """Checks that images the denoiser was trained on are cut and split as they were in training.

    Otherwise they would be compared at another scale, or with images that training has seen.

    Raises:
        ValueError: If the content is the same and anything else differs.
    """
    trained = (checkpoint["provenance"] or {}).get("data") or {}
    if "content" not in data or trained.get("content") != data["content"]:
        return
    # Copies are counted since images are split by what they hold.
    if "copies" in data.get("images", {}) and "copies" not in trained.get("images", {}):
        raise ValueError(
            "the denoiser was trained on these very images when they were split by their names, "
            "and by their contents other ones are held out: some of the reference would be images "
            "that training has seen; train it again, or compare with other images."
        )
    for name, value in trained.items():
        if name != "root" and data.get(name) != value:
            raise ValueError(
                f"the denoiser was trained on these very images with {name}={value}, but they are "
                f"compared with {name}={data.get(name)}: the reference would be images at another "
                f"scale or that training has seen; give data the settings of the training."
            )
