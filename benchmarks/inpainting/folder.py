"""The folder of a run, and how an unfinished one is found again."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.experiment.folder import RunFolder, new_path
from benchmarks.inpainting.records import CompletionResults
from patchcanvas.records import read_record, write_record
from patchcanvas.sources import sha256_of_sources

__all__ = ["RECORD", "file_name", "folder_for", "hashes"]

RECORD = "completions.json"
# What two runs must share for the second to go on with the first, but for what changes how the
# work is done and not what comes out.
PROTOCOL = ("settings", "environment", "denoiser", "data", "features")
HOW = {"results", "cache", "threads", "commit"}


def folder_for(
    fresh: CompletionResults, root: Path, keys: set[tuple[str, str]], picture: str
) -> tuple[RunFolder, CompletionResults]:
    """Returns the newest unfinished folder of the same run, else a new one; it is locked.

    Args:
        fresh: The record of a run that has not begun.
        root: Folder of the runs.
        keys: The rows that a finished run has.
        picture: The file that is written last.

    Raises:
        OSError: If nothing can be written there.
        ValueError: If the same run is going on.
    """
    root.mkdir(parents=True, exist_ok=True)
    for path in sorted(root.glob(f"*/{RECORD}"), reverse=True):
        if _unfinished(path, fresh, keys, picture) is None:
            continue
        folder = _locked(path.parent)
        # Whoever had the lock may have written since.
        found = _unfinished(path, fresh, keys, picture)
        if found is not None:
            return folder, found
        folder.unlock()
    path = new_path(root, fresh.name)
    path.mkdir()
    write_record(path / RECORD, fresh)
    return _locked(path), fresh


def hashes(classes: Iterable[type], packages: Iterable[str]) -> dict[str, str]:
    """Returns hashes of the code that a run rests on: the project's, and those of `packages`."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted((Path(__file__).parent.parent / package).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return {"sources": sha256_of_sources(classes), "completion": digest.hexdigest()}


def file_name(*parts: str) -> str:
    """Returns a name for files out of names for people.

    >>> file_name("half", "w = 1.5, pure_noise")
    'half-w-1.5-pure_noise'
    """
    return "-".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts)


def _unfinished(
    path: Path, fresh: CompletionResults, keys: set[tuple[str, str]], picture: str
) -> CompletionResults | None:
    """Returns the record if it is of the same run, and of one that is not finished."""
    found = _read(path)
    if found is None or not _same_run(found, fresh):
        return None
    finished = {row.key for row in found.rows} >= keys and path.with_name(picture).is_file()
    return None if finished else found


def _locked(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.lock()
    return folder


def _read(path: Path) -> CompletionResults | None:
    """Returns a run's record; None for one that is damaged or by another version of this code."""
    try:
        return read_record(CompletionResults, path)
    except (ValueError, OSError):
        return None


def _same_run(found: CompletionResults, fresh: CompletionResults) -> bool:
    return all(_what(found, name) == _what(fresh, name) for name in PROTOCOL)


def _what(results: CompletionResults, name: str) -> dict[str, Any]:
    return {key: value for key, value in getattr(results, name).items() if key not in HOW}
