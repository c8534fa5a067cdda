"""Every setting of `patchcanvas generate`, with its unit and its default, and the command line."""

import dataclasses

from patchcanvas.bundled import configurations
from patchcanvas.cli.command_line import Command, read_single, with_defaults_of_pretrained
from patchcanvas.cli.settings import DEFAULT_SIZE, PictureSettings
from patchcanvas.model import CanvasSize

__all__ = ["PROGRAM", "GenerateSettings", "read_command"]

PROGRAM = "patchcanvas generate"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerateSettings(PictureSettings):
    """Pictures from nothing.

    Args:
        canvas: Size of the pictures, in pixels.
    """

    strategy: str = "diffcollage"
    canvas: CanvasSize = DEFAULT_SIZE


def read_command(arguments: list[str]) -> Command:
    """Reads the command line; `key=value` and `--key=value` are the same thing.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name; or if several
            strategies are asked for.
        SystemExit: After printing the help, if that is asked for.
    """
    return read_single(
        with_defaults_of_pretrained(arguments),
        GenerateSettings,
        prog=PROGRAM,
        description="Makes pictures larger than a denoiser's patch. Write settings as key=value or "
        "--key value, for example: denoiser=diffusers:OWNER/MODEL context.prompt='a mountain lake' "
        "canvas.width=3072 output=lake.png.",
        presets=configurations("generate"),
    )
