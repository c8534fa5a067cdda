"""How a picture of `patchcanvas outpaint` is made again."""

from patchcanvas.again.remaking import Remake, parse_again
from patchcanvas.again.settings import AgainSettings
from patchcanvas.outpainting.preparation import prepared
from patchcanvas.outpainting.settings import read_command
from patchcanvas.provenance import Provenance

__all__ = ["remake"]


def remake(origin: Provenance, settings: AgainSettings) -> Remake:
    """Returns what continues an image again."""
    names = ("device", "denoiser", "image", "mask")
    words = settings.words(**{name: name for name in names})
    command = parse_again(origin.settings, words, read_command)
    return Remake.of(prepared(command, origin.command), origin)
