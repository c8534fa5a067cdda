"""Random crops of the photographs in a folder."""

import json
import logging
import math
from collections import OrderedDict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from typing_extensions import override

from datamodules.image_file import MAX_MEGAPIXELS, decode_resized
from datamodules.manifest import Manifest, Photo, scan, validate_splits
from datamodules.patches import Crop, PatchData, Split
from datamodules.resize import ByFactor
from datamodules.split import check_shares, hashed

__all__ = ["ChangedError", "PhotoCrops", "Photos", "as_crop", "cut", "resized"]

NAME = 16  # hexadecimal digits that name a content among those a denoiser was trained on
LOG = logging.getLogger(__name__)


def names_of(photo: Photo) -> set[str]:
    """Returns what an image is called among those that were trained on: by pixels, and by bytes.

    Data sets of the same files may know them by the one or the other.
    """
    return {photo.content[:NAME], photo.sha256[:NAME]}


class ChangedError(ValueError):
    """A file that is another one than the manifest lists."""


class PhotoCrops(PatchData):
    """Crops of the images that a manifest lists: what `Photos` and data sets of files share.

    Successive crops of a split visit every image that is large enough once, in random order, then
    again. A subclass lists its images with `_list`.
    """

    def __init__(
        self,
        root: str | Path,
        flip: bool,
        cache_mib: int,
        max_megapixels: float,
        patch_size: int,
        batch_size: int,
        patches_per_epoch: int,
        val_patches: int,
        num_workers: int,
        seed: int,
    ) -> None:
        super().__init__(patch_size, batch_size, patches_per_epoch, val_patches, num_workers, seed)
        if cache_mib < 0:
            raise ValueError(f"cache_mib must be at least 0, got {cache_mib}.")
        if not max_megapixels > 0:
            raise ValueError(f"max_megapixels must be above 0, got {max_megapixels}.")
        self.root = Path(root).expanduser()
        self.flip = flip
        self.cache_mib = cache_mib
        self.max_megapixels = max_megapixels
        self._broken: set[str] = set()
        self._cache = _ImageCache(cache_mib * 2**20)
        self._usable: dict[tuple[Split, int, int], list[Photo]] = {}
        self._rounds: dict[tuple[Split, int, int], tuple[int, list[Photo]]] = {}

    def _list(self, manifest: Manifest) -> None:
        """Says which images there are; a constructor does so last."""
        self._manifest = manifest

    @property
    def manifest(self) -> Manifest:
        """Which files there are, how large, in which split, and which were skipped."""
        return self._manifest

    @property
    @override
    def trained_on(self) -> frozenset[str]:
        shown = (photo for photo in self.manifest.photos if photo.split != "test")
        return frozenset(name for photo in shown for name in names_of(photo))

    @override
    def leave_out(self, contents: Collection[str]) -> int:
        photos = (photo for photo in self.manifest.photos if photo.split == "test")
        shown = {photo.path for photo in photos if not names_of(photo).isdisjoint(contents)}
        smaller = self.manifest.without(shown)
        left_out = len(self.manifest.photos) - len(smaller.photos)
        if left_out:
            validate_splits(smaller)
            self._list(smaller)
            self._usable.clear()
            self._rounds.clear()
        return left_out

    @override
    def write_manifest(self, path: Path) -> None:
        """Writes every file with its size and split, the skipped ones, and counts, as JSON."""
        path.write_text(json.dumps(self.manifest.as_dict(), indent=2) + "\n")

    @property
    @override
    def description(self) -> dict[str, Any]:
        return super().description | {
            "root": self.manifest.root,
            **vars(self.manifest.resize),
            "images": self.manifest.counts,
            "content": self.manifest.content,
        }

    @override
    def crop(self, split: Split, index: int, height: int, width: int) -> Crop:
        bits = hashed("crop", self.seed, split, index, height, width)
        mirror = self.flip and split == "train"
        for photo in self._photos(split, index, height, width):
            pixels = self._pixels(photo)
            if pixels is not None:
                return cut(pixels, bits, height, width, mirror=mirror)
        raise ValueError(
            f"none of the {split} images large enough for {height}x{width} px (height x width) can "
            f"be decoded: repair or remove {', '.join(sorted(self._broken)[:3])}."
        )

    def _photos(self, split: Split, index: int, height: int, width: int) -> Iterator[Photo]:
        """Image of crop `index`, and those in whose place it would be, were that one damaged.

        It is at place `index % n` of round `index // n` through all n images. The order of the last
        round is remembered, since indices mostly ascend.
        """
        size = (split, height, width)
        if size not in self._usable:
            self._usable[size] = self._large_enough(split, height, width)
        number, place = divmod(index, len(self._usable[size]))
        if self._rounds.get(size, (None,))[0] != number:
            order = sorted(
                self._usable[size],
                key=lambda photo: hashed("round", self.seed, split, number, photo.path),
            )
            self._rounds[size] = (number, order)
        order = self._rounds[size][1]
        yield from order[place:]
        yield from order[:place]

    def _large_enough(self, split: Split, height: int, width: int) -> list[Photo]:
        photos = [photo for photo in self.manifest.photos if photo.split == split]
        usable = [photo for photo in photos if photo.height >= height and photo.width >= width]
        if usable:
            return usable
        nearest = min(photos, key=lambda photo: max(height / photo.height, width / photo.width))
        # A side of n pixels may have been rounded up from n - 1/2.
        growth = max(height / (nearest.height - 0.5), width / (nearest.width - 0.5))
        resize = self.manifest.resize
        raise ValueError(
            f"a crop of {height}x{width} px (height x width) fits into none of the {len(photos)} "
            f"{split} images: the largest for that shape is {nearest.height}x{nearest.width} px "
            f"at {resize}; ask for a smaller canvas, or set {resize.larger(growth)}."
        )

    def _pixels(self, photo: Photo) -> Crop | None:
        """Returns an image; None if it cannot be decoded, which is said once."""
        pixels = self._cache.get(photo.path)
        if pixels is None and photo.path not in self._broken:
            try:
                pixels = self._decoded(photo)
            except ChangedError:
                raise
            except Exception as error:  # decoders raise anything at all on damaged files
                self._broken.add(photo.path)
                LOG.warning(f"{photo.path} cannot be decoded ({error}): others take its turns.")
                return None
            self._cache.put(photo.path, pixels)
        return pixels

    def _decoded(self, photo: Photo) -> Crop:
        image = decode_resized(
            self._read(photo),
            photo.height,
            photo.width,
            max_megapixels=self.max_megapixels,
            tell=lambda text: None,  # said when the folder was listed
        )
        return as_crop(image)

    def _read(self, photo: Photo) -> bytes:
        return (self.root / photo.path).read_bytes()


