"""From settings to a conditioner: what is asked for, checked against what the denoiser takes."""

import dataclasses
from pathlib import Path
from typing import Any

from backbones.catalogue import build
from backbones.contract import Backbone
from datamodules.patches import PatchData
from denoisers.precond import EDMPrecond
from patchcanvas.context.conditioner import NO_CONTEXT, Conditioner, ContextConditioner, one_by_one
from patchcanvas.context.prompted import prompted_conditioner
from patchcanvas.context.seeds import ImageFile, Seeds
from patchcanvas.context.settings import WITH_TOKENS, ContextSettings
from patchcanvas.model import Model
from strategies.canvas import Canvas

__all__ = ["backbone_of", "conditioner_of"]


def conditioner_of(
    settings: ContextSettings,
    model: Model,
    canvas: Canvas,
    data: PatchData | None,
    *,
    first: int,
    count: int,
) -> Conditioner:
    """Returns what makes canvases and tells them what was asked for.

    Args:
        settings: What was asked for.
        model: What is told.
        canvas: What is made.
        data: Where seed images come from; None where there are none.
        first: Number of the test crop that sample 0 is seeded with.
        count: How many samples there are.

    Raises:
        ValueError: If the denoiser, the backbone or the canvas does not go with it.
        OSError: If an image or the backbone's weights cannot be found.
        RuntimeError: If the backbone needs a package that is not installed.
    """
    if model.pretrained is not None:
        return prompted_conditioner(settings, model.pretrained, canvas)
    validate_single_prompt(settings)
    mode, denoiser = settings.mode, model.own
    if mode == "auto":
        mode = "text" if settings.prompt else "unconditional" if denoiser.takes else "none"
    validate_taken(settings, mode, denoiser)
    settings = dataclasses.replace(settings, mode=mode)
    if mode == "none":
        return NO_CONTEXT
    if settings.interpolate_to is not None and canvas.wrap_width:
        raise ValueError(
            "context.interpolate_to leads from the left end of a canvas to the right one: "
            "canvas.wrap_width must be false."
        )
    end = image_file(settings, "interpolate_to")
    seeds = seeds_of(settings, canvas, data, first=first, count=count)
    backbone = (
        backbone_of(denoiser.conditioning, settings.backbone) if settings.uses_tokens else None
    )
    scale = (denoiser.conditioning or {}).get("scale")
    return ContextConditioner(
        settings=settings,
        scale=None if scale is None else tuple(scale),
        seeds=seeds,
        end=end,
        backbone=backbone,
        encode=None if backbone is None else one_by_one(backbone),
        prompted=prompted(settings, backbone),
    )


def image_file(settings: ContextSettings, name: str) -> ImageFile | None:
    """Returns the image that a setting names; None if it names none."""
    path = getattr(settings, name)
    if path is None:
        return None
    return ImageFile.read(path, f"context.{name}", max_megapixels=settings.max_megapixels)


def backbone_of(conditioning: dict[str, Any] | None, weights: Path | None = None) -> Backbone:
    """Returns the backbone that a denoiser was trained with.

    Args:
        conditioning: What the denoiser says of the contexts of its training.
        weights: Where the backbone's weights lie, if not where they lay then.

    Raises:
        ValueError: If the denoiser names no backbone, or it is not the same one.
        OSError: If the weights cannot be found.
        RuntimeError: If a package is not installed.
    """
    description = (conditioning or {}).get("backbone")
    if description is None:
        raise ValueError(
            "the denoiser's file must name the backbone that its tokens came from (conditioning), "
            "but it names none: export it again from its training."
        )
    if weights is not None:
        description = moved(description, weights)
    try:
        return build(description)
    except ModuleNotFoundError as error:
        raise RuntimeError(str(error)) from error


def moved(description: dict[str, Any], weights: Path) -> dict[str, Any]:
    """Returns the description of a backbone whose weights lie elsewhere.

    Raises:
        ValueError: If it has no weights of its own.
        FileNotFoundError: If there is nothing at that path.
    """
    settings = description.get("init_args") or {}
    name = next((name for name in ("weights", "model") if name in settings), None)
    if name is None:
        raise ValueError(
            f"context.backbone says where weights lie, but {description['class_path']} has none."
        )
    if not weights.exists():
        raise FileNotFoundError(f"context.backbone must be a folder or file, got {weights}.")
    return {**description, "init_args": {**settings, name: str(weights)}}


