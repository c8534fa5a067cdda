"""The command `patchcanvas`, also `python -m patchcanvas`: pictures made, made again, measured."""

import importlib
import sys

from patchcanvas.cli.entry import words_of

__all__ = ["COMMANDS", "main"]

# Named, not imported: a command loads what it needs and nothing else.
COMMANDS = {
    "generate": ("patchcanvas.generating.command", "make pictures larger than a patch"),
    "outpaint": (
        "patchcanvas.outpainting.command",
        "continue an image beyond its edges, or mend it",
    ),
    "stream": (
        "patchcanvas.streaming.command",
        "make an endless strip, written to disk as it grows",
    ),
    "again": ("patchcanvas.again.command", "make a picture again from what it says of itself"),
    "evaluate": (
        "benchmarks.evaluation.command",
        "measure folders of images beside real ones",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command that the first word names with the words after it.

    Returns:
        The command's exit status; 2 when there is no such command.
    """
    words = words_of(arguments)
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0 if words else 2
    if words[0] not in COMMANDS:
        print(
            f"error: there is no command {words[0]!r}: give one of {', '.join(COMMANDS)}.",
            file=sys.stderr,
        )
        return 2
    module, _ = COMMANDS[words[0]]
    return importlib.import_module(module).main(words[1:])


def usage() -> str:
    """Returns what the commands are, a line each."""
    lines = [f"  {name:<10} {purpose}" for name, (_, purpose) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: patchcanvas COMMAND [key=value ...]",
            "",
            *lines,
            "",
            "patchcanvas COMMAND --help lists the settings of a command.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
