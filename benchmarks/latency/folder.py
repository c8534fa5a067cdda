"""The folder of a run of the latency benchmark, and how an unfinished one is found again."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from benchmarks.experiment.folder import new_path
from benchmarks.latency.plan import Plan
from benchmarks.latency.records import RECORD, LatencyResults
from patchcanvas.records import read_record, write_record
from patchcanvas.sources import sha256_of_sources

__all__ = ["PICTURE", "folder_for", "hashes", "remaining"]

PICTURE = "latency.png"
# What two runs must share for the second to go on with the first.
PROTOCOL = ("settings", "environment", "denoiser")


def folder_for(fresh: LatencyResults, plan: Plan, root: Path) -> tuple[Path, LatencyResults]:
    """Returns the newest unfinished folder of the same run, else a new one, and what is known.

    Two runs are the same where all settings, the environment, the weights and the code are. A
    strategy that has failed leaves a run unfinished: it is tried again.

    Raises:
        OSError: If nothing can be written there.
    """
    root.mkdir(parents=True, exist_ok=True)
    for path in sorted(root.glob(f"*/{RECORD}"), reverse=True):
        found = _read(path)
        if found and _same_run(found, fresh) and not _finished(found, plan, path.parent):
            return path.parent, found
    folder = new_path(root, fresh.name)
    folder.mkdir()
    write_record(folder / RECORD, fresh)
    return folder, fresh


def remaining(results: LatencyResults, plan: Plan, width: int) -> list[str]:
    """Returns the strategies that have neither a finished point nor were left out."""
    left_out = {(item.strategy, item.width) for item in results.absences if not item.failed}
    return [
        name
        for name in plan.strategies
        if results.point(name, width) is None and (name, width) not in left_out
    ]


def hashes(classes: Iterable[type]) -> dict[str, str]:
    """Returns hashes of the code that a run rests on: that of the project, and of `classes`."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return {"sources": sha256_of_sources(classes), "latency": digest.hexdigest()}


def _read(path: Path) -> LatencyResults | None:
    """Returns a run's record; None for one that another version of this code wrote."""
    try:
        return read_record(LatencyResults, path)
    except (ValueError, OSError):
        return None


def _same_run(found: LatencyResults, fresh: LatencyResults) -> bool:
    return all(getattr(found, name) == getattr(fresh, name) for name in PROTOCOL)


def _finished(found: LatencyResults, plan: Plan, folder: Path) -> bool:
    complete = not any(remaining(found, plan, width) for width in plan.canvases)
    return complete and found.floor is not None and (folder / PICTURE).is_file()
