"""Pillow's limits and warnings, which are of the whole process, changed for a while."""

import contextlib
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, PngImagePlugin

from datamodules.metadata import LARGEST_CHUNK, Tell

__all__ = ["forward_warnings", "no_limits"]

PILLOW = Path(Image.__file__).parent
WARNINGS = threading.Lock()


class _Limits:
    """What Pillow refuses to read; the last thread that lifted it puts it back."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0

    def lift(self) -> None:
        with self.lock:
            if self.users == 0:
                self.saved = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
                Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = None, LARGEST_CHUNK
            self.users += 1

    def put_back(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = self.saved


LIMITS = _Limits()


@contextlib.contextmanager
def no_limits() -> Iterator[None]:
    """Lets Pillow read images of any size, and profiles and texts of PNG up to `LARGEST_CHUNK`."""
    LIMITS.lift()
    try:
        yield
    finally:
        LIMITS.put_back()


@contextlib.contextmanager
def forward_warnings(tell: Tell) -> Iterator[None]:
    """Tells the first of Pillow's warnings in place of showing them.

    What other threads warn of meanwhile is warned of afterwards.
    """
    with WARNINGS, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    texts = [str(one.message).strip() for one in caught if _by_pillow(one)]
    for one in caught:
        if not _by_pillow(one):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if texts:
        tell(f"metadata may not all have been read ({texts[0]})")


def _by_pillow(warning: warnings.WarningMessage) -> bool:
    return PILLOW in Path(warning.filename).parents
