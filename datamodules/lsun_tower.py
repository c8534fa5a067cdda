"""Random crops of LSUN's towers, read from the published database through torchvision."""

import contextlib
import functools
import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from PIL import Image
from torchvision.datasets import LSUN
from typing_extensions import override

from datamodules.image_file import decode
from datamodules.invariance.scores import Scores, read_scores
from datamodules.patches import Crop, PatchData, Split
from datamodules.photos import as_crop, cut, resized
from datamodules.resize import ToShorterSide
from datamodules.split import check_shares, hashed, split_by_content

__all__ = ["LsunTower"]

Part = Literal["train", "val"]
PROBED = 256  # images whose bytes, not only their lengths, go into the hash of the content
ATTEMPTS = 1000


class LsunTower(PatchData):
    """The towers of LSUN (Yu et al. 2015, arXiv:1506.03365).

    `root` holds the unpacked folder `tower_train_lmdb`, as the authors publish it. The package
    lmdb is needed besides what the project installs. Nothing is scanned: a start reads the keys of
    the database and the lengths of its images, seconds for 700,000 of them, and no image.

    Whole images go to `train`, `val` or `test`, by their key and `seed`. Square crops of up to
    `side` px visit every image of a split once, in random order, then again. For wider or higher
    crops, images that are too small are passed over for others drawn at random, so that the sizes
    of all images need not be known; long crops are rare here, since towers are portraits.

    The hash of the content is over all keys and lengths, in order, and over the bytes of 256 images
    spread over the database: adding, removing, exchanging or encoding images anew changes it, and
    it does not need gigabytes to be read at every start. It cannot see damage that keeps an
    image's length; the decoder does, when it meets that image.

    Args:
        root: Folder that holds `tower_train_lmdb`.
        part: Database to read: `train`, or the 300 images of `val` to try things with. Both are
            split again.
        side: Shorter side of every image, in pixels, by Lanczos; smaller images are passed over.
        kept: Manifest of `python -m datamodules.invariance`; only images it keeps are used.
        holdout: Share of the images kept for `test`, in (0, 1).
        val_share: Share of the images kept for `val`, in (0, 1).
        flip: Whether a random half of the training crops is mirrored left to right.
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
        part: Part = "train",
        side: int = 256,
        kept: str | Path | None = None,
        holdout: float = 0.1,
        val_share: float = 0.01,
        flip: bool = True,
        patch_size: int = 256,
        batch_size: int = 32,
        patches_per_epoch: int = 32_000,
        val_patches: int = 1024,
        num_workers: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(patch_size, batch_size, patches_per_epoch, val_patches, num_workers, seed)
        if side < patch_size:
            raise ValueError(f"side must be at least patch_size={patch_size}, got {side}.")
        check_shares(holdout, val_share)
        self.root = Path(root).expanduser()
        self.part = part
        self.side = side
        self.flip = flip
        self.database = TowerDatabase(self.root, part)
        scores = None if kept is None else read_scores(Path(kept).expanduser())
        self._kept_hash = None if scores is None else scores.hash
        self._places = self._split(holdout, val_share, scores)
        self._rounds: dict[Split, tuple[int, list[int]]] = {}

    @property
    @override
    def description(self) -> dict[str, Any]:
        return super().description | {
            "database": self.database.path.name,
            "side": self.side,
            "images": {split: len(places) for split, places in self._places.items()},
            "content": self.database.content,
            "kept": self._kept_hash,
        }

    @override
    def write_manifest(self, path: Path) -> None:
        """Writes the description; the split of an image follows from its key and the seed."""
        path.write_text(json.dumps(self.description, indent=2) + "\n")

    @override
    def crop(self, split: Split, index: int, height: int, width: int) -> Crop:
        if min(height, width) > self.side:
            raise ValueError(
                f"a crop of {height}x{width} px (height x width) is larger than side={self.side} "
                f"along both; ask for a smaller canvas, or set side={min(height, width)}."
            )
        for place in self._candidates(split, index, height, width):
            image = self.database.image(place)
            size = ToShorterSide(self.side).size(image.height, image.width)
            if min(size) == self.side and size[0] >= height and size[1] >= width:
                bits = hashed("crop", self.seed, split, index, height, width)
                mirror = self.flip and split == "train"
                return cut(as_crop(resized(image, *size)), bits, height, width, mirror=mirror)
        raise ValueError(
            f"a crop of {height}x{width} px (height x width) fits into none of {ATTEMPTS} {split} "
            f"images at side={self.side}; ask for a smaller canvas, or one as high as wide."
        )

    def _candidates(self, split: Split, index: int, height: int, width: int) -> Iterator[int]:
        """The image whose turn it is, then others."""
        places = self._places[split]
        number, turn = divmod(index, len(places))
        yield self._round(split, number)[turn]
        for attempt in range(1, ATTEMPTS):
            drawn = hashed("instead", self.seed, split, index, height, width, attempt)
            yield places[drawn % len(places)]

    def _round(self, split: Split, number: int) -> list[int]:
        """The order of round `number`; that of the last is remembered, since indices ascend."""
        if self._rounds.get(split, (None,))[0] != number:
            keys = self.database.keys
            order = sorted(
                self._places[split],
                key=lambda place: hashed("round", self.seed, split, number, keys[place]),
            )
            self._rounds[split] = (number, order)
        return self._rounds[split][1]

    def _split(
        self, holdout: float, val_share: float, scores: Scores | None
    ) -> dict[Split, list[int]]:
        """Places of the images of each split; which image is held out does not depend on `kept`."""
        keys = self.database.keys
        splits = split_by_content(keys, holdout=holdout, val_share=val_share, seed=self.seed)
        used = set(keys) if scores is None else self._kept_keys(scores)
        places: dict[Split, list[int]] = {split: [] for split in get_args(Split)}
        for place, key in enumerate(keys):
            if key in used:
                places[splits[key]].append(place)
        empty = [split for split, found in places.items() if not found]
        if empty:
            raise ValueError(
                f"train, val and test need at least one image each, but none is left for "
                f"{' and '.join(empty)}; raise the threshold of the filter, holdout or val_share."
            )
        return places

    def _kept_keys(self, scores: Scores) -> set[str]:
        if scores.content != self.database.content:
            raise ValueError(
                f"kept must be made from the database it is used with, but its content is "
                f"{scores.content[:12]} and that of {self.database.path} is "
                f"{self.database.content[:12]}; run the filter on this database."
            )
        return {image.path for image in scores.kept}


class TowerDatabase:
    """One of the two published databases of towers, opened once in each process.

    Args:
        root: Folder that holds `tower_train_lmdb` or `tower_val_lmdb`.
        part: Which of them.
    """

    def __init__(self, root: Path, part: Part) -> None:
        self.root = root.expanduser().resolve()
        self.part = part
        self.path = self.root / f"tower_{part}_lmdb"
        if not (self.path / "data.mdb").is_file():
            raise FileNotFoundError(
                f"root must hold the LSUN database {self.path.name}, but {self.path}/data.mdb does "
                f"not exist; unpack tower_{part}_lmdb.zip there."
            )

    @property
    def keys(self) -> list[str]:
        """The keys of all images, in the order of the database."""
        return _keys(self.root, self.part)

    @property
    def content(self) -> str:
        """A hash over all keys and lengths and the bytes of some images; see `LsunTower`."""
        return _content(self.root, self.part)

    def image(self, place: int) -> Image.Image:
        """Decodes an image, as upright 8-bit sRGB."""
        return decode(self.stored(place))

    def stored(self, place: int) -> bytes:
        """The encoded image as it lies in the database."""
        (database,) = _opened(self.root, self.part).dbs
        with database.env.begin() as transaction:
            return transaction.get(database.keys[place])


# A database may be open only once in a process. One that only reads, without locks, may be used
# on by forked workers.
@functools.cache
def _opened(root: Path, part: Part) -> LSUN:
    """Opens a database through torchvision.

    Raises:
        ImportError: If the package lmdb is missing.
    """
    try:
        # torchvision keeps a list of keys in the working folder, named by the letters of the path:
        # another database's, if their paths differ in digits. In a fresh folder it cannot.
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            return LSUN(str(root), classes=[f"tower_{part}"])
    except ImportError as error:
        raise ImportError(
            "LSUN's databases need the package lmdb, which is not installed; pip install lmdb."
        ) from error


@functools.cache
def _keys(root: Path, part: Part) -> list[str]:
    (database,) = _opened(root, part).dbs
    return [key.decode() for key in database.keys]


@functools.cache
def _content(root: Path, part: Part) -> str:
    (database,) = _opened(root, part).dbs
    probed = set(range(0, len(database.keys), max(1, len(database.keys) // PROBED)))
    digest = hashlib.sha256()
    # With buffers the length is known without the image being read.
    with database.env.begin(buffers=True) as transaction:
        for place, (key, image) in enumerate(transaction.cursor()):
            digest.update(b"%s\0%d\n" % (bytes(key), len(image)))
            if place in probed:
                digest.update(hashlib.sha256(image).digest())
    return digest.hexdigest()
