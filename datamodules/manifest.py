"""What a folder of images holds: every file decoded once, hashed, and given to one split."""

import hashlib
import math
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from PIL import Image
from rich.console import Console
from rich.progress import track
from typing_extensions import override

from datamodules.image_file import decode
from datamodules.patches import Split

EXTENSIONS = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg"}
    | {".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
SCAN_THREADS = 4


@runtime_checkable
class Resize(Protocol):
    """How large an image becomes before crops are taken."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Returns (height, width) after resizing, in pixels."""
        ...

    def larger(self, growth: float) -> "Resize":
        """Returns the next round setting that makes images `growth` times as large."""
        ...


@dataclass(frozen=True)
class ByFactor(Resize):
    """Both sides times `scale`."""

    scale: float

    @override
    def size(self, height: int, width: int) -> tuple[int, int]:
        return scaled(height, self.scale), scaled(width, self.scale)

    @override
    def larger(self, growth: float) -> "ByFactor":
        return ByFactor(math.ceil(1000 * self.scale * growth) / 1000)

    @override
    def __str__(self) -> str:
        return f"scale={self.scale:g}"


@dataclass(frozen=True)
class ToShorterSide(Resize):
    """The shorter side becomes `side` px, the longer one in proportion; nothing is enlarged."""

    side: int

    @override
    def size(self, height: int, width: int) -> tuple[int, int]:
        factor = min(1.0, self.side / min(height, width))
        return scaled(height, factor), scaled(width, factor)

    @override
    def larger(self, growth: float) -> "ToShorterSide":
        return ToShorterSide(math.ceil(self.side * growth))

    @override
    def __str__(self) -> str:
        return f"side={self.side}"


@dataclass(frozen=True)
class Photo:
    """A usable image.

    Args:
        path: Where it lies below the root, with forward slashes.
        height: In pixels, upright and after resizing.
        width: In pixels, upright and after resizing.
        split: The one split that shows it.
        sha256: Of the file's bytes.
    """

    path: str
    height: int
    width: int
    split: Split
    sha256: str


@dataclass(frozen=True)
class Skipped:
    """An image that no split shows, and why.

    Args:
        path: Where it lies below the root, with forward slashes.
        kind: What the summary counts it as.
        reason: What was wrong, for a person.
        sha256: Of the file's bytes; empty if not even these could be read.
    """

    path: str
    kind: Literal["unreadable", "too small", "filtered out"]
    reason: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The images of a folder, in the order of their paths.

    Args:
        root: Name of the folder, not where it lies.
        resize: What size the images are brought to.
        seed: Seeds the split.
        content: sha256 over the relative paths and the bytes of all files, skipped ones too.
        photos: What can be used.
        skipped: What cannot.
    """

    root: str
    resize: Resize
    seed: int
    content: str
    photos: tuple[Photo, ...]
    skipped: tuple[Skipped, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Usable images in each split, and how many were skipped."""
        found = Counter(photo.split for photo in self.photos)
        return {split: found[split] for split in get_args(Split)} | {"skipped": len(self.skipped)}

    def as_dict(self) -> dict[str, Any]:
        """Everything, counts included, as JSON has it."""
        plain = asdict(self)
        return {"root": plain.pop("root")} | plain.pop("resize") | plain | {"counts": self.counts}


def scan(
    root: Path, *, resize: Resize, smallest: int, holdout: float, val_share: float, seed: int
) -> Manifest:
    """Decodes every image below `root` and says what can be used.

    All readable files are split, too small ones included, so that the split changes with neither
    `resize` nor `smallest`: what is held out at one scale is held out at every other. Warns of
    each file that is skipped, and once of how many there were.

    Raises:
        FileNotFoundError: If `root` is missing or holds no image.
        ValueError: If `root` is a file, or a split would have no image.
    """
    files = list(_examined(root, image_paths(root), resize))
    skipped = tuple(_skipped(files, resize, smallest))
    _warn_of(skipped, len(files))
    readable = [file for file in files if not file.problem]
    splits = split_by_file(
        [file.path for file in readable], holdout=holdout, val_share=val_share, seed=seed
    )
    photos = tuple(
        Photo(file.path, file.height, file.width, splits[file.path], file.sha256)
        for file in readable
        if min(file.height, file.width) >= smallest
    )
    manifest = Manifest(
        root=root.resolve().name,
        resize=resize,
        seed=seed,
        content=content_hash((file.path, file.sha256) for file in files),
        photos=photos,
        skipped=skipped,
    )
    refuse_empty_splits(manifest)
    return manifest


def content_hash(files: Iterable[tuple[str, str]]) -> str:
    """sha256 over relative paths and the sha256 of what they hold, in the order given."""
    listing = "".join(f"{path}\0{sha256}\n" for path, sha256 in files)
    return hashlib.sha256(os.fsencode(listing)).hexdigest()


def image_paths(root: Path) -> list[str]:
    """Relative paths of all images below `root`, sorted; hidden files and folders are left out.

    Raises:
        FileNotFoundError: If `root` is missing or holds no image.
        ValueError: If `root` is a file.
    """
    if not root.exists():
        raise FileNotFoundError(f"root must be a folder of images, but {root} does not exist.")
    if not root.is_dir():
        raise ValueError(f"root must be a folder of images, but {root} is a file; name its folder.")
    below = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    images = [
        path.as_posix()
        for path in below
        if path.suffix.lower() in EXTENSIONS and not any(part[0] == "." for part in path.parts)
    ]
    if not images:
        raise FileNotFoundError(
            f"root must hold images, but none of the {len(below)} files below {root} is one; "
            f"name another folder or convert them to one of {' '.join(sorted(EXTENSIONS))}."
        )
    return sorted(images)


def split_by_file(
    paths: list[str], *, holdout: float, val_share: float, seed: int
) -> dict[str, Split]:
    """Gives every file to one split, by the rank of a hash of its relative path.

    >>> split_by_file(["a.png", "b.png", "c.png"], holdout=0.2, val_share=0.05, seed=0)
    {'a.png': 'train', 'b.png': 'val', 'c.png': 'test'}

    Raises:
        ValueError: If a split would be empty.
    """
    test = max(1, round(holdout * len(paths)))
    val = max(1, round(val_share * len(paths)))
    if test + val >= len(paths):
        raise ValueError(
            f"train, val and test need at least one image each, but {len(paths)} readable images "
            f"were found, of which test takes {test} and val {val}; add images, or lower "
            f"holdout={holdout} and val_share={val_share}."
        )
    ranked = sorted(paths, key=lambda path: hashed("split", seed, path))
    rank = {path: position for position, path in enumerate(ranked)}
    return {
        path: "test" if rank[path] < test else "val" if rank[path] < test + val else "train"
        for path in paths
    }


def hashed(*key: str | int) -> int:
    """128 bits that depend on `key` alone, on every machine and in every version."""
    text = "\0".join(str(part) for part in key)
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=16).digest())