def seeds_of(
    settings: ContextSettings, canvas: Canvas, data: PatchData | None, *, first: int, count: int
) -> Seeds | None:
    """Returns the seed images; None where they are not shown and the data has none so large.

    Where they are not shown canvases are compared with them all the same: it is what those that
    were shown them are held against.

    Raises:
        ValueError: If they are shown and cannot be had.
    """
    if data is None:
        if settings.shows_seeds:
            raise ValueError("there are no seed images: data must not be none.")
        return None
    file = image_file(settings, "image")
    size = {"height": canvas.height, "width": canvas.width}
    seeds = Seeds(data=data, first=first, count=count, file=file, **size)
    try:
        # Here, so that it is neither refused nor timed in the middle of the work.
        seeds.of([0])
        if settings.guide == "image":
            seeds.guides([0], swapped_reference=settings.mode == "swapped_reference")
    except ValueError as error:
        if settings.shows_seeds:
            raise ValueError(f"there are no seed images: {error}") from error
        return None
    return seeds


def validate_single_prompt(settings: ContextSettings) -> None:
    """Checks that our own denoisers are told one prompt at most.

    Raises:
        ValueError: If there are several.
    """
    for name in ("prompts", "regions"):
        if getattr(settings, name) is not None:
            raise ValueError(
                f"context.{name} is for pretrained models, denoiser=diffusers:NAME; others are "
                "told one context.prompt."
            )


def prompted(settings: ContextSettings, backbone: Backbone | None) -> Any:
    """Returns the tokens of the prompt, if there is one.

    Raises:
        ValueError: If the backbone has no text tower, or the prompt is too long for it.
    """
    if settings.prompt is None:
        return None
    assert backbone is not None, "a prompt is of use in modes that have one"
    return backbone.text([settings.prompt])


def validate_taken(settings: ContextSettings, mode: str, denoiser: EDMPrecond) -> None:
    """Checks that the denoiser was trained with what it is to be told.

    Raises:
        ValueError: If it was not, or must be told more.
    """
    takes = ", ".join(sorted(denoiser.takes)) or "nothing: it is unconditional"
    conditioning = denoiser.conditioning or {}
    if mode == "none" and "place" in denoiser.takes:
        raise ValueError(
            "this denoiser needs the places of its windows: context.mode must be unconditional or "
            "say more, got none."
        )
    if mode != "none" and not denoiser.takes:
        raise ValueError(
            f"this denoiser takes no contexts: context.mode must be none or auto, got {mode}."
        )
    if mode in WITH_TOKENS and "tokens" not in denoiser.takes:
        raise ValueError(
            f"context.mode={mode} tells tokens, which this denoiser does not take; what it takes "
            f"is {takes}."
        )
    if settings.guide != "none":
        validate_guide(settings, denoiser.takes, conditioning)


def validate_guide(
    settings: ContextSettings, takes: frozenset[str], conditioning: dict[str, Any]
) -> None:
    """Checks that the denoiser was trained with guides of this kind.

    Raises:
        ValueError: If it was not.
    """
    kind = conditioning.get("guide")
    if "guide" not in takes or kind is None:
        raise ValueError(
            f"context.guide={settings.guide} needs a denoiser trained with guides, which this one "
            "was not: set context.guide=none."
        )
    if settings.guide == "plan" and not ("plan" in takes and conditioning.get("plans")):
        raise ValueError(
            "context.guide=plan needs a denoiser trained to make plans (model.context.plan_share "
            "above 0), which this one was not."
        )
    if kind == "blur" and settings.guide != "image":
        raise ValueError(
            f"this denoiser was guided by blurred images: context.guide must be image, got "
            f"{settings.guide}."
        )
    if (kind == "blur") != (settings.blur is not None):
        raise ValueError(
            "context.blur must be set, in px, for a denoiser that was guided by blurred images."
            if kind == "blur"
            else "this denoiser was guided by plans, whose scale is that of its training: "
            f"context.blur must be null, got {settings.blur:g}."
        )
