"""Progress of long work: bars on a terminal, lines everywhere else."""

import threading
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from typing_extensions import override

__all__ = ["Lines", "progress_bars", "report_line"]

# Seconds of a task until it is said how far it is, and most between two times that it is: the log
# of a night's work has a hundred such lines, and that of a minute's none.
FIRST, MOST = 30.0, 300.0


def progress_bars(console: Console, *, longest: int = 16) -> Progress:
    """Returns one bar for each task, with the time that is left; lines where no terminal is.

    Args:
        console: Where they are drawn.
        longest: Characters of the longest description.
    """
    if not (console.is_interactive or console.is_jupyter):
        return Lines(console)
    return Progress(
        TextColumn(f"{{task.description:>{longest}}}"),
        BarColumn(bar_width=None if longest > 16 else 40),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    )


def report_line(progress: Progress, line: str) -> None:
    """Prints a line for a log: where bars are drawn there is nothing to say."""
    if isinstance(progress, Lines):
        progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


class Lines(Progress):
    """What a log is told in place of bars: now and then how far the newest unfinished task is.

    After `FIRST` seconds of a task, then after twice as long every time, and at least every `MOST`
    seconds.

    Args:
        console: Where lines are printed.
        clock: Tells the time, in seconds.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console=console, disable=True, get_time=clock)
        self._pauses: dict[TaskID, float] = {}
        self._due: dict[TaskID, float] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @override
    def start(self) -> None:
        super().start()
        self._over.clear()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @override
    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        super().stop()

    @override
    def add_task(self, description: str, *args: Any, **settings: Any) -> TaskID:
        number = super().add_task(description, *args, **settings)
        self._pauses[number], self._due[number] = FIRST, self.get_time() + FIRST
        return number

    def say(self) -> None:
        """Prints how far the newest unfinished task is, if that is due."""
        unfinished = [task for task in self.tasks if not task.finished]
        if not unfinished or self.get_time() < self._due[(task := unfinished[-1]).id]:
            return
        total = None if task.total is None else float(task.total)
        elapsed = float(task.elapsed or 0)
        report_line(self, _standing(task.description, float(task.completed), total, elapsed))
        self._pauses[task.id] = min(2 * self._pauses[task.id], MOST)
        self._due[task.id] = self.get_time() + self._pauses[task.id]

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            self.say()


def _standing(description: str, completed: float, total: float | None, elapsed: float) -> str:
    """Returns how far a task is, after so many seconds.

    >>> _standing("naive", 120.5, 500.0, 90.0)
    'naive: 120 of 500, 1 min 30 s so far'
    """
    minutes, seconds = divmod(int(elapsed), 60)
    so_far = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    whole = "" if total is None else f" of {total:,.0f}"
    return f"{description}: {int(completed):,}{whole}, {so_far} so far"
