"""How a picture of `patchcanvas outpaint` is made again."""

import dataclasses

from patchcanvas.again.remaking import Remake, parse_again
from patchcanvas.again.settings import AgainSettings
from patchcanvas.outpainting import preparation as outpainting
from patchcanvas.outpainting.settings import read_command
from patchcanvas.provenance import (
    Origin,
)

__all__ = ["remake"]


def remake(origin: Origin, settings: AgainSettings) -> Remake:
    """Returns what continues an image again."""
    names = ("device", "denoiser", "image", "mask")
    words = settings.words(**{name: name for name in names})
    command = parse_again(origin.settings, words, read_command)
    again = outpainting.prepared(command, origin.command)
    now = dataclasses.replace(again.origin(origin.sample), settings=origin.settings)
    return Remake(again.maker, again.given.pasted, now, again.given.profile)
