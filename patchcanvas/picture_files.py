"""Where pictures go, and what lies there already."""

from pathlib import Path
from typing import Any

from patchcanvas.cli.settings import PictureSettings
from patchcanvas.output import record_of, validate_not_inputs, validate_own, validate_writable
from patchcanvas.provenance import Provenance

__all__ = [
    "asked_files",
    "holds_another",
    "holds_same",
    "new_files",
]

# Settings that a picture does not depend on but through what else its record says.
HOW = (
    *("image", "mask", "denoiser", "output", "overwrite"),
    *("results", "cache", "num_samples", "max_megapixels"),
)


def asked_files(settings: PictureSettings, program: str) -> list[Path] | None:
    """Returns where the pictures go, checked; None if that was left open.

    Args:
        settings: What was asked for.
        program: Whose pictures may be written over.

    Raises:
        ValueError: If something is there that must not be written over.
        OSError: If nothing can be written there.
    """
    validate_writable(settings.results if settings.output is None else settings.output.parent)
    if settings.output is None:
        return None
    files = numbered(settings.output, settings.num_samples)
    validate_not_inputs(files, **settings.inputs)
    if not settings.overwrite:
        validate_own(files, program)
    return files


def new_files(folder: Path, stem: str, origins: list[Provenance]) -> list[Path]:
    """Returns files that nothing else has, with a number where another picture has the name.

    Args:
        folder: Where they lie.
        stem: What they are called.
        origins: What the pictures will say of themselves; those that are there keep their names.
    """
    files, number = numbered(folder / f"{stem}.png", len(origins)), 1
    while any(map(holds_another, files, origins)):
        number += 1
        files = numbered(folder / f"{stem}-{number}.png", len(origins))
    return files


def numbered(path: Path, count: int) -> list[Path]:
    """Returns a file for each of so many pictures: the path itself for one, numbers for several."""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{number:03d}{path.suffix}") for number in range(count)]


def holds_same(file: Path, origin: Provenance) -> bool:
    """Whether the very picture that is to be made is there."""
    found = record_of(file)
    return found is not None and same_picture(found, origin)


def holds_another(file: Path, origin: Provenance) -> bool:
    """Whether something else is there."""
    return file.exists() and not holds_same(file, origin)


def same_picture(one: Provenance, other: Provenance) -> bool:
    """Whether two records are of one picture, whatever it and what it was made from are called."""
    return _what(one) == _what(other)


def _what(origin: Provenance) -> dict[str, Any]:
    content = origin.plainly()
    del content["command"]
    content["settings"] = {k: v for k, v in content["settings"].items() if k not in HOW}
    content["denoiser"].pop("file", None)
    return content
