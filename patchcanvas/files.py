"""Files that are whole or not there, and folders that one process at a time writes to."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["LOCK", "lock", "unlock", "whole"]

LOCK = ".lock"
LOCKS: dict[Path, FileLock] = {}  # those that this process holds


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a neighbour to write to, which then takes the place of `path` in one stroke.

    The neighbour is of this process and thread alone, so that no two writers meet in it. It is
    removed if writing fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def lock(folder: Path, instead: str = "name") -> None:
    """Keeps other commands out of a folder, until `unlock` or the end of the process.

    Args:
        folder: The folder; it must be there.
        instead: The setting by which another one would be taken.

    Raises:
        OSError: If nothing can be written there.
        ValueError: If another command is at work there.
    """
    held = FileLock(folder / LOCK)
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(
            f"the same command is at work in {folder}: wait for it, stop it, or give this one "
            f"another {instead}=…"
        ) from error
    LOCKS[folder] = held


def unlock(folder: Path) -> None:
    """Lets other commands in."""
    if folder in LOCKS:
        LOCKS.pop(folder).release()
