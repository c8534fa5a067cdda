"""`patchcanvas outpaint IMAGE --to WIDTHxHEIGHT`: image in, image out."""

import sys

from patchcanvas.cli.entry import carried_out
from patchcanvas.outpainting.preparation import prepared
from patchcanvas.outpainting.settings import PROGRAM, read_command
from patchcanvas.painting_command import PaintingRun

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Continues an image, or paints parts of it anew.

    Returns:
        0 when all pictures are there, 1 when one could not be made, 2 when nothing could be begun
        or written, 130 when interrupted.
    """
    return carried_out(
        lambda words: PaintingRun.prepare(PROGRAM, read_command(words), words, prepared), arguments
    )


if __name__ == "__main__":
    sys.exit(main())