def scaled(length: int, scale: float) -> int:
    """A side after scaling, in pixels."""
    return max(1, math.floor(length * scale + 0.5))


@dataclass(frozen=True)
class _File:
    """What decoding a file showed: its size after scaling, or the problem."""

    path: str
    sha256: str
    height: int = 0
    width: int = 0
    problem: str = ""


def _examined(root: Path, paths: list[str], resize: Resize) -> Iterator[_File]:
    """Decodes the files, several at a time (decoders release the interpreter lock)."""

    def examine(path: str) -> _File:
        digest = ""
        try:
            data = (root / path).read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            width, height = decode(data).size
        except Exception as error:  # decoders raise anything at all on damaged files
            return _File(path, digest, problem=_brief(error))
        return _File(path, digest, *resize.size(height, width))

    with ThreadPoolExecutor(SCAN_THREADS) as pool:
        yield from track(
            pool.map(examine, paths),
            description="Checking images",
            total=len(paths),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )


def _skipped(files: list[_File], resize: Resize, smallest: int) -> Iterator[Skipped]:
    for file in files:
        if file.problem:
            yield Skipped(file.path, "unreadable", file.problem, file.sha256)
        elif min(file.height, file.width) < smallest:
            size = f"{file.height}x{file.width} px (height x width) at {resize}"
            reason = f"{size}, less than {smallest} px"
            yield Skipped(file.path, "too small", reason, file.sha256)


def _brief(error: Exception) -> str:
    """The message without the absolute path that the system puts into it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, Image.UnidentifiedImageError):
        return "not in an image format that can be read"
    return str(error) or type(error).__name__


def _warn_of(skipped: tuple[Skipped, ...], total: int) -> None:
    for entry in skipped:
        warnings.warn(f"skipped {entry.path}, {entry.kind}: {entry.reason}.", stacklevel=4)
    if skipped:
        kinds = sorted(Counter(entry.kind for entry in skipped).items(), reverse=True)
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds)
        warnings.warn(f"skipped {len(skipped)} of {total} images: {counted}.", stacklevel=4)


def refuse_empty_splits(manifest: Manifest) -> None:
    """Refuses a manifest that leaves a split without an image.

    Raises:
        ValueError: If `train`, `val` or `test` has none.
    """
    empty = [split for split in get_args(Split) if not manifest.counts[split]]
    if empty:
        raise ValueError(
            f"train, val and test need at least one image each, but none is left for "
            f"{' and '.join(empty)}: of {len(manifest.photos) + len(manifest.skipped)} found, "
            f"{len(manifest.skipped)} were skipped; remove or repair those, add images, or "
            f"raise {manifest.resize}."
        )
