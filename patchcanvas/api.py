"""Pictures from Python, in the words of diffusers.

    import patchcanvas as pc

    model = pc.load_denoiser("landscapes")
    images = pc.generate(model, "diffcollage", height=32, width=192, seed=0)
    images[0].save("landscape.png")

What is asked for goes the way of the commands: `patchcanvas again landscape.png` makes the picture
again, bit for bit, and so does the same call. `Strategy.generate` is the interface below this one.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image as Picture

from denoisers.foreign import is_diffusers_folder
from patchcanvas.again.remaking import parse_again
from patchcanvas.bundled import DIFFUSERS, is_pretrained
from patchcanvas.cli.command_line import Command, built, described
from patchcanvas.cli.settings import DEFAULT_CONTEXT
from patchcanvas.context.settings import ContextSettings
from patchcanvas.environment import Precision
from patchcanvas.generated_image import GeneratedImage
from patchcanvas.generating import preparation as generating
from patchcanvas.generating.settings import read_command as read_generate
from patchcanvas.making import as_known
from patchcanvas.outpainting import preparation as outpainting
from patchcanvas.outpainting.settings import OutpaintSettings
from patchcanvas.outpainting.settings import read_command as read_outpaint
from patchcanvas.painting import LoadedDenoiser, Painting
from patchcanvas.provenance import KNOWN
from patchcanvas.runtime import Attention, Offload, Runtime
from patchcanvas.window_batch import WindowBatch
from sampling.solvers import Heun, Solver
from strategies.base import Strategy
from strategies.canvas import Known
from strategies.catalogue import names, strategy_class

__all__ = ["Callback", "LoadedDenoiser", "generate", "load_denoiser", "outpaint", "strategy"]

# ContextConditioner after every network call how many there were and how many there will be.
Callback = Callable[[int, int], None]
Image = str | os.PathLike | Picture.Image | np.ndarray | torch.Tensor

PRECISIONS: dict[torch.dtype, Precision] = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
}
# What arguments are called in the settings of the commands, whose checks speak of those.
CALLED = {
    "canvas.height": "height",
    "canvas.width": "width",
    "canvas.wrap_height": "wrap_height",
    "canvas.wrap_width": "wrap_width",
    "context.prompt": "prompt",
    "context.negative_prompt": "negative_prompt",
    "context.guidance_scale": "guidance_scale",
    "solver.num_steps": "num_steps",
}


def load_denoiser(
    name: str | os.PathLike,
    *,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    offload: Offload = "none",
    compile: bool = False,
    channels_last: bool = False,
    attention: Attention = "efficient",
    window_batch: WindowBatch = "auto",
    tile: int | None = None,
    tile_overlap: int | None = None,
    label: int | None = None,
) -> LoadedDenoiser:
    """Loads a denoiser and puts it on a device.

    Args:
        name: A .safetensors file with its .json beside it; `landscapes` or another that comes with
            the package; `hub:OWNER/NAME[@REVISION]/FILE.safetensors`; `diffusers:OWNER/MODEL`; or a
            folder as diffusers' `save_pretrained` writes it.
        device: `auto` (CUDA, else MPS, else CPU), or a device.
        dtype: What networks compute in: torch.float32, bfloat16 or float16.
        offload: What of a pretrained model waits in main memory: `none`, whole networks (`model`)
            or single layers (`sequential`).
        compile: Whether torch.compile compiles the network.
        channels_last: Whether convolutions keep channels innermost.
        attention: Of pretrained models: `efficient`, or `sliced` for less memory.
        window_batch: Windows in one network call: `auto` for as many as memory holds, or a number.
        tile: Most latent pixels along a side of what is encoded or decoded at once.
        tile_overlap: Least that neighbouring tiles share, in latent pixels.
        label: Number of the class, for a pretrained model of classes.

    Raises:
        ValueError: If there is no such denoiser or device, or it cannot be set up so.
        OSError: If a file is neither here nor can be downloaded.
    """
    if dtype not in PRECISIONS:
        raise ValueError(f"dtype must be torch.float32, bfloat16 or float16, got {dtype}.")
    runtime = Runtime(
        precision=PRECISIONS[dtype],
        window_batch=window_batch,
        compile=compile,
        channels_last=channels_last,
        attention=attention,
        offload=offload,
        tile=tile,
        tile_overlap=tile_overlap,
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "patchcanvas")
    named = f"{DIFFUSERS}{os.fspath(name)}" if is_diffusers_folder(Path(name)) else os.fspath(name)
    context = ContextSettings(label=label)
    loaded = LoadedDenoiser(named, runtime, str(device), cache, context)
    loaded.denoiser  # noqa: B018  placed now, so that the first picture does not wait for it
    return loaded


def strategy(name: str, *, solver: Solver | None = None, **settings: Any) -> Strategy:
    """Returns a strategy by its name, such as `diffcollage`, with settings of its own.

    Raises:
        ValueError: If there is no such strategy or setting, with the nearest name.
    """
    return built(strategy_class(name), own_words(settings), solver=solver or Heun())


def generate(
    model: LoadedDenoiser,
    strategy: str | Strategy = "diffcollage",
    *,
    height: int | None = None,
    width: int | None = None,
    prompt: str | None = None,
    negative_prompt: str | None = None,
    guidance_scale: float | None = None,
    num_steps: int | None = None,
    solver: Solver | None = None,
    num_samples: int = 1,
    seed: int = 0,
    wrap_height: bool = False,
    wrap_width: bool = False,
    known: Known | tuple[Any, Any] | None = None,
    context: ContextSettings = DEFAULT_CONTEXT,
    strategy_settings: Mapping[str, Any] | None = None,
    callback: Callback | None = None,
) -> list[GeneratedImage]:
    """Makes pictures of any size with a denoiser of patches.

    Args:
        model: What `load_denoiser` returned.
        strategy: Name of a strategy, or one that is built, whose solver is then the default.
        height: Pixels from top to bottom; by default those of `known`, else the denoiser's patch.
        width: Pixels from left to right; by default those of `known`, else 6 times the height.
        prompt: What all pictures show.
        negative_prompt: What guidance of a pretrained model leads away from.
        guidance_scale: Scale of classifier-free guidance; 1 is none.
        num_steps: Steps of the solver, `num_inference_steps` of diffusers; by default the
            solver's own.
        solver: The way from noise to image; by default that of the command `generate`.
        num_samples: Pictures to make, each from noise of its own.
        seed: Seeds the noise: a picture is a function of the seed, its number and the arguments,
            not of a generator's state.
        wrap_height: Whether the bottom edge continues at the top: a texture that tiles.
        wrap_width: Whether the right edge continues at the left: a 360-degree panorama.
        known: Pixels that are given and come back bit by bit: a `Known`, or an image of the size
            of the canvas (Pillow's, or 8-bit pixels) and a mask, true where it is given.
        context: Whatever else the denoiser is told (`patchcanvas.context.settings`).
        strategy_settings: Settings of a strategy given by name.
        callback: Called after every network call with how many there were, and how many there
            will be until all pictures are made.

    Raises:
        ValueError: If arguments do not go together; it names them.
        FloatingPointError: If a pixel is not finite.
    """
    given = None if known is None else as_known_pixels(known)
    if given is not None:
        height = given.y.shape[-2] if height is None else height
        width = given.y.shape[-1] if width is None else width
    size = {
        "height": height,
        "width": width,
        "wrap_height": wrap_height,
        "wrap_width": wrap_width,
    }
    with named_as_here():
        conditioning = conditioning_of(context, prompt, negative_prompt, guidance_scale, model)
        asked = {"canvas": size, "context": conditioning, "num_samples": num_samples, "seed": seed}
        asked |= asked_of_strategy(strategy, strategy_settings, solver)
        command = command_of(model, asked, num_steps, read_generate)
        inputs = {} if given is None else {KNOWN: sha256_of_known(given)}
        painting = generating.prepared(
            command, words_of(asked, num_steps), loaded=model, known=given, inputs=inputs
        )
    return images_of(painting, num_samples, callback)


def outpaint(
    model: LoadedDenoiser,
    image: Image,
    *,
    size: tuple[int, int] | None = None,
    at: Literal["center"] | tuple[int, int] = "center",
    mask: Image | None = None,
    scale: float = 1.0,
    strategy: str | Strategy | None = None,
    prompt: str | None = None,
    negative_prompt: str | None = None,
    guidance_scale: float | None = None,
    num_steps: int | None = None,
    solver: Solver | None = None,
    seed: int = 0,
    wrap_height: bool = False,
    wrap_width: bool = False,
    context: ContextSettings = DEFAULT_CONTEXT,
    strategy_settings: Mapping[str, Any] | None = None,
    callback: Callback | None = None,
) -> GeneratedImage:
    """Continues an image to a larger canvas, or paints parts of it anew; the rest stays as it is.

    Args:
        model: What `load_denoiser` returned.
        image: A file, or a picture of Pillow's, or 8-bit pixels: an array with colours last, a
            tensor with colours first. `patchcanvas again` needs the file.
        size: Height and width of the canvas, in pixels; None for those of the image.
        at: Top and left of the image's corner on the canvas, in pixels, or `center`.
        mask: Of the image's size: white (true) is painted anew, black is kept.
        scale: What the image is resized by first.
        strategy: As in `generate`; by default `async_patch`, for pretrained models
            `reconstruction`.
        prompt: As in `generate`, like all that follows.
        negative_prompt: What guidance of a pretrained model leads away from.
        guidance_scale: Scale of classifier-free guidance; 1 is none.
        num_steps: Steps of the solver.
        solver: The way from noise to image.
        seed: Seeds the noise.
        wrap_height: Whether the bottom edge continues at the top.
        wrap_width: Whether the right edge continues at the left.
        context: Whatever else the denoiser is told.
        strategy_settings: Settings of a strategy given by name.
        callback: Called after every network call with how many there were, and will be.

    Raises:
        ValueError: If arguments do not go together; it names them.
        OSError: If a file is missing.
        FloatingPointError: If a pixel is not finite.
    """
    if strategy is None:
        ours = OutpaintSettings.strategy
        strategy = "reconstruction" if is_pretrained(model.name) else ours
    with named_as_here(), tempfile.TemporaryDirectory() as folder:
        conditioning = conditioning_of(context, prompt, negative_prompt, guidance_scale, model)
        asked = {
            "image": file_of(image, Path(folder) / "image.png"),
            "mask": None if mask is None else file_of(mask, Path(folder) / "mask.png"),
            "to": None if size is None else f"{size[1]}x{size[0]}",
            "at": at if isinstance(at, str) else f"{at[1]},{at[0]}",
            "scale": scale,
            "canvas": {"wrap_height": wrap_height, "wrap_width": wrap_width},
            "context": conditioning,
            "seed": seed,
        } | asked_of_strategy(strategy, strategy_settings, solver)
        command = command_of(model, asked, num_steps, read_outpaint)
        # What lay in memory is recorded without the folder that it lies in for this moment.
        for name in ("image", "mask"):
            if asked[name] is not None and asked[name].is_relative_to(folder):
                asked[name] = command.record[name] = asked[name].name
        painting = outpainting.prepared(command, words_of(asked, num_steps), loaded=model)
    (made,) = images_of(painting, 1, callback)
    return made


@contextlib.contextmanager
def named_as_here() -> Iterator[None]:
    """Has errors speak of arguments, where those of the commands speak of settings."""
    try:
        yield
    except ValueError as error:
        text = re.sub(
            "|".join(rf"\b{re.escape(name)}\b" for name in CALLED),
            lambda found: CALLED[found[0]],
            str(error),
        )
        raise ValueError(text) from error


def command_of(
    model: LoadedDenoiser,
    asked: dict[str, Any],
    num_steps: int | None,
    reader: Callable[[list[str]], Command],
) -> Command:
    """Returns the command that asks for the same, with its defaults."""
    settings = asked | {"runtime": dataclasses.asdict(model.runtime), "device": model.device_name}
    changes = [] if num_steps is None else [f"solver.num_steps={num_steps}"]
    return parse_again(plainly(settings), [f"denoiser={model.name}", *changes], reader)


def words_of(asked: dict[str, Any], num_steps: int | None) -> list[str]:
    """Returns the words of a command that asks for the same, for whoever reads the record."""
    words = [] if num_steps is None else [f"solver.num_steps={num_steps}"]
    for name, value in plainly(asked).items():
        if name == "own":
            words += [f"{owner}.{word[2:]}" for owner, own in value.items() for word in own]
        elif isinstance(value, dict):
            words += [f"{name}.{key}={each}" for key, each in value.items() if each is not None]
        elif value is not None:
            words.append(f"{name}={value}")
    return words


def conditioning_of(
    context: ContextSettings,
    prompt: str | None,
    negative_prompt: str | None,
    guidance_scale: float | None,
    model: LoadedDenoiser,
) -> dict[str, Any]:
    """Returns what is told, as settings that differ from their defaults.

    Raises:
        ValueError: If a setting would change the denoiser for good, or it takes no prompt.
    """
    if prompt is not None and "tokens" not in model.model.takes:
        raise ValueError(f"prompt must be left out: {model.name} was trained without texts.")
    if context.gate is not None:
        raise ValueError("context.gate changes the denoiser itself: it must be left out here.")
    asked = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "guidance_scale": guidance_scale,
        "label": model.context.label,
    }
    changes: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    whole = dataclasses.replace(context, **changes)
    fields = {field.name: field.default for field in dataclasses.fields(whole)}
    own = dataclasses.asdict(whole)
    return {name: own[name] for name, default in fields.items() if own[name] != default}


def asked_of_strategy(
    strategy: str | Strategy, settings: Mapping[str, Any] | None, solver: Solver | None
) -> dict[str, Any]:
    """Returns the settings of a command that name a strategy, all of its own, and its solver.

    Raises:
        ValueError: If a strategy that is built is given settings once more.
    """
    if isinstance(strategy, Strategy):
        if settings:
            raise ValueError("strategy_settings are for a strategy that is given by its name.")
        solver = solver or strategy.solver
        settings = {
            field.name: getattr(strategy, field.name)
            for field in dataclasses.fields(strategy)
            if field.name != "solver" and getattr(strategy, field.name) != field.default
        }
        strategy = name_of(type(strategy))
    asked = {} if solver is None else {"solver": described(solver)}
    words = own_words(settings or {})
    return asked | {"strategy": strategy, "own": {strategy: words} if words else {}}


def name_of(kind: type[Strategy]) -> str:
    """Returns the short name of a strategy of this project, the dotted path of another."""
    short = [name for name in names() if strategy_class(name) is kind]
    return short[0] if short else f"{kind.__module__}.{kind.__qualname__}"


def own_words(settings: Mapping[str, Any]) -> list[str]:
    """Returns settings of a strategy as a command line has them."""
    return [
        f"--{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in settings.items()
    ]


def plainly(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns settings as they come back from a file."""
    return json.loads(json.dumps(settings, default=str))


def images_of(
    painting: Painting, num_samples: int, callback: Callback | None
) -> list[GeneratedImage]:
    """Makes the samples, one after another."""
    total, done = num_samples * painting.maker.calls, 0

    def called(share: float) -> None:
        nonlocal done
        done += 1
        if callback is not None:
            callback(done, total)

    return [
        GeneratedImage(
            painting.made(sample, called=called), painting.origin(sample), painting.profile
        )
        for sample in range(num_samples)
    ]


def file_of(image: Image, place: Path) -> Path:
    """Returns the file of an image: its own, or a PNG in `place` of one that is in memory."""
    if isinstance(image, str | os.PathLike):
        return Path(image)
    as_picture(image).save(place)
    return place


def as_picture(image: Picture.Image | np.ndarray | torch.Tensor) -> Picture.Image:
    """Returns 8-bit pixels, or a mask of truth values, as a picture.

    Raises:
        ValueError: If they are anything else.
    """
    if isinstance(image, Picture.Image):
        return image
    array = image.cpu().numpy() if isinstance(image, torch.Tensor) else image
    if isinstance(image, torch.Tensor) and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if array.dtype == bool:
        array = array.squeeze(-1) if array.ndim == 3 else array
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        raise ValueError(f"image must be pixels of 8 bits, got {array.dtype}.")
    return Picture.fromarray(np.ascontiguousarray(array))


def as_known_pixels(known: Known | tuple[Any, Any]) -> Known:
    """Returns the given pixels of one canvas, on the CPU.

    Raises:
        ValueError: If they are those of several, or image and mask are of different sizes.
    """
    if isinstance(known, Known):
        if len(known.y) != 1:
            raise ValueError(f"known must be one canvas, for all samples, got {len(known.y)}.")
        return Known(known.y.cpu(), known.mask.cpu())
    image, mask = (as_picture(each) for each in known)
    if image.size != mask.size:
        raise ValueError(
            f"known must be an image and a mask of one size, got {image.size} and {mask.size} px."
        )
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    kept = torch.from_numpy(np.array(mask.convert("L")) >= 128)
    return as_known(pixels[None], kept[None, None])


def sha256_of_known(known: Known) -> str:
    """Returns the SHA-256 of given pixels and of where they are, in hexadecimal."""
    mask = known.mask.expand_as(known.y)
    digest = hashlib.sha256(known.y.where(mask, 0.0).contiguous().numpy().tobytes())
    digest.update(mask.contiguous().numpy().tobytes())
    return digest.hexdigest()
