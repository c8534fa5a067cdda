"""How canvases are made and told: the one place of the harness that calls a strategy with contexts.

What a sample is told follows from its number alone, never from those that it is made with, bit by
bit: images are encoded one at a time.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from typing_extensions import override

from backbones.contract import Backbone
from denoisers.conditions import Tokens
from denoisers.contract import Image, Mask, PatchDenoiser
from denoisers.guidance import Guided
from denoisers.guide import blurred, filled, pooled
from patchcanvas.context.seeds import ImageFile, Seeds
from patchcanvas.context.settings import ContextSettings
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas, Known
from strategies.context import CanvasContext
from strategies.parallel import ParallelStrategy
from strategies.planning import plan_canvas, planned_context, refined

__all__ = [
    "NO_CONTEXT",
    "UNCONDITIONAL",
    "Conditioner",
    "ContextConditioner",
    "NoContext",
    "one_by_one",
]

T = TypeVar("T")

Images = UInt8[Tensor, "images 3 height width"]
Encode = Callable[[Image], Tokens]


class Conditioner(abc.ABC):
    """Makes canvases with any strategy, and says what they are told.

    Attributes:
        seeds: The images that canvases are compared with; None where there are none.
    """

    seeds: Seeds | None = None

    @abc.abstractmethod
    def generate(
        self,
        strategy: Strategy,
        denoiser: PatchDenoiser,
        canvas: Canvas,
        noise: CanvasNoise,
        *,
        known: Known | None = None,
    ) -> Image:
        """Returns one canvas for each sample of `noise`.

        Args:
            strategy: Makes them.
            denoiser: What is asked, and metered: guidance lies round it.
            canvas: Their size.
            noise: Numbers the samples.
            known: Pixels that are given.
        """

    @property
    @abc.abstractmethod
    def description(self) -> dict[str, Any]:
        """What figures rest on, as plain values."""

    @property
    def free(self) -> "Conditioner":
        """The same without a backbone, whose tokens say nothing: for counting."""
        return self

    @property
    def facts(self) -> "Conditioner":
        """What is left where nothing is wished for: where windows lie and what is known."""
        return self

    def to(self, device: torch.device) -> "Conditioner":
        """Moves the backbone, and returns itself."""
        return self

    @abc.abstractmethod
    def validate_fit(self, strategy: Strategy, denoiser: PatchDenoiser, canvas: Canvas) -> None:
        """Checks that a strategy can make such canvases so told.

        Raises:
            ValueError: If it cannot.
        """

    def pictured(self, count: int) -> dict[str, Images]:
        """Returns what the first samples were shown, by what it is, of the canvas's size."""
        return {}


@dataclasses.dataclass(frozen=True)
class NoContext(Conditioner):
    """Nothing is told."""

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
        return strategy.generate(denoiser, canvas, noise, known=known)

    @property
    @override
    def description(self) -> dict[str, Any]:
        return {"mode": "none"}

    @override
    def validate_fit(self, strategy: Strategy, denoiser: PatchDenoiser, canvas: Canvas) -> None:
        """Refuses nothing: the strategy itself does."""


