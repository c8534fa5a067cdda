"""All that is needed before a picture is painted, checked: what is wrong is said at once."""

import dataclasses

import torch.nn.functional as F
from typing_extensions import override

from datamodules.nothing import Nothing
from patchcanvas.cli.command_line import Command
from patchcanvas.context.choice import conditioner_of
from patchcanvas.context.conditioner import Conditioner
from patchcanvas.model import Model
from patchcanvas.outpainting.given import Given, Pixels, given_of
from patchcanvas.outpainting.settings import PROGRAM, OutpaintSettings
from patchcanvas.painting import LoadedDenoiser, Painting, maker_and_facts
from strategies.canvas import Canvas

__all__ = ["Outpainting", "prepared"]


@dataclasses.dataclass(frozen=True)
class Outpainting(Painting):
    """An image that is to be continued, and what continues it.

    Args:
        settings: What was asked for.
        maker: Makes any sample of it.
        facts: What all samples are made from.
        given: What is given of the canvas; its pixels come back in every sample.
    """

    settings: OutpaintSettings
    given: Given

    @property
    @override
    def stem(self) -> str:
        return f"{self.settings.source.stem}-{self.given.width}x{self.given.height}"

    @property
    @override
    def profile(self) -> bytes | None:
        return self.given.profile

    @property
    @override
    def said(self) -> str:
        kept = self.given.kept
        return (
            f"{self.given.width} x {self.given.height} px (width x height), of which "
            f"{kept.sum():,} are those of the image and {(~kept).sum():,} are painted."
        )

    @override
    def finished(self, canvas: Pixels) -> Pixels:
        return self.given.pasted(canvas)


def prepared(
    command: Command, arguments: list[str], *, loaded: LoadedDenoiser | None = None
) -> Outpainting:
    """Reads the image, loads the denoiser, and checks that they go together.

    Args:
        command: What was asked for.
        arguments: The words that asked for it.
        loaded: The denoiser, where it is loaded already.

    Raises:
        ValueError: If something does not fit.
        OSError: If a file is missing.
        RuntimeError: If a backbone needs a package that is not installed.
    """
    settings = command.settings
    given, hashes = given_of(settings)
    loaded = loaded or LoadedDenoiser.of(settings)
    loaded.lead_away_from(settings.context.negative_prompt)
    canvas = canvas_of(settings, given, loaded.model)
    conditioner = conditioner_for(settings, loaded.model, canvas)
    validate_seen(given, loaded.model.scale)
    maker, facts = maker_and_facts(
        PROGRAM,
        command,
        arguments,
        loaded,
        canvas,
        conditioner,
        known=given.known("cpu"),
        inputs=hashes,
    )
    return Outpainting(settings, maker, facts, given)


def canvas_of(settings: OutpaintSettings, given: Given, model: Model) -> Canvas:
    """Returns the canvas.

    Raises:
        ValueError: If the denoiser does not make colours.
    """
    if model.channels != 3:
        raise ValueError(
            f"an image is painted in RGB: the denoiser must have 3 channels, got {model.channels}."
        )
    return Canvas(
        height=given.height,
        width=given.width,
        wrap_height=settings.canvas.wrap_height,
        wrap_width=settings.canvas.wrap_width,
    )


def conditioner_for(settings: OutpaintSettings, model: Model, canvas: Canvas) -> Conditioner:
    """Returns what the denoiser is told; where that is a seed image, by default of the image."""
    context = settings.context
    if context.shows_seeds and context.image is None:
        context = dataclasses.replace(
            context, image=settings.image, max_megapixels=settings.max_megapixels
        )
    return conditioner_of(context, model, canvas, Nothing(), first=0, count=settings.num_samples)


def validate_seen(given: Given, scale: int) -> None:
    """Checks that something of the image is left for a denoiser of latents.

    Raises:
        ValueError: If no pixel of the latents is given whole.
    """
    beyond = (0, -given.width % scale, 0, -given.height % scale)
    missing = F.pad((~given.kept)[None].float(), beyond)
    if F.max_pool2d(missing, scale).all():
        raise ValueError(
            f"this denoiser sees the image in cells of {scale} x {scale} px, of which at least one "
            "must be kept whole: keep more of it, or give a larger scale=."
        )
