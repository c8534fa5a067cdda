"""Prompts for a pretrained model: one, several along the canvas, or one for each region."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as Picture
from torch import Tensor
from typing_extensions import override

from denoisers.contract import Image, PatchDenoiser
from denoisers.guidance import Guided
from denoisers.regions import Regional
from patchcanvas.context.conditioner import NO_CONTEXT, Conditioner
from patchcanvas.context.settings import ContextSettings, Region
from patchcanvas.image_file import MAX_MEGAPIXELS
from patchcanvas.mask_file import read_mask
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas, Known
from strategies.prompts import PromptContext

__all__ = ["Prompted", "prompted_conditioner"]

Masks = Float[Tensor, "texts height width"]


@dataclasses.dataclass(frozen=True, eq=False)
class Prompted(Conditioner):
    """What a model's own text encoders say of prompts.

    Args:
        prompts: The prompts, in the order of the context's texts.
        context: What windows are told.
        guidance: Scale of classifier-free guidance; 1 is none.
        negative: What guidance leads away from; None for what the model's pipeline takes.
    """

    prompts: tuple[str, ...]
    context: PromptContext
    guidance: float
    negative: str | None = None

    @override
    def generate(
        self,
        strategy: Strategy,
        denoiser: PatchDenoiser,
        canvas: Canvas,
        noise: CanvasNoise,
        *,
        known: Known | None = None,
    ) -> Image:
        if self.guidance != 1:
            denoiser = Guided(denoiser, self.guidance)
        if self.context.masks is not None:
            denoiser = Regional(denoiser, self.context.tokens, self.context.pooled)
        return strategy.generate(denoiser, canvas, noise, known=known, context=self.context)

    @property
    @override
    def description(self) -> dict[str, Any]:
        masks = self.context.masks
        return {
            "mode": "text",
            "prompts": list(self.prompts),
            "negative_prompt": self.negative,
            "guidance_scale": self.guidance,
            "shares": None if masks is None else masks.mean((1, 2)).tolist(),
        }

    @property
    @override
    def facts(self) -> Conditioner:
        return dataclasses.replace(self, context=dataclasses.replace(self.context, masks=None))

    @override
    def to(self, device: torch.device) -> "Prompted":
        values = {
            field.name: getattr(self.context, field.name)
            for field in dataclasses.fields(self.context)
        }
        moved: dict[str, Any] = {
            name: None if value is None else value.to(device) for name, value in values.items()
        }
        return dataclasses.replace(self, context=PromptContext(**moved))

    @override
    def validate_fit(self, strategy: Strategy, denoiser: PatchDenoiser, canvas: Canvas) -> None:
        """Refuses nothing: the strategy itself does."""


def prompted_conditioner(settings: ContextSettings, pretrained: Any, canvas: Canvas) -> Conditioner:
    """Returns what a pretrained model is told.

    Args:
        settings: What was asked for.
        pretrained: The model, a `denoisers.pretrained.model.PretrainedModel`.
        canvas: What is made, in pixels.

    Raises:
        ValueError: If it is asked for what a pretrained model does not take.
        OSError: If a mask cannot be found.
    """
    validate_text_only(settings)
    prompts = settings.texts
    if pretrained.prompts is None:
        if prompts or settings.guidance_scale is not None or settings.negative_prompt is not None:
            raise ValueError(
                "this pretrained model takes no text: context.prompt and what goes with it must "
                "be left out."
            )
        return NO_CONTEXT
    limit = settings.max_megapixels
    masks = region_masks(settings.regions, canvas, limit) if settings.regions else None
    if not prompts:
        if settings.guidance_scale not in (None, 1):
            raise ValueError(
                "context.guidance_scale leads towards a prompt: set context.prompt, or leave the "
                "scale out."
            )
        return NO_CONTEXT
    text = pretrained.prompts(prompts)
    # In float32: bfloat16 has too few digits for what lies between two texts.
    pooled = None if text.pooled is None else text.pooled.float()
    guidance = pretrained.guidance if settings.guidance_scale is None else settings.guidance_scale
    return Prompted(
        tuple(prompts),
        PromptContext(tokens=text.tokens.float(), pooled=pooled, masks=masks),
        guidance,
        settings.negative_prompt,
    )


def validate_text_only(settings: ContextSettings) -> None:
    """Checks that nothing is asked for that only our own denoisers take.

    Raises:
        ValueError: If something is.
    """
    if settings.mode not in ("auto", "text"):
        raise ValueError(
            "a pretrained model is told prompts and nothing else: context.mode must be auto or "
            f"text, got {settings.mode}."
        )
    for name, nothing in (
        ("guide", "none"),
        ("refinement_iterations", 1),
        ("gate", None),
        ("backbone", None),
    ):
        if getattr(settings, name) != nothing:
            raise ValueError(
                f"a pretrained model is told prompts and nothing else: context.{name} must be left "
                f"out, got {getattr(settings, name)}."
            )


def region_masks(
    regions: Sequence[Region], canvas: Canvas, max_megapixels: float = MAX_MEGAPIXELS
) -> Masks:
    """Returns how much of each pixel belongs to the background and to each region, 1 in all.

    Where regions overlap they share; what no region covers is background.

    Raises:
        ValueError: If a mask is no image, or a box does not lie on the canvas.
        OSError: If a mask cannot be found.
    """
    shares = torch.stack([region_mask(region, canvas, max_megapixels) for region in regions])
    shares = shares / shares.sum(0).clamp(min=1)
    return torch.cat([1 - shares.sum(0, keepdim=True), shares])


def region_mask(
    region: Region, canvas: Canvas, max_megapixels: float
) -> Float[Tensor, "height width"]:
    """Returns how much of each pixel a region claims."""
    if region.mask is not None:
        mask, _ = read_mask(region.mask, "a region's mask", max_megapixels=max_megapixels)
        return stretched(mask, canvas)
    assert region.box is not None, "a region without a mask has one"
    top, left, height, width = region.box
    if top + height > canvas.height or left + width > canvas.width:
        raise ValueError(
            f"a region's box must lie on the canvas of {canvas.height} x {canvas.width} px, got "
            f"{list(region.box)} (top, left, height, width)."
        )
    mask = torch.zeros(canvas.height, canvas.width)
    mask[top : top + height, left : left + width] = 1
    return mask


def stretched(mask: Float[Tensor, "rows columns"], canvas: Canvas) -> Float[Tensor, "height width"]:
    """Returns a mask of the canvas's size."""
    size = (canvas.width, canvas.height)
    return torch.from_numpy(np.array(Picture.fromarray(mask.numpy()).resize(size))).clamp(0, 1)
