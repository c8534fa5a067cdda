"""Files that are whole or not there."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = ["whole"]


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
