"""How a benchmark is run from its command line: what it says and returns, whatever happens."""

import sys
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from rich.console import Console

__all__ = ["Run", "carried_out"]


@runtime_checkable
class Run(Protocol):
    """A benchmark, checked and ready."""

    def execute(self, console: Console) -> int:
        """Does the work and returns the exit status."""
        ...


def carried_out(prepare: Callable[[list[str]], Run], arguments: list[str] | None) -> int:
    """Prepares a run and executes it.

    Args:
        prepare: Checks the command line and all that can be checked before the work.
        arguments: The words after the program's name; None for those of this process.

    Returns:
        The status of the run; 2 when nothing could be begun or written, 130 when interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        run = prepare(arguments)
    except KeyboardInterrupt:
        console.print("interrupted before anything was begun.")
        return 130
    except (ValueError, OSError) as error:
        console.print(f"error: {error}", markup=False)
        return 2
    try:
        return run.execute(console)
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on from here.")
        return 130
    except OSError as error:
        console.print(
            f"error: {error}: what was finished is kept; mend this and give the same command.",
            markup=False,
        )
        return 2
