"""What a folder of images holds: every file looked at, hashed, and given to one split."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from datamodules.file_facts import Facts, facts_of
from datamodules.folder import Listing, list_images
from datamodules.image_file import MAX_MEGAPIXELS
from datamodules.patches import Split
from datamodules.resize import Resize
from datamodules.split import split_by_content

__all__ = [
    "Manifest",
    "Photo",
    "Skipped",
    "by_bytes",
    "by_pixels",
    "content_hash",
    "scan",
    "scan_unsplit",
    "validate_splits",
]

SHOWN = 3  # files that are named where many are skipped
LOG = logging.getLogger(__name__)  # which says a warning alone, without where in the code it arose


@dataclass(frozen=True)
class Photo:
    """A usable image.

    Args:
        path: Where it lies below the root, with forward slashes.
        height: In pixels, upright and after resizing.
        width: In pixels, upright and after resizing.
        split: The one split that shows it.
        sha256: Of the file's bytes.
        content: Names its content, by which copies are told: a SHA-256.
    """

    path: str
    height: int
    width: int
    split: Split
    sha256: str
    content: str


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
    kind: Literal["unreadable", "too small", "filtered out", "trained on"]
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
        unused: How many other files there are, by the reason why they are not used.
    """

    root: str
    resize: Resize
    seed: int
    content: str
    photos: tuple[Photo, ...]
    skipped: tuple[Skipped, ...]
    unused: dict[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """Usable images in each split, copies among them, and what was skipped or left out."""
        found = Counter(photo.split for photo in self.photos)
        copies = len(self.photos) - len({photo.content for photo in self.photos})
        counts = {split: found[split] for split in get_args(Split)}
        trained_on = sum(entry.kind == "trained on" for entry in self.skipped)
        skipped = len(self.skipped) - trained_on
        return counts | {"copies": copies, "skipped": skipped, "trained_on": trained_on}

    def without(self, paths: Collection[str]) -> "Manifest":
        """Returns it without these images, which the denoiser was trained on, and are skipped."""
        left = (each for each in self.photos if each.path in paths)
        reason = "the denoiser was trained on this image"
        skipped = (Skipped(each.path, "trained on", reason, each.sha256) for each in left)
        kept = (each for each in self.photos if each.path not in paths)
        return replace(self, photos=tuple(kept), skipped=(*self.skipped, *skipped))

    def as_dict(self) -> dict[str, Any]:
        """Everything, counts included, as JSON has it."""
        plain = asdict(self)
        return {"root": plain.pop("root")} | plain.pop("resize") | plain | {"counts": self.counts}


def by_pixels(facts: Facts) -> str:
    """Names an image by what its pixels are decoded from."""
    return facts.content


def by_bytes(facts: Facts) -> str:
    """Names an image by all that its file holds, for collections that nobody edits."""
    return facts.sha256


def scan(
    root: Path,
    *,
    resize: Resize,
    smallest: int,
    holdout: float,
    val_share: float,
    seed: int,
    max_megapixels: float = MAX_MEGAPIXELS,
    named_by: Callable[[Facts], str] = by_pixels,
) -> Manifest:
    """Looks at every image below `root` and says what can be used, without decoding it.

    An image's split depends on its content and `seed`, not on other files, `resize` or `smallest`:
    what is held out at one scale is held out at every other, and copies stay together. Says once
    how many files are skipped, and names the first.

    Raises:
        FileNotFoundError: If `root` is missing or holds no image.
        ValueError: If `root` is a file, or a split would have no image.
    """
    manifest = _looked_at(
        root,
        resize=resize,
        smallest=smallest,
        seed=seed,
        max_megapixels=max_megapixels,
        named_by=named_by,
        split=lambda contents: split_by_content(
            contents, holdout=holdout, val_share=val_share, seed=seed
        ),
    )
    validate_splits(manifest)
    return manifest


def scan_unsplit(
    root: Path,
    *,
    resize: Resize,
    smallest: int,
    seed: int,
    max_megapixels: float = MAX_MEGAPIXELS,
    name: str = "root",
) -> Manifest:
    """Looks at every image below `root` as `scan` does; all that can be used are `test`.

    Args:
        root: The folder.
        resize: What size the images are brought to.
        smallest: Least side of an image that can be used then, in pixels.
        seed: Is recorded.
        max_megapixels: Larger images are skipped.
        name: What the folder is called in errors.

    Raises:
        FileNotFoundError: If `root` is missing or holds no image.
        ValueError: If `root` is a file.
    """
    return _looked_at(
        root,
        resize=resize,
        smallest=smallest,
        seed=seed,
        max_megapixels=max_megapixels,
        named_by=by_pixels,
        split=lambda contents: dict.fromkeys(contents, "test"),
        name=name,
    )


def _looked_at(
    root: Path,
    *,
    resize: Resize,
    smallest: int,
    seed: int,
    max_megapixels: float,
    named_by: Callable[[Facts], str],
    split: Callable[[list[str]], dict[str, Split]],
    name: str = "root",
) -> Manifest:
    listing = list_images(root, name)
    found = facts_of(root, listing.images, max_megapixels)
    files = dict(zip(listing.images, found, strict=True))
    skipped = tuple(_skipped(files, resize, smallest))
    _say_what_is_skipped(root, listing, skipped, files.values())
    readable = {path: facts for path, facts in files.items() if not facts.problem}
    splits = split([named_by(facts) for facts in readable.values()])
    sizes = {path: resize.size(facts.height, facts.width) for path, facts in readable.items()}
    photos = tuple(
        Photo(path, *sizes[path], splits[named_by(facts)], facts.sha256, named_by(facts))
        for path, facts in readable.items()
        if min(sizes[path]) >= smallest
    )
    return Manifest(
        root=root.resolve().name,
        resize=resize,
        seed=seed,
        content=content_hash((path, facts.sha256) for path, facts in files.items()),
        photos=photos,
        skipped=skipped,
        unused=listing.unused,
    )


def content_hash(files: Iterable[tuple[str, str]]) -> str:
    """sha256 over relative paths and the sha256 of what they hold, in the order given."""
    listing = "".join(f"{path}\0{sha256}\n" for path, sha256 in files)
    return hashlib.sha256(os.fsencode(listing)).hexdigest()


def _skipped(files: dict[str, Facts], resize: Resize, smallest: int) -> Iterator[Skipped]:
    for path, facts in files.items():
        if facts.problem:
            yield Skipped(path, "unreadable", facts.problem, facts.sha256)
            continue
        height, width = resize.size(facts.height, facts.width)
        if min(height, width) < smallest:
            size = f"{height}x{width} px (height x width) at {resize}"
            yield Skipped(path, "too small", f"{size}, less than {smallest} px", facts.sha256)


def _say_what_is_skipped(
    root: Path, listing: Listing, skipped: tuple[Skipped, ...], files: Iterable[Facts]
) -> None:
    """Says in a line each what of a folder is not used and would be missed."""
    if skipped:
        kinds = sorted(Counter(entry.kind for entry in skipped).items(), reverse=True)
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds)
        named = "; ".join(f"{entry.path}: {entry.reason}" for entry in skipped[:SHOWN])
        more = "; ..." if len(skipped) > SHOWN else ""
        total = len(listing.images)
        LOG.warning(f"skipped {len(skipped)} of {total} images ({counted}): {named}{more}.")
    if listing.not_read:
        counted = ", ".join(f"{count} {ending}" for ending, count in listing.not_read.items())
        LOG.warning(f"not read below {root}: {counted}; convert them to PNG or JPEG to use them.")
    damaged = [facts.metadata for facts in files if facts.metadata]
    if damaged:
        LOG.warning(f"of {len(damaged)} images metadata were left aside: {damaged[0]}.")


def validate_splits(manifest: Manifest) -> None:
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
