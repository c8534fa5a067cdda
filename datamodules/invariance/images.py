"""The images that the filter looks at: thumbnails with what the manifest needs to know."""

import abc
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from typing_extensions import override

from datamodules.folder import list_images
from datamodules.image_file import decode
from datamodules.lsun_tower import Part, TowerDatabase
from datamodules.manifest import content_hash

__all__ = ["Facts", "Folder", "Source", "Towers", "looked_at"]

CHUNK = 2048  # images in one file of thumbnails: what a stop can lose
THREADS = 4


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of an image besides its thumbnail.

    Args:
        path: Where it lies below the root, or its key.
        stamp: Changes when the file does; by it a later run knows that it need not look again.
        bytes: Of the file.
        sha256: Of the file's bytes; empty if not even these could be read.
        height: In pixels, upright.
        width: In pixels, upright.
        problem: Why it cannot be used; empty if it can.
    """

    path: str
    stamp: str
    bytes: int
    sha256: str
    height: int = 0
    width: int = 0
    problem: str = ""


class Source(abc.ABC):
    """A set of images with names."""

    @property
    @abc.abstractmethod
    def paths(self) -> list[str]:
        """The names of all images, always in the same order."""

    @abc.abstractmethod
    def stamp(self, path: str) -> str:
        """Returns something that changes when the image does, and is had without reading it."""

    @abc.abstractmethod
    def read(self, path: str) -> bytes:
        """Returns the encoded image."""

    @abc.abstractmethod
    def content(self, facts: list[Facts]) -> str:
        """Returns the hash by which the data set knows its images."""


class Folder(Source):
    """The images of a folder, with its subfolders."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser()

    @functools.cached_property
    @override
    def paths(self) -> list[str]:
        return list(list_images(self.root).images)

    @override
    def stamp(self, path: str) -> str:
        status = (self.root / path).stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    @override
    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    @override
    def content(self, facts: list[Facts]) -> str:
        return content_hash((fact.path, fact.sha256) for fact in facts)


class Towers(Source):
    """The images of LSUN's database of towers."""

    def __init__(self, root: Path, part: Part = "train") -> None:
        self.database = TowerDatabase(root, part)

    @property
    @override
    def paths(self) -> list[str]:
        return self.database.keys

    @override
    def stamp(self, path: str) -> str:
        return self.database.content

    @override
    def read(self, path: str) -> bytes:
        return self.database.stored(self._places[path])

    @override
    def content(self, facts: list[Facts]) -> str:
        return self.database.content

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {key: place for place, key in enumerate(self.database.keys)}


def looked_at(
    source: Source, size: int, folder: Path, *, after: Callable[[int], None] = lambda count: None
) -> tuple[UInt8[Tensor, "images 3 {size} {size}"], list[Facts]]:
    """Decodes every image into a thumbnail of `size` x `size` px, whatever its proportions.

    Thumbnails are kept in `folder`, a few thousand in a file; those that are there from an earlier
    run, of the same files, are not made again. Calls `after` with how many are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pixels: list[np.ndarray] = []
    facts: list[Facts] = []
    for number, paths in enumerate(_chunks(source.paths)):
        file = folder / f"{number:05}-{size}px.npz"
        stamps = [source.stamp(path) for path in paths]
        found = _loaded(file, paths, stamps)
        if found is None:
            found = _decoded(source, paths, stamps, size)
            _save(file, *found)
        pixels.append(found[0])
        facts.extend(found[1])
        after(len(facts))
    return torch.from_numpy(np.concatenate(pixels)), facts


def _chunks(paths: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(paths), CHUNK):
        yield paths[first : first + CHUNK]


def _decoded(
    source: Source, paths: list[str], stamps: list[str], size: int
) -> tuple[np.ndarray, list[Facts]]:
    with ThreadPoolExecutor(THREADS) as pool:
        looked = list(pool.map(lambda path, stamp: _look(source, path, stamp, size), paths, stamps))
    return np.stack([thumbnail for thumbnail, _ in looked]), [fact for _, fact in looked]


def _look(source: Source, path: str, stamp: str, size: int) -> tuple[np.ndarray, Facts]:
    data, digest = b"", ""
    try:
        data = source.read(path)
        digest = hashlib.sha256(data).hexdigest()
        image = decode(data)
    except Exception as error:  # decoders raise anything at all on damaged files
        problem = str(error) or type(error).__name__
        return np.zeros((3, size, size), np.uint8), Facts(
            path, stamp, len(data), digest, problem=problem
        )
    small = image.resize((size, size), Image.Resampling.LANCZOS)
    fact = Facts(path, stamp, len(data), digest, image.height, image.width)
    return np.asarray(small).transpose(2, 0, 1), fact


def _save(file: Path, pixels: np.ndarray, facts: list[Facts]) -> None:
    names = [field.name for field in dataclasses.fields(Facts)]
    columns: dict[str, Any] = {
        name: np.array([getattr(fact, name) for fact in facts]) for name in names
    }
    partial = file.with_suffix(".partial")
    with partial.open("wb") as opened:
        np.savez(opened, pixels=pixels, **columns)
    partial.replace(file)


def _loaded(
    file: Path, paths: list[str], stamps: list[str]
) -> tuple[np.ndarray, list[Facts]] | None:
    """Thumbnails of an earlier run, or None if there are none of these very files."""
    if not file.is_file():
        return None
    with np.load(file) as saved:
        if saved["path"].tolist() != paths or saved["stamp"].tolist() != stamps:
            return None
        names = [field.name for field in dataclasses.fields(Facts)]
        rows = zip(*(saved[name].tolist() for name in names), strict=True)
        return saved["pixels"], [Facts(*row) for row in rows]
