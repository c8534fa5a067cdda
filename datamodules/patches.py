"""The base of every data set: deterministic crops of any size, served as training patches."""

import abc
import copy
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from typing_extensions import override

Split = Literal["train", "val", "test"]
Crop = UInt8[Tensor, "3 height width"]


class PatchData(abc.ABC):
    """Crops that are a function of (seed, split, index) alone.

    Training patches, reference crops and long reference crops are the same call at different
    sizes, so there is nothing to cache and nothing that depends on the order of the calls, the
    number of workers or the number of devices. `test` crops come from images that `train` and
    `val` never show.

    Args:
        patch_size: Side of a training patch, in pixels.
        batch_size: Patches a batch, on each device.
        patches_per_epoch: Training patches after which an epoch is said to be over.
        val_patches: Validation patches, the same ones every time.
        num_workers: Worker processes that make crops; 0 makes them in the training process.
        seed: Seeds the choice of crops.
    """

    def __init__(
        self,
        patch_size: int = 32,
        batch_size: int = 64,
        patches_per_epoch: int = 32_000,
        val_patches: int = 1024,
        num_workers: int = 1,
        seed: int = 0,
    ) -> None:
        for name, value, least in (
            ("patch_size", patch_size, 1),
            ("batch_size", batch_size, 1),
            ("patches_per_epoch", patches_per_epoch, batch_size),
            ("val_patches", val_patches, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}.")
        self.patch_size = patch_size
        self.batch_size = batch_size
        self.patches_per_epoch = patches_per_epoch
        self.val_patches = val_patches
        self.num_workers = num_workers
        self.seed = seed
        self.served = (patch_size, patch_size)
        self.distinct: int | None = None
        self._resumed_batches = 0
        self.trainer: Any = None  # Lightning's, while it is served

    @abc.abstractmethod
    def crop(self, split: Split, index: int, height: int, width: int) -> Crop:
        """Returns crop `index` of a split: the same pixels at every call, on every machine."""

    def crops(
        self, split: Split, count: int, height: int, width: int, *, first: int = 0
    ) -> UInt8[Tensor, "count 3 height width"]:
        """Returns `count` crops of a split, from index `first` on, stacked."""
        indices = range(first, first + count)
        return torch.stack([self.crop(split, index, height, width) for index in indices])

    def serve(self, height: int, width: int, *, distinct: int | None = None) -> None:
        """Serves crops of height x width px in training and validation, in place of patches.

        Args:
            height: Pixels from top to bottom.
            width: Pixels from left to right.
            distinct: How many different crops training is served, again and again; None for no end.
        """
        self.served = (height, width)
        self.distinct = distinct

    @property
    def description(self) -> dict[str, Any]:
        """What a result must quote to say which data it was measured on."""
        return {"class": type(self).__name__, "seed": self.seed}

    @property
    def trained_on(self) -> frozenset[str]:
        """Contents of the images that training and validation show, 16 hexadecimal digits each.

        Empty for data that is made, whose splits never share an image.
        """
        return frozenset()

    def leave_out(self, contents: Collection[str]) -> int:
        """Takes images of these contents, as in `trained_on`, out of test; returns how many.

        Raises:
            ValueError: If none would be left.
        """
        return 0

    def write_manifest(self, path: Path) -> None:
        """Writes which images there are, as JSON; here there is no more to say than in general."""
        path.write_text(json.dumps(self.description, indent=2) + "\n")

    def train_dataloader(self) -> DataLoader:
        """Serves the endless stream from where training stands."""
        sampler = ResumableSampler(
            self.patches_per_epoch,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
            start=self._patches_done,
        )
        return self._loader("train", sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """Serves the crops of validation, the same ones every time."""
        return self._loader("val", self._share_of_rank(self.val_patches), drop_last=False)

    def test_dataloader(self) -> DataLoader:
        """Serves crops of images that training never shows."""
        return self._loader("test", self._share_of_rank(self.val_patches), drop_last=False)

    def predict_dataloader(self) -> DataLoader:
        """Serves sample numbers, not images: `predict` makes patches from noise."""
        numbers: Any = self._share_of_rank(self.val_patches)  # a range will do for a Dataset
        return DataLoader(numbers, batch_size=self.batch_size)

    def state_dict(self) -> dict[str, int]:
        """Where training stands, so that it resumes with the very next batch."""
        return {"batches": self._batches_done()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Takes up where training stood."""
        self._resumed_batches = state_dict.get("batches", 0)

    def _batches_done(self) -> int:
        """Batches that each device has trained on, over all the runs of a training.

        The trainer's epoch would not do: it is raised twice when a training that counts steps
        resumes from the end of an epoch. Nor would the trainer's own count alone: where
        `max_epochs` is set, workers fetch before the trainer has read it from the checkpoint.
        """
        if self.trainer is None:
            return self._resumed_batches
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return max(progress.processed, self._resumed_batches)

    def _patches_done(self) -> int:
        """Where in the stream an epoch begins; `overfit_batches` sees its beginning every time."""
        overfit = self.trainer is not None and self.trainer.overfit_batches
        return 0 if overfit else self._batches_done() * self.batch_size

    def _share_of_rank(self, count: int) -> range:
        rank = self.trainer.global_rank if self.trainer else 0
        return range(rank, count, self.trainer.world_size if self.trainer else 1)

    def _loader(self, split: Split, indices: Iterable[int], *, drop_last: bool) -> DataLoader:
        return DataLoader(
            CropDataset(self, split),
            batch_size=self.batch_size,
            sampler=indices,
            drop_last=drop_last,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )


class CropDataset(Dataset[Float[Tensor, "3 height width"]]):
    """What one split serves, in [-1, 1]: square patches, or whatever `PatchData.serve` says."""

    def __init__(self, data: PatchData, split: Split) -> None:
        self.data = data
        self.split = split

    def __len__(self) -> int:
        return self.data.patches_per_epoch if self.split == "train" else self.data.val_patches

    @override
    def __getitem__(self, index: int) -> Float[Tensor, "3 height width"]:
        if self.split == "train" and self.data.distinct is not None:
            index %= self.data.distinct
        return self.data.crop(self.split, index, *self.data.served).float() / 127.5 - 1

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Leaves the trainer behind, which a worker process neither needs nor could be sent."""
        data = copy.copy(self.data)
        data.trainer = None
        return {"data": data, "split": self.split}


class ResumableSampler(Sampler[int]):
    """Every patch of the endless stream once, in order, dealt out to the devices in turn.

    Each iteration serves the patches of one epoch, from where training stands by then: none
    repeats from epoch to epoch, and a run that resumes goes on with the next one.

    Args:
        length: Patches of an epoch, on all devices together.
        rank: Number of this device.
        world_size: Number of devices.
        start: Says how many patches each device has been through.
    """

    def __init__(
        self, length: int, *, rank: int, world_size: int, start: Callable[[], int]
    ) -> None:
        self.length = length // world_size
        self.rank = rank
        self.world_size = world_size
        self.start = start

    def __len__(self) -> int:
        return self.length

    @override
    def __iter__(self) -> Iterator[int]:
        start = self.start()
        return (place * self.world_size + self.rank for place in range(start, start + self.length))
