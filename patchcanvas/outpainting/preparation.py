"""All that is needed before a picture is painted, checked: what is wrong is said at once."""

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from datamodules.nothing import Nothing
from patchcanvas.accounting import Metered
from patchcanvas.budget import network_calls
from patchcanvas.cli.command_line import Command
from patchcanvas.context.choice import telling_of
from patchcanvas.context.conditioner import Telling
from patchcanvas.environment import resolve_device
from patchcanvas.making import Maker, refuse_misfits, tuned
from patchcanvas.model import Model, load_model
from patchcanvas.outpainting.given import Given, given_of
from patchcanvas.outpainting.settings import PROGRAM, OutpaintSettings
from patchcanvas.provenance import (
    Origin,
    described_denoiser,
    described_strategy,
    hashes_of_regions,
    surroundings,
)
from strategies.base import Strategy
from strategies.canvas import Canvas

__all__ = ["Outpainting", "prepared"]


@dataclasses.dataclass(frozen=True)
class Outpainting:
    """An image that is to be continued, and what continues it.

    Args:
        settings: What was asked for.
        given: What is given of the canvas.
        maker: Makes any sample of it.
        facts: What all samples were made from.
    """

    settings: OutpaintSettings
    given: Given
    maker: Maker
    facts: Origin

    def origin(self, sample: int) -> Origin:
        """Returns what a sample is made from."""
        return dataclasses.replace(self.facts, sample=sample)

    def made(
        self, sample: int, *, told: Callable[[float], None] = lambda share: None
    ) -> UInt8[Tensor, "3 height width"]:
        """Returns a sample, in which the kept pixels are those of the image.

        Args:
            sample: Its number.
            told: Told of every network call what part of the work it is.

        Raises:
            FloatingPointError: If a pixel is not finite.
        """
        # One at a time: the last bit of a picture must not depend on its company.
        maker = dataclasses.replace(self.maker, advance=told)
        (canvas,) = maker(range(sample, sample + 1)).canvases
        return self.given.pasted(canvas)


def prepared(command: Command, arguments: list[str]) -> Outpainting:
    """Reads the image, loads the denoiser, and checks that they go together.

    Args:
        command: What was asked for.
        arguments: The words that asked for it.

    Raises:
        ValueError: If something does not fit.
        OSError: If a file is missing.
        RuntimeError: If a backbone needs a package that is not installed.
    """
    settings = command.settings
    given, hashes = given_of(settings)
    device = resolve_device(settings.device)
    model = load_model(
        settings.denoiser,
        settings.runtime,
        negative_prompt=settings.context.negative_prompt,
        label=settings.context.label,
    )
    canvas = canvas_of(settings, given, model)
    telling = telling_for(settings, model, canvas)
    (name,) = command.classes
    strategy = model.fitted(command.build(name, solver=settings.solver), settings.runtime)
    refuse_misfits(name, strategy, model, canvas, telling)
    refuse_unseen(given, model.scale)
    facts = Origin(
        program=PROGRAM,
        command=arguments,
        row=name,
        sample=0,
        together=None,
        seed=settings.seed,
        strategy=described_strategy(strategy),
        settings=command.record,
        told=telling.description,
        denoiser=described_denoiser(model.description),
        inputs=hashes | hashes_of_regions(settings.context),
        environment=surroundings(device, strategy),
    )
    calls = network_calls(strategy, model, canvas, telling, given.known("cpu"))
    maker = maker_of(settings, given, model, canvas, telling, strategy, device)
    return Outpainting(settings, given, dataclasses.replace(maker, calls=calls), facts)


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


def telling_for(settings: OutpaintSettings, model: Model, canvas: Canvas) -> Telling:
    """Returns what the denoiser is told; where that is a seed image, by default of the image."""
    context = settings.context
    if context.shows_seeds and context.image is None:
        context = dataclasses.replace(
            context, image=settings.image, max_megapixels=settings.max_megapixels
        )
    return telling_of(context, model, canvas, Nothing(), first=0, count=settings.num_samples)


def refuse_unseen(given: Given, scale: int) -> None:
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


def maker_of(
    settings: OutpaintSettings,
    given: Given,
    model: Model,
    canvas: Canvas,
    telling: Telling,
    strategy: Strategy,
    device: torch.device,
) -> Maker:
    """Places the networks, and returns what makes pictures with them."""
    return Maker(
        strategy,
        Metered(tuned(model, settings, device)),
        canvas,
        settings.seed,
        device,
        telling.to(device),
        known=given.known(device),
    )
