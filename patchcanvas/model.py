"""The denoiser that a command line names: a checkpoint of our own, or a pretrained model."""

import dataclasses
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from denoisers.checkpoint import Checkpoint, load_checkpoint
from denoisers.conditions import Taken
from denoisers.contract import PatchDenoiser
from denoisers.precond import EDMPrecond
from patchcanvas.bundled import DIFFUSERS, checkpoint_file, is_pretrained
from patchcanvas.environment import autocast_dtype
from patchcanvas.runtime import DEFAULT_RUNTIME, Runtime
from strategies.base import Strategy
from strategies.canvas import Canvas
from strategies.latent import on_latents

__all__ = [
    "CanvasHeight",
    "CanvasSize",
    "Loops",
    "Model",
    "load_model",
    "load_own",
    "validate_settings_of_pretrained",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CanvasHeight:
    """How high a canvas is.

    Args:
        height: Pixels from top to bottom; by default the denoiser's patch size.
    """

    height: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loops:
    """Which edges of a canvas continue at the other side.

    Args:
        wrap_height: Whether the bottom edge continues at the top.
        wrap_width: Whether the right edge continues at the left: a loop, a 360-degree panorama.
    """

    wrap_height: bool = False
    wrap_width: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class CanvasSize(Loops, CanvasHeight):
    """The size of what is generated.

    Args:
        width: Pixels from left to right; by default 6 times the height, as in the paper's FID+.
    """

    width: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A denoiser and what belongs to it.

    Args:
        denoiser: Denoises patches, of images or of latents.
        description: What a result must quote to say which one it is.
        pretrained: The pretrained model whose denoiser it is; None for a checkpoint of our own.
        trained_on: Names of the images it was shown in training, as far as that is known.
    """

    denoiser: PatchDenoiser
    description: dict[str, Any]
    pretrained: Any = None
    trained_on: frozenset[str] = frozenset()

    @property
    def own(self) -> EDMPrecond:
        """The denoiser of a checkpoint of our own."""
        assert self.pretrained is None, f"{type(self.denoiser).__name__} is none of ours"
        return cast(EDMPrecond, self.denoiser)  # tests have doubles

    @property
    def takes(self) -> frozenset[Taken]:
        """What the denoiser can be conditioned on."""
        return cast(Any, self.denoiser).takes

    @property
    def network(self) -> nn.Module:
        """The network that is evaluated."""
        network: nn.Module = cast(Any, self.denoiser).network
        return network if self.pretrained is None else cast(nn.Module, network.model)

    @property
    def scale(self) -> int:
        """Pixels of a canvas along a side of one of the denoiser's pixels."""
        return 1 if self.pretrained is None else self.pretrained.scale

    @property
    def patch(self) -> int:
        """Side of a patch, in pixels of a canvas."""
        return self.scale * self.denoiser.patch_size

    @property
    def channels(self) -> int:
        """Channels of a canvas."""
        autoencoder = None if self.pretrained is None else self.pretrained.autoencoder
        return self.denoiser.channels if autoencoder is None else autoencoder.channels

    def canvas(self, size: CanvasSize) -> Canvas:
        """Returns the canvas that is asked for, in pixels, with defaults by the patch."""
        height = self.patch if size.height is None else size.height
        return Canvas(
            height=height,
            width=6 * height if size.width is None else size.width,
            channels=self.channels,
            wrap_height=size.wrap_height,
            wrap_width=size.wrap_width,
        )

    def fitted(self, strategy: Strategy, runtime: Runtime) -> Strategy:
        """Returns a strategy on the levels of this denoiser, its canvas in pixels."""
        solver = strategy.solver.fitted(self.denoiser)
        if solver is not strategy.solver:
            strategy = dataclasses.replace(strategy, solver=solver)
        autoencoder = None if self.pretrained is None else self.pretrained.autoencoder
        return (
            strategy if autoencoder is None else on_latents(strategy, autoencoder, runtime.decoding)
        )

    def placed(self, device: torch.device, runtime: Runtime) -> "Model":
        """Moves the networks, sets them up as asked for, and returns itself."""
        if self.pretrained is None:
            self.own.to(device)
            self.own.autocast_dtype = autocast_dtype(runtime.precision)
        else:
            place_pipeline(self.pretrained.pipeline, device, runtime)
        if runtime.channels_last:
            self.network.to(memory_format=torch.channels_last)
        if runtime.compile:
            self.network.compile()
        return self


def load_own(name: str | Path, *, device: torch.device | str = "cpu") -> Checkpoint:
    """Loads a denoiser of our own.

    Args:
        name: See `patchcanvas.bundled.checkpoint_file`.
        device: Where it goes.

    Raises:
        ValueError: If there is no such name; a `CheckpointError` if a file is missing, damaged, or
            does not fit the other.
        OSError: If a file is neither here nor can be downloaded.
    """
    return load_checkpoint(checkpoint_file(name), device=device)


def load_model(
    name: str | Path,
    runtime: Runtime,
    *,
    negative_prompt: str | None = None,
    label: int | None = None,
    gate: float | None = None,
) -> Model:
    """Loads a denoiser, on the CPU.

    Args:
        name: A denoiser of our own, by its name or file (`patchcanvas.bundled.checkpoint_file`);
            or `diffusers:` and a folder, or a name on the hub, after which `@` and a revision may
            stand.
        runtime: Says in which precision.
        negative_prompt: What guidance of a pretrained model leads away from.
        label: Number of the class, for a pretrained model of classes.
        gate: What all gates of the cross-attention of a denoiser of our own are set to; None leaves
            them as they were trained.

    Raises:
        CheckpointError: If a file is missing, damaged, or does not fit the other.
        ValueError: If a folder does not hold a whole pipeline, or one that is not known; or if the
            denoiser cannot be set up as asked for.
        OSError: If a pretrained model is neither here nor can be downloaded.
    """
    if not is_pretrained(name):
        validate_settings_of_pretrained(name, negative_prompt=negative_prompt, label=label)
        for setting in ("attention", "offload", "tile", "tile_overlap"):
            if getattr(runtime, setting) != getattr(DEFAULT_RUNTIME, setting):
                raise ValueError(
                    f"runtime.{setting} is for pretrained models, denoiser=diffusers:NAME, got "
                    f"denoiser={name}."
                )
        own = load_own(name)
        if gate is not None:
            for parameter in own.denoiser.network.gates.values():
                parameter.fill_(gate)
        return Model(own.denoiser, own.description, trained_on=own.trained_on)
    # Here, since it imports diffusers and transformers: seconds that others need not wait.
    from denoisers.pretrained.model import load_pretrained

    pretrained = load_pretrained(
        str(name).removeprefix(DIFFUSERS),
        dtype=runtime.dtype,
        negative_prompt=negative_prompt,
        label=label,
    )
    if pretrained.autoencoder is None and runtime.decoding != DEFAULT_RUNTIME.decoding:
        raise ValueError(f"runtime.tile is for models of latents, got denoiser={name} of pixels.")
    description = pretrained.description() | {"file": str(name)}
    return Model(pretrained.denoiser, description, pretrained)


def validate_settings_of_pretrained(name: str | Path, **settings: str | int | None) -> None:
    """Checks that nothing is asked of a denoiser of our own that only pretrained models take.

    Raises:
        ValueError: If something is.
    """
    for setting, value in settings.items():
        if value is not None and not is_pretrained(name):
            raise ValueError(
                f"context.{setting} is for pretrained models, denoiser=diffusers:NAME, got "
                f"denoiser={name}."
            )


def place_pipeline(pipeline: Any, device: torch.device, runtime: Runtime) -> None:
    """Moves the networks of a pipeline, or has them moved when they are called.

    Text encoders stay in main memory: they are called once for a prompt, and what they say of it
    is then the same bits whenever they are asked.
    """
    if runtime.attention == "sliced":
        pipeline.enable_attention_slicing()
    parts = pipeline.components.items()
    encoders = {name: part for name, part in parts if name.startswith("text_encoder")}
    pipeline.register_modules(**dict.fromkeys(encoders))
    match runtime.offload:
        case "none":
            pipeline.to(device)
        case "model":
            pipeline.enable_model_cpu_offload(device=device)
        case "sequential":
            pipeline.enable_sequential_cpu_offload(device=device)
    pipeline.register_modules(**encoders)