NO_CONTEXT = NoContext()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ContextConditioner(Conditioner):
    """What `ContextSettings` ask for, checked.

    Args:
        settings: What is told; the mode is neither auto nor none.
        scale: Height and width of a cell of plans, in pixels; None for a denoiser of no plans.
        seeds: Seed images, also where they are not shown but only compared with.
        end: What the canvas turns into at its right end.
        backbone: Encodes images, for modes that need it.
        encode: What it says of them.
        prompted: Tokens of the prompt.
    """

    settings: ContextSettings
    scale: tuple[int, int] | None = None
    seeds: Seeds | None = None
    end: ImageFile | None = None
    backbone: Backbone | None = None
    encode: Encode | None = None
    prompted: Tokens | None = None

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
        if self.settings.scale != 1:
            denoiser = Guided(denoiser, self.settings.scale)
        context = CanvasContext(**self._tokens(canvas, noise), **self._guide(noise))
        if self.settings.guide == "plan":
            scale = _checked(self.scale)
            context = planned_context(strategy, denoiser, canvas, noise, context, scale=scale)
        if self.settings.fixed_ends:
            known = self._ends(canvas, noise, strategy.window_of(denoiser)[1])
        passes = self.settings.refinement_iterations
        return refined(
            strategy, denoiser, canvas, noise, context=context, passes=passes, known=known
        )

    @property
    @override
    def description(self) -> dict[str, Any]:
        names = ("mode", "gate", "prompt", "guide", "blur", "refinement_iterations", "fixed_ends")
        file = None if self.seeds is None else self.seeds.file
        return {name: getattr(self.settings, name) for name in names} | {
            "guidance_scale": self.settings.scale,
            "image_sha256": None if file is None else file.sha256,
            "to_sha256": None if self.end is None else self.end.sha256,
            "backbone": None if self.backbone is None else self.backbone.fingerprint,
            "seen_by": None if self.backbone is None else self.backbone.seen_by or None,
        }

    @property
    @override
    def free(self) -> "ContextConditioner":
        return dataclasses.replace(self, encode=None if self.encode is None else nothing_said)

    @property
    @override
    def facts(self) -> "ContextConditioner":
        return UNCONDITIONAL

    @override
    def to(self, device: torch.device) -> "ContextConditioner":
        if self.backbone is not None:
            self.backbone.to(device)
        return self

    @override
    def validate_fit(self, strategy: Strategy, denoiser: PatchDenoiser, canvas: Canvas) -> None:
        window = strategy.window_of(denoiser)
        looks = self.settings.mode == "autoregressive" or self.settings.guide == "canvas"
        sees = self.settings.refinement_iterations > 1 or self.settings.fixed_ends
        if looks and not sees and isinstance(strategy, ParallelStrategy):
            raise ValueError(
                "a parallel strategy has painted nothing before it is done, so that there is no "
                "canvas to be seen: set context.refinement_iterations=2, or tell something else."
            )
        if self.settings.guide == "plan":
            strategy.window_edges(denoiser, plan_canvas(canvas, _checked(self.scale), window))
        if self.settings.fixed_ends and canvas.width <= 2 * window[1]:
            raise ValueError(
                f"context.fixed_ends puts an image of {window[1]} px at both ends: the canvas must "
                f"be wider than {2 * window[1]} px, got {canvas.width} px."
            )

    @override
    def pictured(self, count: int) -> dict[str, Images]:
        if not self.settings.shows_seeds:
            return {}
        return _checked(self.seeds).pictured(range(count), self.settings)

    def _tokens(self, canvas: Canvas, noise: CanvasNoise) -> dict[str, Any]:
        if self.settings.mode == "text":
            return {"tokens": self.prompted}
        if self.settings.mode == "autoregressive":
            encode = _checked(self.encode)
            return {"encode": lambda image, mask: encode(filled(image, _rows(mask, image)))}
        if not self.settings.uses_tokens:
            return {}
        encode, seeds = _checked(self.encode), _checked(self.seeds)
        tokens = {"tokens": encode(_as_image(seeds.of(noise.indices), noise))}
        if self.end is not None:
            end = self.end.of_height(canvas.height, widest=canvas.width)
            tokens["ends"] = encode(_as_image(end[None], noise))
        return tokens

    def _guide(self, noise: CanvasNoise) -> dict[str, Any]:
        if self.settings.guide == "canvas":
            return {"grown_guide": True, "scale": self.scale}
        if self.settings.guide != "image":
            return {}
        swapped_reference = self.settings.mode == "swapped_reference"
        guides = _checked(self.seeds).guides(noise.indices, swapped_reference=swapped_reference)
        image = _as_image(guides, noise)
        if self.settings.blur is not None:
            return {"plan": blurred(image, self.settings.blur), "scale": (1, 1)}
        whole = torch.ones(1, 1, *image.shape[-2:], dtype=torch.bool, device=image.device)
        return {"plan": pooled(image, whole, _checked(self.scale))[0], "scale": self.scale}

    def _ends(self, canvas: Canvas, noise: CanvasNoise, width: int) -> Known:
        """Returns both real images, each `width` px wide and as high as the canvas."""
        left = _as_image(_checked(self.seeds).left_ends(noise.indices, width), noise)
        right = _as_image(_checked(self.end).covering(canvas.height, width)[None], noise)
        first = Known.placed(left, canvas)
        last = Known.placed(right.expand_as(left), canvas, left=canvas.width - width)
        return Known(first.pasted(last.y), first.mask | last.mask)


UNCONDITIONAL = ContextConditioner(settings=ContextSettings(mode="unconditional"))


def one_by_one(backbone: Backbone) -> Encode:
    """Returns the backbone, shown one image at a time: no image's tokens depend on another."""
    return lambda images: torch.cat([backbone(image[None]) for image in images])


def nothing_said(images: Image) -> Tokens:
    """Returns tokens that cost nothing."""
    return images.new_zeros(len(images), 1, 1)


def _checked(value: T | None) -> T:
    """Returns what `conditioner_of` has given where the settings have a use for it."""
    assert value is not None
    return value


def _as_image(images: Images, noise: CanvasNoise) -> Float[Tensor, "images 3 height width"]:
    """Returns bytes as images in [-1, 1], where and in which precision canvases are made."""
    return images.to(noise.device).to(noise.dtype) / 127.5 - 1


def _rows(mask: Mask, image: Image) -> Bool[Tensor, "batch _ height width"]:
    """Returns a mask with one row an image."""
    return mask.expand(len(image), *mask.shape[1:])
