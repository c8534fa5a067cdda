"""Progress bars of long work."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["progress_bars"]


def progress_bars(console: Console, *, longest: int = 16) -> Progress:
    """Returns one bar for each task, with the time that is left.

    Args:
        console: Where they are drawn.
        longest: Characters of the longest description.
    """
    return Progress(
        TextColumn(f"{{task.description:>{longest}}}"),
        BarColumn(bar_width=None if longest > 16 else 40),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    )
