"""`patchcanvas generate context.prompt="a lake" canvas.width=3072`: pictures from noise."""

import sys

from patchcanvas.cli.entry import carried_out
from patchcanvas.generating.preparation import prepared
from patchcanvas.generating.settings import PROGRAM, read_command
from patchcanvas.painting_command import PaintingRun

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Makes pictures.

    Returns:
        0 when all pictures are there, 1 when one could not be made, 2 when nothing could be begun
        or written, 130 when interrupted.
    """
    return carried_out(
        lambda words: PaintingRun.prepare(PROGRAM, read_command(words), words, prepared), arguments
    )


if __name__ == "__main__":
    sys.exit(main())
