"""Every setting of outpainting, with its unit and its default, and the command line."""

import dataclasses
import math
import re
from pathlib import Path

from typing_extensions import override

from patchcanvas.bundled import configurations
from patchcanvas.cli.command_line import Command, read_single, with_defaults_of_pretrained
from patchcanvas.cli.settings import PictureSettings
from patchcanvas.cli.words import named
from patchcanvas.image_file import MAX_MEGAPIXELS, validate_max_megapixels
from patchcanvas.model import Loops

__all__ = ["PROGRAM", "OutpaintSettings", "read_command"]

PROGRAM = "patchcanvas outpaint"
SIZE = re.compile(r"(\d+)[xX×](\d+)")  # noqa: RUF001  the sign is what people write
PLACE = re.compile(r"(-?\d+),(-?\d+)")
OPEN = Loops()


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutpaintSettings(PictureSettings):
    """An image that is continued, or of which parts are painted anew.

    By default by `async_patch`; pretrained models, which cannot do it, by `reconstruction`. Where
    context asks for a seed image, context.image is by default the image itself.

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
        canvas: Which edges continue at the other side.
        max_megapixels: Most pixels of the image or the mask, in millions; each takes 4 bytes of
            memory and as many to work on.
    """

    strategy: str = "async_patch"
    image: Path | None = None
    to: str | None = None
    at: str = "center"
    mask: Path | None = None
    scale: float = 1.0
    canvas: Loops = OPEN
    max_megapixels: float = MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image is None:
            raise ValueError("image must be a file: patchcanvas outpaint IMAGE --to WIDTHxHEIGHT.")
        if self.to is not None and not (self.size and min(self.size)):
            raise ValueError(f"to must be WIDTHxHEIGHT in px, such as 1024x512, got {self.to!r}.")
        if self.at != "center" and not PLACE.fullmatch(self.at):
            raise ValueError(
                f"at must be center, or LEFT,TOP in px, such as 64,0, got {self.at!r}."
            )
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale must be above 0 and finite, got {self.scale}.")
        validate_max_megapixels(self.max_megapixels)
        self._validate_contexts()

    @property
    def source(self) -> Path:
        """The image that is continued."""
        assert self.image is not None, "checked above"
        return self.image

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the canvas, in pixels; None for those of the image."""
        found = None if self.to is None else SIZE.fullmatch(self.to)
        return None if found is None else (int(found[1]), int(found[2]))

    @property
    def corner(self) -> tuple[int, int] | None:
        """Left and top of the image's corner, in pixels; None for the middle."""
        found = PLACE.fullmatch(self.at)
        return None if found is None else (int(found[1]), int(found[2]))

    @property
    @override
    def inputs(self) -> dict[str, Path | None]:
        return {"image": self.image, "mask": self.mask}

    def _validate_contexts(self) -> None:
        """Refuses to tell what knows nothing of the given pixels, or takes their place."""
        for name, value, why in (
            (
                "mode",
                "swapped_reference",
                "takes its guide from images that there are none of here",
            ),
            ("guide", "plan", "is made before anything is seen of the image"),
            ("fixed_ends", True, "puts other images in the place of this one"),
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
    return read_single(
        with_defaults_of_pretrained(named(arguments, "image")),
        OutpaintSettings,
        prog=PROGRAM,
        description="Continues an image to a larger canvas, or paints parts of it anew, and keeps "
        "all its other pixels bit by bit. IMAGE is the first word without =; write settings as "
        "key=value or --key value, for example: photo.jpg --to 1024x512 at=0,128 seed=3.",
        presets=configurations("outpaint"),
    )
