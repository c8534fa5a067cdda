"""How a picture of `patchcanvas generate` is made again."""

from patchcanvas.again.remaking import Remake, parse_again
from patchcanvas.again.settings import AgainSettings
from patchcanvas.generating.preparation import prepared
from patchcanvas.generating.settings import read_command
from patchcanvas.provenance import Provenance

__all__ = ["remake"]


def remake(origin: Provenance, settings: AgainSettings) -> Remake:
    """Returns what makes a picture again."""
    words = settings.words(device="device", denoiser="denoiser")
    command = parse_again(origin.settings, words, read_command)
    return Remake.of(prepared(command, origin.command), origin)