class Photos(PhotoCrops):
    """Any folder of images, with its subfolders.

    At the start every file is hashed and its size looked up; damaged and too small ones are skipped
    with a word. Whole images go to `train`, `val` or `test`, by their content and `seed`, so that
    copies stay together and an image stays where it is, whatever else comes and goes. Successive
    crops of a split visit every image that is large enough once, in random order, then again.

    Args:
        root: Folder of the images, searched with all its subfolders.
        scale: Factor on both sides of every image before crops are taken, above 0.
        holdout: Share of the images kept for `test`, on average, in (0, 1); at least one.
        val_share: Share of the images kept for `val`, on average, in (0, 1); at least one.
        flip: Whether a random half of the training crops is mirrored left to right.
        cache_mib: Memory for decoded images, in MiB, for each worker; at least 0.
        max_megapixels: Larger images are skipped: decoded they take 8 bytes a pixel, work included.
        patch_size: Side of a training patch, in pixels.
        batch_size: Patches a batch, on each device.
        patches_per_epoch: Training patches after which an epoch is said to be over.
        val_patches: Validation patches, the same ones every time.
        num_workers: Worker processes that make crops; 0 makes them in the training process.
        seed: Seeds the split and the choice of crops.
    """

    def __init__(
        self,
        root: str | Path,
        scale: float = 1.0,
        holdout: float = 0.2,
        val_share: float = 0.05,
        flip: bool = True,
        cache_mib: int = 512,
        max_megapixels: float = MAX_MEGAPIXELS,
        patch_size: int = 32,
        batch_size: int = 64,
        patches_per_epoch: int = 32_000,
        val_patches: int = 1024,
        num_workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(
            root,
            flip,
            cache_mib,
            max_megapixels,
            patch_size,
            batch_size,
            patches_per_epoch,
            val_patches,
            num_workers,
            seed,
        )
        if not 0 < scale < math.inf:
            raise ValueError(f"scale must be a finite number above 0, got {scale}.")
        check_shares(holdout, val_share)
        self.scale = scale
        self._list(
            scan(
                self.root,
                resize=ByFactor(scale),
                smallest=patch_size,
                holdout=holdout,
                val_share=val_share,
                seed=seed,
                max_megapixels=max_megapixels,
            )
        )
        self._warn_if_cache_is_small()

    def _warn_if_cache_is_small(self) -> None:
        """Warns if training would decode files over and over: reuse comes after a whole round."""
        photos = [photo for photo in self.manifest.photos if photo.split == "train"]
        needed = math.ceil(sum(3 * photo.height * photo.width for photo in photos) / 2**20)
        if needed > self.cache_mib:
            LOG.warning(
                f"the {len(photos)} training images take {needed} MiB at scale={self.scale:g}, but "
                f"cache_mib={self.cache_mib}: most crops will decode a file again, which is slow; "
                f"set cache_mib={needed} or lower scale."
            )


def resized(image: Image.Image, height: int, width: int) -> Image.Image:
    """An image at another size, by Lanczos; as it is if it has that size."""
    size = (width, height)
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def as_crop(image: Image.Image) -> Crop:
    """The pixels of an RGB image, channels first."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def cut(
    pixels: UInt8[Tensor, "3 rows columns"], bits: int, height: int, width: int, *, mirror: bool
) -> Crop:
    """A crop at a place that `bits` choose; with `mirror`, half of them left to right."""
    bits, mirrored = divmod(bits, 2)
    bits, top = divmod(bits, pixels.shape[1] - height + 1)
    bits, left = divmod(bits, pixels.shape[2] - width + 1)
    crop = pixels[:, top : top + height, left : left + width]
    return crop.flip(-1) if mirror and mirrored else crop.clone()


class _ImageCache:
    """Keeps the images used last, up to a number of bytes; a pickled copy starts empty."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.images: OrderedDict[str, torch.Tensor] = OrderedDict()

    def get(self, path: str) -> torch.Tensor | None:
        if path in self.images:
            self.images.move_to_end(path)
        return self.images.get(path)

    def put(self, path: str, pixels: torch.Tensor) -> None:
        if pixels.nbytes > self.limit:
            return
        self.images[path] = pixels
        self.size += pixels.nbytes
        while self.size > self.limit:
            _, oldest = self.images.popitem(last=False)
            self.size -= oldest.nbytes

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return (_ImageCache, (self.limit,))
