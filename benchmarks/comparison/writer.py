"""Writing in the background, so that the device never waits for the disk."""

import queue
import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["BackgroundWriter"]

WAITING = 4  # jobs that may wait: bounds memory


class BackgroundWriter:
    """Runs jobs one after another in a thread of their own.

    Leaving the context waits for all jobs. The first error of a job ends the work: it is raised by
    the next `put`, or on leaving; jobs that were finished before it stay finished.
    """

    def __init__(self) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)

    def __enter__(self) -> "BackgroundWriter":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._jobs.put(None)
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def put(self, job: Callable[[], None]) -> None:
        """Hands a job over; waits while too many are waiting.

        Raises:
            BaseException: What an earlier job raised.
        """
        if self._error is not None:
            raise self._error
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._error is None:
                try:
                    job()
                except BaseException as error:  # raised again where the jobs come from
                    self._error = error
