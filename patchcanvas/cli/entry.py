"""How a benchmark is run from its command line: what it says and returns, whatever happens."""

import sys
import warnings
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from rich.console import Console

__all__ = ["Run", "carried_out", "words_of"]


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
    arguments = words_of(arguments)
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


def words_of(arguments: list[str] | None) -> list[str]:
    """Returns the words of a command line; for those of this process, warnings are said plainly.

    Args:
        arguments: The words after the program's name; None for those of this process.
    """
    if arguments is not None:
        return arguments
    warnings.showwarning = _said_plainly(warnings.showwarning)
    return sys.argv[1:]


def _said_plainly(shown: Callable[..., None]) -> Callable[..., None]:
    """Returns what shows a warning to a user without the line of code that it came from."""

    def said(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if category is UserWarning:
            print(f"warning: {message}", file=sys.stderr)
        else:
            shown(message, category, *place, **more)

    return said
