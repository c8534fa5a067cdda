"""The folder of a run: `results/<time>-<name>/`, and how an unfinished one is found again."""

import dataclasses
import json
import warnings
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from jaxtyping import UInt8
from torch import Tensor

from benchmarks.comparison.records import Results
from patchcanvas.pictures import read_picture, write_picture
from patchcanvas.records import read_record, write_record

__all__ = ["RunFolder", "new_path"]

Canvases = UInt8[Tensor, "samples 3 height width"]
# What two runs must share for the second to go on with the first.
PROTOCOL = ("settings", "denoiser", "data", "features", "environment", "canvas")
# What may differ all the same: it changes how the work is done, not what comes out.
HOW = {
    "settings": (
        "batch_size",
        "devices",
        "num_nodes",
        "loggers",
        "latency",
        "results",
        "cache",
        "latency_repeats",
    ),
    "environment": ("threads", "commit"),  # the hash of the code tells more than the commit
}


LOCKS: dict[Path, FileLock] = {}  # those that this process holds


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Where everything of one run lies.

    Args:
        path: The folder.
    """

    path: Path

    @classmethod
    def for_run(
        cls, fresh: Results, root: Path, strategies: set[str]
    ) -> tuple["RunFolder", Results]:
        """Returns the newest unfinished folder of the same run, else a new one.

        Raises:
            OSError: If nothing can be written there.
        """
        root.mkdir(parents=True, exist_ok=True)
        for path in sorted(root.glob("*/results.json"), reverse=True):
            found = _read(path)
            if found and _same_run(found, fresh) and not _finished(found, path, strategies):
                return cls(path.parent), found
        folder = cls(new_path(root, fresh.name))
        folder.path.mkdir()
        folder.write(fresh)
        return folder, fresh

    def lock(self) -> None:
        """Keeps other runs out of the folder, until `unlock` or the end of the process.

        Raises:
            ValueError: If another run is going on there.
        """
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ValueError(
                f"the same comparison is going on in {self.path}: wait for it, stop it, or give "
                "this one another name=…"
            ) from error
        LOCKS[self.path] = lock

    def unlock(self) -> None:
        """Lets other runs in."""
        if self.path in LOCKS:
            LOCKS.pop(self.path).release()

    def write(self, results: Results) -> None:
        """Writes `results.json`."""
        write_record(self.path / "results.json", results)

    def samples(self, strategy: str) -> Path:
        """Returns the folder of a strategy's canvases."""
        return self.path / "samples" / strategy

    def picture_files(self, strategy: str, count: int) -> list[str]:
        """Returns where pictures of a strategy's first canvases go, relative to the folder."""
        return [f"canvases/{strategy}-{index:03d}.png" for index in range(count)]

    def write_pictures(self, strategy: str, canvases: Iterable[Tensor]) -> list[str]:
        """Writes canvases as PNG; returns their paths relative to the folder."""
        canvases = list(canvases)
        files = self.picture_files(strategy, len(canvases))
        for file, canvas in zip(files, canvases, strict=True):
            write_picture(canvas, self.path / file)
        return files

    def read_pictures(self, files: list[str]) -> Canvases:
        """Reads what `write_pictures` wrote."""
        return torch.stack([read_picture(self.path / file) for file in files])

    def write_error(self, strategy: str, trace: str) -> None:
        """Keeps the traceback of what went wrong."""
        (self.path / f"{strategy}.error.txt").write_text(trace)


def _read(path: Path) -> Results | None:
    """Returns a run's record; None for a damaged one, or one by another version of this code."""
    try:
        json.loads(path.read_text())
    except (ValueError, OSError) as error:
        warnings.warn(
            f"{path} is damaged ({error}): if it is the record of this run, its canvases are "
            "there, but a new folder is begun.",
            stacklevel=2,
        )
        return None
    try:
        return read_record(Results, path)
    except ValueError:
        return None


def _same_run(found: Results, fresh: Results) -> bool:
    return all(_what(found, name) == _what(fresh, name) for name in PROTOCOL)


def _what(results: Results, name: str) -> Any:
    content = getattr(results, name)
    how = HOW.get(name, ())
    return {key: content[key] for key in content if key not in how} if how else content


def _finished(found: Results, path: Path, strategies: set[str]) -> bool:
    complete = {row.strategy for row in found.rows} == strategies
    return complete and not found.failures and path.with_name("report.html").is_file()


def new_path(root: Path, name: str) -> Path:
    """Returns a path in `root` that nothing has yet: the time and the name."""
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}"
    number = 1
    while (root / stem).exists():
        number += 1
        stem = f"{stem.removesuffix(f'-{number - 1}')}-{number}"
    return root / stem
