"""Random crops of Landscapes HQ, all of it or what the invariance filter keeps."""

import hashlib
from pathlib import Path
from typing import Any

from typing_extensions import override

from datamodules.folder import list_images
from datamodules.image_file import MAX_MEGAPIXELS
from datamodules.invariance.scores import Scored, Scores, read_scores
from datamodules.manifest import (
    Manifest,
    Photo,
    Skipped,
    by_bytes,
    content_hash,
    scan,
    validate_splits,
)
from datamodules.photos import ChangedError, PhotoCrops
from datamodules.resize import ToShorterSide
from datamodules.split import check_shares, split_by_content

__all__ = ["Lhq"]


class Lhq(PhotoCrops):
    """Landscapes HQ: 90,000 photographs of nature (Skorokhodov et al. 2021, arXiv:2104.06954).

    `root` is a folder of the images as the authors publish them: LHQ256, LHQ1024, or LHQ, the
    photographs at full size. All are brought to `side` px on the shorter side by Lanczos, as the
    authors made LHQ256, and never enlarged. LHQ256 and LHQ1024 are squares cut from the middle of
    the photographs; only LHQ has the long ones that long reference crops need.

    With `kept`, only images that the filter keeps are used, and what the manifest says of the files
    is relied on: a start looks up how long they are, and each file is checked against its hash when
    it is read. Without it every file is hashed at the first start, as fast as the disk gives them.
    Which image is held out depends neither on `side` nor on `kept`.

    Args:
        root: Folder of the images, searched with all its subfolders.
        side: Shorter side of every image, in pixels; smaller images are skipped.
        kept: Manifest of `python -m datamodules.invariance`, made from this folder.
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
        side: int = 256,
        kept: str | Path | None = None,
        holdout: float = 0.2,
        val_share: float = 0.01,
        flip: bool = True,
        cache_mib: int = 512,
        max_megapixels: float = MAX_MEGAPIXELS,
        patch_size: int = 256,
        batch_size: int = 32,
        patches_per_epoch: int = 32_000,
        val_patches: int = 1024,
        num_workers: int = 4,
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
        if side < patch_size:
            raise ValueError(f"side must be at least patch_size={patch_size}, got {side}.")
        check_shares(holdout, val_share)
        self.side = side
        scores = None if kept is None else read_scores(Path(kept).expanduser())
        self._kept_hash = None if scores is None else scores.hash
        if scores is None:
            resize = ToShorterSide(side)
            self._list(
                scan(
                    self.root,
                    resize=resize,
                    smallest=side,
                    holdout=holdout,
                    val_share=val_share,
                    seed=seed,
                    max_megapixels=max_megapixels,
                    named_by=by_bytes,
                )
            )
        else:
            self._list(self._from_scores(scores, holdout, val_share))

    @property
    @override
    def description(self) -> dict[str, Any]:
        return super().description | {"kept": self._kept_hash}

    def _from_scores(self, scores: Scores, holdout: float, val_share: float) -> Manifest:
        """What `scan` would find, if only the images that the filter keeps were there."""
        self._validate_files(scores)
        splits = split_by_content(
            (image.sha256 for image in scores.images),
            holdout=holdout,
            val_share=val_share,
            seed=self.seed,
        )
        resize = ToShorterSide(self.side)
        photos: list[Photo] = []
        skipped = [Skipped(path, "unreadable", why, "") for path, why in scores.skipped.items()]
        for image in scores.images:
            height, width = resize.size(image.height, image.width)
            if not scores.keeps(image):
                reason = f"score {image.score:.3f}, not below {scores.threshold:g}"
                skipped.append(Skipped(image.path, "filtered out", reason, image.sha256))
            elif min(height, width) < self.side:
                reason = f"{height}x{width} px (height x width), less than {resize}"
                skipped.append(Skipped(image.path, "too small", reason, image.sha256))
            else:
                split = splits[image.sha256]
                photos.append(Photo(image.path, height, width, split, image.sha256, image.sha256))
        manifest = Manifest(
            root=self.root.resolve().name,
            resize=resize,
            seed=self.seed,
            content=content_hash((photo.path, photo.sha256) for photo in photos),
            photos=tuple(photos),
            skipped=tuple(skipped),
            unused=self._unused,
        )
        validate_splits(manifest)
        return manifest

    def _validate_files(self, scores: Scores) -> None:
        """Refuses a manifest that speaks of other files than those in the folder."""
        listing = list_images(self.root)
        self._unused = listing.unused
        present = set(listing.images)
        known = {image.path for image in scores.images} | set(scores.skipped)
        if present != known:
            raise ValueError(
                f"kept must be made from the folder it is used with, but of {len(present)} images "
                f"below {self.root}, {len(present - known)} are not in it, and "
                f"{len(known - present)} that it lists are missing; run the filter on this folder."
            )
        changed = [image.path for image in scores.kept if self._size_of(image) != image.bytes]
        if changed:
            raise ValueError(
                f"kept must be made from the folder it is used with, but {len(changed)} files have "
                f"another size by now, {changed[0]} the first; run the filter on this folder."
            )

    def _size_of(self, image: Scored) -> int:
        return (self.root / image.path).stat().st_size

    @override
    def _read(self, photo: Photo) -> bytes:
        data = super()._read(photo)
        if hashlib.sha256(data).hexdigest() != photo.sha256:
            raise ChangedError(
                f"{photo.path} changed after it was listed; start again, and where kept= is given, "
                "run the filter anew."
            )
        return data
