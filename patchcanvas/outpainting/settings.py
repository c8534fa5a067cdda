"""Every setting of outpainting, with its unit and its default, and the command line."""

import dataclasses
import math
import re
from pathlib import Path

from patchcanvas.bundled import configurations
from patchcanvas.cli.command_line import Command, described, read, with_defaults_of_pretrained
from patchcanvas.cli.settings import DEFAULT_CONTEXT, DEFAULT_SOLVER
from patchcanvas.context.settings import ContextSettings
from patchcanvas.image_file import MAX_MEGAPIXELS, refuse_megapixels
from patchcanvas.runtime import DEFAULT_RUNTIME, Runtime
from sampling.solvers import Solver

__all__ = ["PROGRAM", "Loops", "OutpaintSettings", "named", "read_command"]

PROGRAM = "patchcanvas outpaint"
PRESETS = configurations("outpaint")
SIZE = re.compile(r"(\d+)[xX×](\d+)")  # noqa: RUF001  the sign is what people write
SETTING = re.compile(r"--|-h$|[A-Za-z_][\w.]*=")
PLACE = re.compile(r"(-?\d+),(-?\d+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loops:
    """Which edges of the canvas continue at the other side.

    Args:
        wrap_height: Whether the bottom edge continues at the top.
        wrap_width: Whether the right edge continues at the left: a loop, a 360-degree panorama.
    """

    wrap_height: bool = False
    wrap_width: bool = False


OPEN = Loops()


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutpaintSettings:
    """An image that is continued, or of which parts are painted anew.

    Args:
        image: The image, of any format and size; the first word without `=`, or that is a file
            with an ending, is short for it. It is turned as its camera says. Pixels that are not
            quite opaque are painted.
        to: Size of the canvas, WIDTHxHEIGHT in pixels; by default that of the image, which then
            needs a mask or transparent pixels.
        at: Where the image lies on the canvas: `center`, or LEFT,TOP of its corner, in pixels.
        mask: Image of the same size: white is painted anew, black is kept; or strokes on a
            transparent ground, which are painted anew.
        scale: What the image is resized by first, with Lanczos' filter.
        strategy: Name of one strategy, or the dotted path of a class of your own. By default
            `async_patch`; for pretrained models, which cannot do it, `reconstruction`. Its own
            settings are `name.setting=value`.
        denoiser: Weights of the denoiser, a .safetensors file with its .json beside it; or
            `diffusers:` and a pretrained model, a folder or a name on the hub, which brings the
            defaults of config=pretrained.
        canvas: Which edges continue at the other side.
        context: What the denoiser is told. Where that is a seed image, context.image is by default
            the image itself.
        num_samples: Pictures to make, each from noise of its own.
        seed: Seeds the noise.
        solver: The way from noise to image: `heun`, `euler`, `ddim`, `dpmsolver++`, `deis`, or a
            class path; its own settings are solver.num_steps and so on.
        runtime: Precision, memory and speed. The words precision, compile and window_batch alone
            are short for runtime.precision and so on.
        device: `auto` (CUDA, else MPS, else CPU), cpu, cuda, cuda:N or mps; `accelerator` is
            another name for it.
        output: The PNG to write; of several samples each gets its number. By default a new file in
            `results`, named by image and size.
        overwrite: Whether a file may be written over that was not made by this command.
        results: Folder of what has no other place.
        cache: Folder of what runs share: the batch that fits; by default `cache` in that of the
            results.
        max_megapixels: Most pixels of the image or the mask, in millions; each takes 4 bytes of
            memory and as many to work on.
    """

    image: Path | None = None
    to: str | None = None
    at: str = "center"
    mask: Path | None = None
    scale: float = 1.0
    strategy: str = "async_patch"
    denoiser: Path | str = Path("checkpoints/landscapes.safetensors")
    canvas: Loops = OPEN
    context: ContextSettings = DEFAULT_CONTEXT
    num_samples: int = 1
    seed: int = 0
    solver: Solver = DEFAULT_SOLVER
    runtime: Runtime = DEFAULT_RUNTIME
    device: str = "auto"
    output: Path | None = None
    overwrite: bool = False
    results: Path = Path("results")
    cache: Path | None = None
    max_megapixels: float = MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        if self.image is None:
            raise ValueError("image must be a file: patchcanvas outpaint IMAGE --to WIDTHxHEIGHT.")
        if self.to is not None and not (SIZE.fullmatch(self.to) and min(self.size)):
            raise ValueError(f"to must be WIDTHxHEIGHT in px, such as 1024x512, got {self.to!r}.")
        if self.at != "center" and not PLACE.fullmatch(self.at):
            raise ValueError(
                f"at must be center, or LEFT,TOP in px, such as 64,0, got {self.at!r}."
            )
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale must be above 0 and finite, got {self.scale}.")
        refuse_megapixels(self.max_megapixels)
        if self.num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {self.num_samples}.")
        if self.output is not None and self.output.suffix.lower() != ".png":
            raise ValueError(f"output must be a file that ends in .png, got {self.output}.")
        self._refuse_contexts()

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the canvas, in pixels; None for those of the image."""
        if self.to is None:
            return None
        width, height = SIZE.fullmatch(self.to).groups()
        return int(width), int(height)

    @property
    def corner(self) -> tuple[int, int] | None:
        """Left and top of the image's corner, in pixels; None for the middle."""
        if self.at == "center":
            return None
        left, top = PLACE.fullmatch(self.at).groups()
        return int(left), int(top)

    @property
    def cache_folder(self) -> Path:
        """Where what runs share is kept."""
        return self.results / "cache" if self.cache is None else self.cache

    def _refuse_contexts(self) -> None:
        """Refuses to tell what knows nothing of the given pixels, or takes their place."""
        for name, value, why in (
            ("mode", "mismatched", "takes its guide from images that there are none of here"),
            ("guide", "plan", "is made before anything is seen of the image"),
            ("keep_ends", True, "puts other images in the place of this one"),
        ):
            if getattr(self.context, name) == value:
                written = str(value).replace("True", "true")
                raise ValueError(f"context.{name}={written} {why}: leave it out.")


def read_command(arguments: list[str]) -> Command:
    """Reads the command line; `key=value` and `--key=value` are the same thing.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name; or if several
            strategies are asked for.
        SystemExit: After printing the help, if that is asked for.
    """
    command = read(
        with_defaults_of_pretrained(named(arguments, "image")),
        OutpaintSettings,
        prog=PROGRAM,
        description="Continues an image to a larger canvas, or paints parts of it anew, and keeps "
        "all its other pixels bit by bit. IMAGE is the first word without =; write settings as "
        "key=value or --key value, for example: photo.jpg --to 1024x512 at=0,128 seed=3.",
        defaults={"solver": described(DEFAULT_SOLVER)},
        presets=PRESETS,
    )
    if len(command.classes) != 1:
        raise ValueError(
            f"strategy must be one strategy, for one picture, got {command.settings.strategy}."
        )
    return command


def named(arguments: list[str], name: str) -> list[str]:
    """Returns the words with `name=` before the first that is neither a setting nor its value.

    A word with `=` that is a file with an ending, `photo=1.png`, is no setting.

    >>> named(["--to", "64x32", "photo.jpg", "seed=3"], "image")
    ['--to=64x32', 'image=photo.jpg', 'seed=3']
    """
    words: list[str] = []
    unnamed = name
    for word in arguments:
        if words and words[-1].startswith("--") and not re.search("=|^--help$", words[-1]):
            words[-1] += f"={word}"
        elif unnamed and (not SETTING.match(word) or is_file(word)):
            words.append(f"{unnamed}={word}")
            unnamed = ""
        else:
            words.append(word)
    return words


def is_file(word: str) -> bool:
    """Whether a word is the name of a file with an ending of letters."""
    path = Path(word)
    return path.suffix[1:].isalpha() and path.is_file()
