"""Folders of images: those that are measured, and crops of those that they are compared with."""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor
from typing_extensions import override

from datamodules.file_facts import Facts, facts_of
from datamodules.folder import list_images
from datamodules.image_file import decode
from datamodules.manifest import Manifest, Photo, content_hash
from datamodules.patches import Split
from datamodules.photos import PhotoCrops, as_crop
from datamodules.split import hashed

__all__ = ["ImageFolder", "ReferenceCrops", "room", "shared", "spelt"]

THREADS = 4
CACHE_MIB = 256  # of decoded reference images


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """Images of one size, to be measured.

    Args:
        root: The folder.
        files: What is known of each, by its path below the folder, in the order of these.
        max_megapixels: Larger images are refused.
    """

    root: Path
    files: dict[str, Facts]
    max_megapixels: float

    @classmethod
    def of(cls, root: Path, max_megapixels: float) -> "ImageFolder":
        """Looks at every image below `root` without decoding it.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If one cannot be read, or not all have one size.
        """
        listing = list_images(root, "images")
        found = facts_of(root, listing.images, max_megapixels)
        files = dict(zip(listing.images, found, strict=True))
        damaged = {path: facts.problem for path, facts in files.items() if facts.problem}
        if damaged:
            path, why = next(iter(damaged.items()))
            raise ValueError(
                f"images must be readable, but {len(damaged)} of {len(files)} below {root} are "
                f"not, {path} the first ({why}): make them again or take them out."
            )
        first, *others = files
        folder = cls(root, files, max_megapixels)
        for path in others:
            if (size := _size(files[path])) != folder.size:
                raise ValueError(
                    f"images must have one size, but of those below {root} {first} has "
                    f"{spelt(folder.size)} and {path} {spelt(size)}: put sizes in folders of "
                    "their own, and measure each by itself."
                )
        return folder

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        return _size(next(iter(self.files.values())))

    @property
    def sha256(self) -> str:
        """Hash over the names and the bytes of all files."""
        return content_hash((path, facts.sha256) for path, facts in self.files.items())

    @property
    def copies(self) -> int:
        """How many images have the pixels of another one."""
        return len(self.files) - len({facts.content for facts in self.files.values()})

    def drawn(self, count: int, seed: int) -> "ImageFolder":
        """Returns `count` of the images, drawn at random and in order; all if there are no more."""
        paths = list(self.files)
        taken = [paths[place] for place in _drawn(paths, count, seed)]
        return dataclasses.replace(self, files={path: self.files[path] for path in taken})

    def read(self, indices: Sequence[int]) -> UInt8[Tensor, "n 3 height width"]:
        """Returns images by their numbers, upright, on white, in 8-bit sRGB.

        Raises:
            ValueError: If one cannot be decoded after all.
        """
        paths = list(self.files)
        with ThreadPoolExecutor(THREADS) as pool:
            return torch.stack(list(pool.map(self._decoded, [paths[index] for index in indices])))

    def _decoded(self, path: str) -> UInt8[Tensor, "3 height width"]:
        try:
            image = decode(
                self.root / path, max_megapixels=self.max_megapixels, tell=lambda text: None
            )
        except Exception as error:  # decoders raise whatever they like
            raise ValueError(f"{self.root / path} cannot be decoded ({error}).") from error
        return as_crop(image)


class ReferenceCrops(PhotoCrops):
    """So many crops of the images of a folder, of one size; no image is held out.

    Every image that is large enough gives one crop, at a random place; where there are more images
    than crops, they are drawn at random. Where there are fewer, those that have room for several
    crops side by side give more of them, at other random places. The order is that of the paths.

    Args:
        root: The folder.
        manifest: Its images.
        count: How many crops.
        size: Their height and width, in pixels.
        seed: Seeds places and draws.
        max_megapixels: Most pixels that are decoded, in millions.

    Raises:
        ValueError: If there is no room for so many.
    """

    def __init__(
        self,
        root: Path,
        manifest: Manifest,
        count: int,
        size: tuple[int, int],
        *,
        seed: int,
        max_megapixels: float,
    ) -> None:
        super().__init__(root, False, CACHE_MIB, max_megapixels, 1, 1, 1, 1, 0, seed)
        if count > room(manifest, size):
            raise ValueError(
                f"the {len(manifest.photos)} images below {root} have room for "
                f"{room(manifest, size):,} crops of {spelt(size)} side by side, fewer than "
                f"{count:,}: ask for fewer, or give more or larger images."
            )
        self._list(manifest)
        self.turns = _turns(manifest, count, size, seed)

    @property
    @override
    def description(self) -> dict[str, Any]:
        counts = self.manifest.counts
        return super().description | {
            "images": {"usable": counts["test"], "skipped": counts["skipped"]}
        }

    @override
    def _photos(self, split: Split, index: int, height: int, width: int) -> Iterator[Photo]:
        yield from self.turns[index:]
        yield from self.turns[:index]


def room(manifest: Manifest, size: tuple[int, int]) -> int:
    """Returns how many crops of this height and width the images have room for side by side."""
    return sum(_fitting(photo, size) for photo in manifest.photos)


def shared(folder: ImageFolder, manifest: Manifest) -> list[str]:
    """Returns the paths of images whose pixels, or bytes, are also in the other folder."""
    contents = {photo.content for photo in manifest.photos}
    return [path for path, facts in folder.files.items() if facts.content in contents]


def _turns(manifest: Manifest, count: int, size: tuple[int, int], seed: int) -> list[Photo]:
    """Returns whose turn it is, crop by crop: everyone's, then theirs who have room for more."""
    turns: list[Photo] = []
    given = 0
    while len(turns) < count:
        able = [photo for photo in manifest.photos if _fitting(photo, size) > given]
        places = _drawn([photo.path for photo in able], count - len(turns), seed)
        turns += [able[place] for place in places]
        given += 1
    return turns


def _fitting(photo: Photo, size: tuple[int, int]) -> int:
    return (photo.height // size[0]) * (photo.width // size[1])


def _drawn(names: list[str], count: int, seed: int) -> list[int]:
    """Returns the places of `count` names drawn at random, ascending; all if there are no more."""
    ranked = sorted(range(len(names)), key=lambda place: hashed("drawn", seed, names[place]))
    return sorted(ranked[:count])


def _size(facts: Facts) -> tuple[int, int]:
    return facts.height, facts.width


def spelt(size: tuple[int, int]) -> str:
    """Returns a height and a width in words."""
    return f"{size[0]} x {size[1]} px (height x width)"
