"""What canvases are conditioned on: every setting, with its unit and its default."""

import dataclasses
from pathlib import Path
from typing import Literal

from patchcanvas.image_file import MAX_MEGAPIXELS, validate_max_megapixels

__all__ = ["WITH_TOKENS", "ContextSettings", "GuideKind", "Mode", "Region"]

Mode = Literal[
    "auto", "none", "unconditional", "seed_image", "autoregressive", "text", "swapped_reference"
]
GuideKind = Literal["none", "image", "plan", "canvas"]

WITH_TOKENS = ("seed_image", "autoregressive", "text", "swapped_reference")
TOKEN_MODES = f"context.mode={', '.join(WITH_TOKENS[:-1])} or {WITH_TOKENS[-1]}"
SEED_MODES = "context.mode=seed_image or context.guide=image"
LOOKING_MODES = "context.mode=autoregressive or context.guide=canvas"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Region:
    """A part of the canvas with a prompt of its own.

    Args:
        prompt: What it shows.
        mask: Image file, white where the region is; stretched to the canvas.
        box: Top, left, height and width, in pixels, in place of a mask.
    """

    prompt: str
    mask: Path | None = None
    box: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if (self.mask is None) == (self.box is None):
            raise ValueError(
                f"a region needs a mask or a box, and not both, got mask={self.mask}, "
                f"box={self.box}."
            )
        if self.box is not None and (min(self.box[:2]) < 0 or min(self.box[2:]) < 1):
            raise ValueError(
                "a region's box is top, left, height and width in px, the first two at least 0 and "
                f"the others at least 1, got {list(self.box)}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContextSettings:
    """What a denoiser that takes contexts is conditioned on.

    Args:
        mode: Where its tokens come from. `none`: no context at all. `unconditional`: no tokens, but
            where windows lie and which of their pixels are known. `seed_image`: a reference image
            for the whole canvas. `autoregressive`: the canvas generated so far, encoded again as it
            grows. `text`: a prompt. `swapped_reference`: a reference image, with the guide of
            another one. `auto` is text where there is a prompt, else unconditional for a denoiser
            that takes contexts and none for one that does not.
        image: Reference image of every sample, a file; by default each has a held-out crop of the
            data, of the canvas's size, which FID+ does not compare with.
        interpolate_to: A second image file. Windows are conditioned on what lies between the two,
            on the great circle from the first at the left edge to this one at the right edge.
        fixed_ends: Whether both real images stand at the two ends, each one window wide.
        guidance_scale: Of classifier-free guidance, at least 0; 1 is none, others but 0 double the
            windows. By default what the pipeline of a pretrained model takes, and 1 for others.
        gate: What all gates of the cross-attention are set to; 0 closes them, null leaves them as
            trained.
        prompt: The text of the backbone's text tower, or of the text encoders of a pretrained
            model. With regions, what the rest of the canvas shows.
        negative_prompt: What guidance of a pretrained model leads away from.
        prompts: Several prompts that follow each other from left to right, or round a loop, for a
            pretrained model: each window is conditioned between the two next to its middle.
        regions: Parts of the canvas with prompts of their own, for a pretrained model, each with a
            prompt and a mask or box: [{prompt: a castle, box: [0, 0, 512, 512]}].
        label: Number of the class, for a pretrained model of classes.
        guide: Low-resolution conditioning of every window. `image`: the reference image. `plan`: a
            coarse draft, made first by the same denoiser and strategy. `canvas`: what is generated
            so far.
        blur: Standard deviation of the blur of an image that guides, in pixels, for a denoiser that
            was trained with blurred guides.
        refinement_iterations: How often a canvas is made, each time conditioned on the one before.
        backbone: Folder or file of the backbone's weights, where they are not where they were when
            the denoiser was trained; they must be the same ones.
        max_megapixels: Most pixels of an image or mask that are decoded, in millions; each takes 4
            bytes of memory and as many to work on.
    """

    mode: Mode = "auto"
    image: Path | None = None
    interpolate_to: Path | None = None
    fixed_ends: bool = False
    guidance_scale: float | None = None
    gate: float | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    prompts: list[str] | None = None
    regions: list[Region] | None = None
    label: int | None = None
    guide: GuideKind = "none"
    blur: float | None = None
    refinement_iterations: int = 1
    backbone: Path | None = None
    max_megapixels: float = MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        self._validate_ranges()
        self._validate_used()
        if self.mode == "swapped_reference" and self.guide != "image":
            raise ValueError(
                "context.mode=swapped_reference takes tokens of one image and the guide of "
                f"another one: set context.guide=image, got {self.guide}."
            )
        if self.guide == "plan" and (self.mode == "autoregressive" or self.fixed_ends):
            other = "context.fixed_ends" if self.fixed_ends else "context.mode=autoregressive"
            raise ValueError(
                "context.guide=plan is made before there is a canvas to be seen, and so does not "
                f"go with {other}."
            )

    @property
    def scale(self) -> float:
        """Scale of guidance for our own denoisers."""
        return 1.0 if self.guidance_scale is None else self.guidance_scale

    @property
    def texts(self) -> list[str]:
        """The prompts of a pretrained model: one, several in a row, or those of regions."""
        if self.regions:
            return [self.prompt or "", *(region.prompt for region in self.regions)]
        return self.prompts or ([] if self.prompt is None else [self.prompt])

    @property
    def uses_text(self) -> bool:
        """Whether windows are told a text."""
        return self.mode == "text" or (self.mode == "auto" and bool(self.texts))

    @property
    def uses_tokens(self) -> bool:
        """Whether windows are told tokens."""
        return self.mode in WITH_TOKENS or self.uses_text

    @property
    def shows_seeds(self) -> bool:
        """Whether seed images have a part in what is told."""
        return self.mode in ("seed_image", "swapped_reference") or self.guide == "image"

    def _validate_ranges(self) -> None:
        validate_max_megapixels(self.max_megapixels)
        if not 0 <= self.scale < float("inf"):
            raise ValueError(
                "context.guidance_scale must be a finite number from 0 up, got "
                f"{self.guidance_scale}."
            )
        if self.refinement_iterations < 1:
            raise ValueError(
                "context.refinement_iterations must be at least 1, got "
                f"{self.refinement_iterations}."
            )
        if self.blur is not None and not 0 < self.blur < float("inf"):
            raise ValueError(f"context.blur must be above 0 px, got {self.blur}.")
        if self.prompts is not None and not self.prompts:
            raise ValueError("context.prompts must hold at least one prompt, got none.")
        if self.prompts and (self.regions or self.prompt is not None):
            other = "context.regions" if self.regions else "context.prompt"
            raise ValueError(f"prompts in a row and {other} do not go together: leave out one.")
        if self.mode == "text" and not self.texts:
            raise ValueError("context.mode=text needs words: set context.prompt.")

    def _validate_used(self) -> None:
        """Refuses what would change nothing: a row must not seem to rest on it."""
        looks = self.mode == "autoregressive" or self.guide == "canvas"
        for name, is_set, has_use, needed in (
            ("guide", self.guide != "none", self.mode != "none", "a context.mode but none"),
            ("prompt", self.prompt is not None, self.uses_text, "context.mode=text"),
            ("prompts", self.prompts is not None, self.uses_text, "context.mode=text"),
            ("regions", self.regions is not None, self.uses_text, "context.mode=text"),
            (
                "negative_prompt",
                self.negative_prompt is not None,
                self.uses_text,
                "context.prompt, whose guidance leads away from it",
            ),
            ("image", self.image is not None, self.shows_seeds, SEED_MODES),
            (
                "interpolate_to",
                self.interpolate_to is not None,
                self.mode == "seed_image",
                "context.mode=seed_image",
            ),
            (
                "fixed_ends",
                self.fixed_ends,
                self.interpolate_to is not None,
                "context.interpolate_to=FILE",
            ),
            ("blur", self.blur is not None, self.guide == "image", "context.guide=image"),
            ("refinement_iterations", self.refinement_iterations > 1, looks, LOOKING_MODES),
            ("guidance_scale", self.scale != 1, self.uses_tokens, TOKEN_MODES),
            ("gate", self.gate is not None, self.uses_tokens, TOKEN_MODES),
            ("backbone", self.backbone is not None, self.uses_tokens, TOKEN_MODES),
        ):
            if is_set and not has_use:
                value = str(getattr(self, name)).replace("True", "true")
                raise ValueError(f"context.{name}={value} has no use without {needed}.")
