"""The folder of a run, and how an unfinished one is found again."""

import json
from pathlib import Path
from typing import Any

from benchmarks.experiment.folder import new_path
from patchcanvas.records import read_record, write_record
from studies.peers.records import RECORD, PeerResults
from studies.peers.table import TABLE

__all__ = ["folder_for"]

# What two runs must share for the second to go on with the first; the hash of the code tells more
# than the commit.
PROTOCOL = ("settings", "environment", "peer", "denoiser")
HOW = {"results", "commit"}


def folder_for(fresh: PeerResults, root: Path) -> tuple[Path, PeerResults]:
    """Returns the newest unfinished folder of the same run, else a new one, and what is known.

    Raises:
        OSError: If nothing can be written there.
    """
    root.mkdir(parents=True, exist_ok=True)
    for path in sorted(root.glob(f"*/{RECORD}"), reverse=True):
        found = _read(path)
        if found and _same_run(found, fresh) and not path.with_name(TABLE).is_file():
            return path.parent, found
    folder = new_path(root, fresh.name)
    folder.mkdir()
    write_record(folder / RECORD, fresh)
    return folder, fresh


def _read(path: Path) -> PeerResults | None:
    """Returns a run's record; None for one of another benchmark, or of another version of this."""
    try:
        return read_record(PeerResults, path)
    except (ValueError, OSError):
        return None


def _same_run(found: PeerResults, fresh: PeerResults) -> bool:
    return all(_what(getattr(found, name)) == _what(getattr(fresh, name)) for name in PROTOCOL)


def _what(content: dict[str, Any]) -> Any:
    """Returns what of a record must be equal, as a file would hold it."""
    kept = {key: value for key, value in content.items() if key not in HOW}
    return json.loads(json.dumps(kept, default=str))
