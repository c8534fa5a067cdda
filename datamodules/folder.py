"""The files of a folder: which are images, and why the others are not used."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

__all__ = ["EXTENSIONS", "Listing", "list_images"]

EXTENSIONS = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg"}
    | {".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
# Images that somebody would miss, in formats that are not read.
NOT_READ = frozenset(
    {".arw", ".cr2", ".cr3", ".dng", ".exr", ".hdr", ".heic", ".heif", ".hif", ".j2k", ".jp2"}
    | {".jxl", ".nef", ".orf", ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga"}
)


@dataclass(frozen=True)
class Listing:
    """What lies in a folder and its subfolders.

    Args:
        images: Paths below the folder, with forward slashes, sorted.
        unused: How many other files there are, by the reason why they are not used.
    """

    images: tuple[str, ...]
    unused: dict[str, int]

    @property
    def not_read(self) -> dict[str, int]:
        """How many images there are in formats that are not read, by their ending."""
        return {reason: count for reason, count in self.unused.items() if reason in NOT_READ}


def list_images(root: Path, name: str = "root") -> Listing:
    """Lists a folder with its subfolders; links are followed, each folder is entered once.

    Hidden files and folders are left out, and counted.

    Args:
        root: The folder.
        name: What it is called in errors.

    Raises:
        FileNotFoundError: If `root` is missing or holds no image.
        ValueError: If `root` is a file.
    """
    if not root.exists():
        raise FileNotFoundError(f"{name} must be a folder of images, but {root} does not exist.")
    if not root.is_dir():
        raise ValueError(
            f"{name} must be a folder of images, but {root} is a file; name its folder."
        )
    images, unused = [], Counter[str]()
    for path in _files(root):
        reason = _unused(root, path)
        if reason:
            unused[reason] += 1
        else:
            images.append(path.as_posix())
    if not images:
        raise FileNotFoundError(
            f"{name} must hold images, but none of the {unused.total()} files below {root} is one "
            f"that is used{_listed(unused)}; name another folder or convert them to one of "
            f"{' '.join(sorted(EXTENSIONS))}."
        )
    return Listing(tuple(sorted(images)), dict(sorted(unused.items())))


def _files(root: Path) -> Iterator[PurePath]:
    """Yields the relative paths of all files; a folder that links lead to twice is entered once."""
    seen = {_identity(root)}
    for folder, folders, files in os.walk(root, followlinks=True):
        found = {_identity(Path(folder, name)): name for name in sorted(folders, reverse=True)}
        folders[:] = sorted(name for identity, name in found.items() if identity not in seen)
        seen |= found.keys()
        yield from (PurePath(folder, name).relative_to(root) for name in sorted(files))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _unused(root: Path, path: PurePath) -> str:
    """Why a file is not used; empty for an image."""
    if any(part[0] == "." for part in path.parts):
        return "hidden"
    if not (root / path).exists():
        return "link to nothing"
    if not (root / path).is_file():
        return "no file"
    suffix = path.suffix.lower()
    return "" if suffix in EXTENSIONS else suffix or "no ending"


def _listed(unused: Counter[str]) -> str:
    found = ", ".join(f"{count} {reason}" for reason, count in unused.most_common(5))
    return f" ({found})" if found else ""
