"""Pictures by one strategy on one denoiser: what makes them, and what they say of themselves."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from denoisers.contract import PatchDenoiser
from patchcanvas.accounting import NFECounter
from patchcanvas.budget import network_calls
from patchcanvas.cli.command_line import Command
from patchcanvas.cli.settings import DEFAULT_CONTEXT, PictureSettings
from patchcanvas.context.conditioner import Conditioner
from patchcanvas.context.settings import ContextSettings
from patchcanvas.environment import resolve_device
from patchcanvas.making import Maker, tuned, validate_fit
from patchcanvas.model import load_model, validate_settings_of_pretrained
from patchcanvas.pictures import write_picture
from patchcanvas.provenance import (
    Provenance,
    described_denoiser,
    described_strategy,
    hashes_of_regions,
    surroundings,
)
from patchcanvas.runtime import Runtime
from strategies.base import Strategy
from strategies.canvas import Canvas, Known

__all__ = ["LoadedDenoiser", "Painting", "fitted_strategy", "maker_and_facts"]

Pixels = UInt8[Tensor, "channels height width"]


class LoadedDenoiser:
    """A denoiser, and where and how it computes; good for any number of pictures.

    Attributes:
        model: The denoiser and what belongs to it.
        device: Where it computes.

    Args:
        name: What it is called, see `patchcanvas.model.load_model`.
        runtime: Precision, memory and speed.
        device: `auto`, or a device's name.
        cache_folder: Where the batch that fits is remembered.
        context: What is told of it when it is loaded: label, negative prompt and gates.

    Raises:
        ValueError: If the denoiser cannot be loaded, or not be set up as asked for.
        OSError: If a file is missing.
    """

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        device: str,
        cache_folder: Path,
        context: ContextSettings = DEFAULT_CONTEXT,
    ) -> None:
        self.name = name
        self.runtime = runtime
        self.device_name = device
        self.device = resolve_device(device)
        runtime.validate_device(self.device)
        self.cache_folder = cache_folder
        self.context = context
        self.negative_prompt = context.negative_prompt
        self.model = load_model(
            name,
            runtime,
            negative_prompt=context.negative_prompt,
            label=context.label,
            gate=context.gate,
        )

    @classmethod
    def of(cls, settings: PictureSettings) -> "LoadedDenoiser":
        """Loads what a command names."""
        return cls(
            settings.denoiser,
            settings.runtime,
            settings.device,
            settings.cache_folder,
            settings.context,
        )

    def __repr__(self) -> str:
        kind = type(self.model.denoiser).__name__
        return f"<{self.name}: {kind}, patches of {self.model.patch} px, on {self.device}>"

    @functools.cached_property
    def denoiser(self) -> PatchDenoiser:
        """The denoiser in its place, which is where it goes when it is first asked for."""
        return tuned(self.model, self, self.device)

    def lead_away_from(self, negative_prompt: str | None) -> None:
        """Sets what guidance leads away from; None is what the model's own pipeline takes.

        Raises:
            ValueError: If it is no pretrained model.
        """
        if negative_prompt == self.negative_prompt:
            return
        validate_settings_of_pretrained(self.name, negative_prompt=negative_prompt)
        pretrained = self.model.pretrained
        if pretrained is not None and pretrained.prompts is not None:
            pretrained.denoiser.unconditional = pretrained.prompts.unconditional(negative_prompt)
        self.negative_prompt = negative_prompt


@dataclasses.dataclass(frozen=True)
class Painting:
    """Pictures that are to be made, any number of samples.

    Args:
        settings: What was asked for.
        maker: Makes any sample.
        facts: What all samples are made from.
    """

    settings: PictureSettings
    maker: Maker
    facts: Provenance

    @property
    def stem(self) -> str:
        """What files are called that nobody names."""
        canvas = self.maker.canvas
        return f"{self.facts.row.rpartition('.')[2]}-{canvas.width}x{canvas.height}"

    @property
    def profile(self) -> bytes | None:
        """What the colours mean (ICC); None for sRGB."""
        return None

    @property
    def said(self) -> str:
        """What a user is told of a picture."""
        canvas = self.maker.canvas
        return f"{canvas.width} x {canvas.height} px (width x height)."

    def finished(self, canvas: Pixels) -> Pixels:
        """Returns the picture that a canvas becomes."""
        return canvas

    def origin(self, sample: int) -> Provenance:
        """Returns what a sample is made from."""
        return dataclasses.replace(self.facts, sample=sample)

    def made(
        self, sample: int, *, called: Callable[[float], None] = lambda share: None
    ) -> UInt8[Tensor, "channels height width"]:
        """Returns a sample.

        Args:
            sample: Its number.
            called: Told of every network call what part of the work it is.

        Raises:
            FloatingPointError: If a pixel is not finite.
        """
        # One at a time: the last bit of a picture must not depend on its company.
        maker = dataclasses.replace(self.maker, advance=called)
        (canvas,) = maker(range(sample, sample + 1)).canvases
        return self.finished(canvas)

    def write(self, sample: int, file: Path, *, called: Callable[[float], None]) -> None:
        """Makes a sample and writes it, with its record, in one stroke."""
        canvas = self.made(sample, called=called)
        write_picture(canvas, file, origin=self.origin(sample), profile=self.profile)


def fitted_strategy(command: Command, loaded: LoadedDenoiser) -> Strategy:
    """Returns the one strategy of a command on the levels of a denoiser."""
    (name,) = command.classes
    settings = command.settings
    return loaded.model.fitted(command.build(name, solver=settings.solver), settings.runtime)


def maker_and_facts(
    program: str,
    command: Command,
    arguments: list[str],
    loaded: LoadedDenoiser,
    canvas: Canvas,
    conditioner: Conditioner,
    *,
    known: Known | None = None,
    inputs: dict[str, str],
) -> tuple[Maker, Provenance]:
    """Returns what makes pictures, checked, and what they are made from.

    Args:
        program: Who makes them.
        command: What was asked for, with one strategy.
        arguments: The words that asked for it.
        loaded: The denoiser, whose networks are placed last of all.
        canvas: What is made.
        conditioner: What is told.
        known: Pixels that are given, on the CPU.
        inputs: SHA-256 of what else goes in, by name.

    Raises:
        ValueError: If the strategy cannot make such a canvas so told.
    """
    (name,) = command.classes
    model, settings = loaded.model, command.settings
    strategy = fitted_strategy(command, loaded)
    validate_fit(name, strategy, model, canvas, conditioner)
    facts = Provenance(
        program=program,
        command=arguments,
        row=name,
        sample=0,
        together=None,
        seed=settings.seed,
        strategy=described_strategy(strategy),
        settings=command.record,
        conditioning=conditioner.description,
        denoiser=described_denoiser(model.description),
        inputs=inputs | hashes_of_regions(settings.context),
        environment=surroundings(loaded.device, strategy),
    )
    calls = network_calls(strategy, model, canvas, conditioner, known)
    if known is not None:
        known = Known(known.y.to(loaded.device), known.mask.to(loaded.device))
    maker = Maker(
        strategy,
        NFECounter(loaded.denoiser),
        canvas,
        settings.seed,
        loaded.device,
        conditioner.to(loaded.device),
        known=known,
        calls=calls,
    )
    return maker, facts
