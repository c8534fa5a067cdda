"""Whether a picture may be written where it is asked for."""

import os
from pathlib import Path

from patchcanvas.provenance import Provenance

__all__ = ["record_of", "validate_not_inputs", "validate_own", "validate_writable"]


def validate_not_inputs(files: list[Path], **inputs: Path | None) -> None:
    """Checks that nothing that was given is written over, by whatever path.

    Args:
        files: What will be written.
        inputs: What was given, by what it is.

    Raises:
        ValueError: If it would be.
    """
    for name, given in inputs.items():
        for file in files:
            if given is not None and file.exists() and given.exists() and file.samefile(given):
                raise ValueError(f"output must be another file than the {name}, got {file}.")


def validate_own(files: list[Path], program: str) -> None:
    """Checks that no file is there that was not made by a program.

    Raises:
        ValueError: If one is.
    """
    for file in files:
        found = record_of(file)
        if file.exists() and (found is None or found.program != program):
            raise ValueError(
                f"{file} is there and was not made by {program}: give another output=, or "
                "overwrite=true."
            )


def validate_writable(folder: Path) -> None:
    """Checks that files can be written in a folder, which need not be there yet.

    Raises:
        OSError: If they cannot.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise PermissionError(f"nothing can be written in {folder}: give another output=.")


def record_of(file: Path) -> Provenance | None:
    """Returns the record of a picture; None for whatever else there is."""
    try:
        return Provenance.read(file)
    except (OSError, ValueError):
        return None
