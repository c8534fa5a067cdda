"""What is known of an image file without decoding it, kept from start to start."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import PIL
from PIL import UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from datamodules.encoded import looks_whole, pixel_content
from datamodules.image_file import decode, upright_size

__all__ = ["Facts", "facts_of"]

THREADS = 4
PAUSE = 30.0  # seconds until a log is told how far it is, then twice as long every time
SETTLED = 2_000_000_000  # ns; a file may change once more within the tick of its clock


@dataclass(frozen=True)
class Facts:
    """What is known of a file.

    Args:
        sha256: Of its bytes; empty if not even these could be read.
        content: Of what its pixels are decoded from (`datamodules.encoded.pixel_content`).
        height: In pixels, upright, as stored.
        width: In pixels, upright, as stored.
        problem: Why it cannot be used; empty if it can as far as is known.
        metadata: What of its metadata cannot be read; empty if all can.
    """

    sha256: str
    content: str = ""
    height: int = 0
    width: int = 0
    problem: str = ""
    metadata: str = ""


def facts_of(root: Path, paths: tuple[str, ...], max_megapixels: float) -> list[Facts]:
    """Returns the facts of files below `root`, several read at a time.

    Only headers are read and bytes hashed; what seems cut off is decoded, to know. Facts are kept
    in the user's cache, and hold for as long as a file's size and time of change are the same.
    """
    kept = _Kept(root, max_megapixels)

    def facts(path: str) -> Facts:
        stamp = _stamp(root / path)
        return kept.get(path, stamp) or kept.put(
            path, stamp, _examined(root / path, max_megapixels)
        )

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(_shown(pool.map(facts, paths), len(paths)))
    kept.write()
    return found


def _brief(error: Exception) -> str:
    """The message without the absolute path that the system puts into it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnidentifiedImageError):
        return "not in an image format that can be read"
    return str(error) or type(error).__name__


def _examined(path: Path, max_megapixels: float) -> Facts:
    digest = ""
    said: list[str] = []
    try:
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        height, width = upright_size(data, tell=said.append)
        if not looks_whole(data) or height * width > 1e6 * max_megapixels:
            decode(data, max_megapixels=max_megapixels, tell=said.append)
    except Exception as error:  # decoders raise anything at all on damaged files
        return Facts(digest, problem=_brief(error))
    return Facts(digest, pixel_content(data), height, width, metadata=said[0] if said else "")


def _shown(found: Iterator[Facts], total: int) -> Iterator[Facts]:
    """Shows how far it is: a bar on a terminal, elsewhere a line now and then."""
    if not sys.stderr.isatty():
        return _reported(found, total)
    console = Console(stderr=True)
    title = "Checking images"
    return iter(track(found, description=title, total=total, console=console, transient=True))


def _reported(found: Iterator[Facts], total: int) -> Iterator[Facts]:
    due, pause = time.monotonic() + PAUSE, PAUSE
    for number, facts in enumerate(found, 1):
        yield facts
        if time.monotonic() > due and number < total:
            print(f"checking images: {number:,} of {total:,}", file=sys.stderr, flush=True)
            pause *= 2
            due = time.monotonic() + pause


def _stamp(path: Path) -> list[int]:
    """Size and times of change of a file; empty if it cannot be asked."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


class _Kept:
    """The facts of a folder's files in the user's cache; without one, nothing is kept."""

    def __init__(self, root: Path, max_megapixels: float) -> None:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "patchcanvas")
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        self.path = folder / "images" / f"{name}.json"
        # What can be read, and what is said of it, depends on these.
        self.made_by = {"format": 2, "pillow": PIL.__version__, "max_megapixels": max_megapixels}
        self.before = self._read()
        self.now: dict[str, tuple[list[int], Facts]] = {}

    def get(self, path: str, stamp: list[int]) -> Facts | None:
        """Returns what is known of the file as it is."""
        found = self.before.get(path)
        if not stamp or found is None or found[0] != stamp:
            return None
        self.now[path] = (stamp, found[1])
        return found[1]

    def put(self, path: str, stamp: list[int], facts: Facts) -> Facts:
        """Keeps what was found of a file that has not changed just now."""
        if stamp and stamp[1] < time.time_ns() - SETTLED:
            self.now[path] = (stamp, facts)
        return facts

    def write(self) -> None:
        """Writes all at once, if something is new and there is a place for it."""
        if self.now == self.before:
            return
        files = {path: [stamp, asdict(facts)] for path, (stamp, facts) in self.now.items()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(f".{os.getpid()}.partial")
            partial.write_text(json.dumps(self.made_by | {"files": files}))
            partial.replace(self.path)
        except OSError:
            return  # a start takes longer, and that is all

    def _read(self) -> dict[str, tuple[list[int], Facts]]:
        try:
            found = json.loads(self.path.read_text())
            files = found.pop("files")
            if found != self.made_by:
                return {}
            return {path: (stamp, Facts(**facts)) for path, (stamp, facts) in files.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}
