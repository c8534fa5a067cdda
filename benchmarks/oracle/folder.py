"""The folder of a run of the oracle, and how an unfinished one is found again."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from benchmarks.experiment.folder import new_path
from benchmarks.oracle.plan import Job
from benchmarks.oracle.records import OracleResults
from patchcanvas.records import read_record, write_record
from patchcanvas.sources import sha256_of_sources

__all__ = ["PICTURE", "RECORD", "folder_for", "hashes"]

RECORD, PICTURE = "oracle.json", "oracle.png"


def folder_for(
    fresh: OracleResults, jobs: list[Job], root: Path, name: str
) -> tuple[Path, OracleResults]:
    """Returns the newest unfinished folder of the same run, else a new one, and what is known.

    Two runs are the same where all settings, the environment and the code are. A strategy that
    has failed leaves a run unfinished: it is tried again.

    Raises:
        OSError: If nothing can be written there.
    """
    root.mkdir(parents=True, exist_ok=True)
    for path in sorted(root.glob(f"*/{RECORD}"), reverse=True):
        found = _read(path)
        if found and _same_run(found, fresh) and not _finished(found, jobs, path.parent):
            return path.parent, found
    folder = new_path(root, name)
    folder.mkdir()
    write_record(folder / RECORD, fresh)
    return folder, fresh


def hashes(classes: Iterable[type]) -> dict[str, str]:
    """Returns hashes of the code that a run rests on: that of the project, and of `classes`."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return {"sources": sha256_of_sources(classes), "oracle": digest.hexdigest()}


def _read(path: Path) -> OracleResults | None:
    """Returns a run's record; None for one that another version of this code wrote."""
    try:
        return read_record(OracleResults, path)
    except (ValueError, TypeError, KeyError):
        return None


def _same_run(found: OracleResults, fresh: OracleResults) -> bool:
    return found.settings == fresh.settings and found.environment == fresh.environment


def _finished(found: OracleResults, jobs: list[Job], folder: Path) -> bool:
    there = [{row.strategy for row in case.rows} for case in found.cases]
    asked = [{trial.name for trial in job.trials} for job in jobs]
    return there == asked and (folder / PICTURE).is_file()
