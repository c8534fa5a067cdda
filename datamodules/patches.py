"""The base of every data set: deterministic crops of any size, served as training patches."""

import abc
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import lightning as L
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from typing_extensions import override

Split = Literal["train", "val", "test"]
Crop = UInt8[Tensor, "3 height width"]


class PatchData(L.LightningDataModule, abc.ABC):
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
        super().__init__()
        for name, value, least in (
            ("patch_size", patch_size, 1),
            ("batch_size", batch_size, 1),
            ("patches_per_epoch", patches_per_epoch, batch_size),
            ("val_patches", val_patches, 1),
            ("num_workers", num_workers, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}.")
        self.patch_size = patch_size
        self.batch_size = batch_size
        self.patches_per_epoch = patches_per_epoch
        self.val_patches = val_patches
        self.num_workers = num_workers
        self.seed = seed
        self._resume_epoch = 0
        self._resume_batch = 0

    @abc.abstractmethod
    def crop(self, split: Split, index: int, height: int, width: int) -> Crop:
        """Returns crop `index` of a split: the same pixels at every call, on every machine."""

    def crops(
        self, split: Split, count: int, height: int, width: int
    ) -> UInt8[Tensor, "count 3 height width"]:
        """Returns the first `count` crops of a split, stacked."""
        return torch.stack([self.crop(split, index, height, width) for index in range(count)])

    @property
    def description(self) -> dict[str, Any]:
        """What a result must quote to say which data it was measured on."""
        return {"class": type(self).__name__, "seed": self.seed}

    @override
    def train_dataloader(self) -> DataLoader:
        sampler = ResumableSampler(
            self.patches_per_epoch,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
            resume_epoch=self._resume_epoch,
            resume_at=self._resume_batch * self.batch_size,
        )
        return self._loader("train", sampler, drop_last=True)

    @override
    def val_dataloader(self) -> DataLoader:
        return self._loader("val", self._share_of_rank(self.val_patches), drop_last=False)

    @override
    def test_dataloader(self) -> DataLoader:
        return self._loader("test", self._share_of_rank(self.val_patches), drop_last=False)

    @override
    def predict_dataloader(self) -> DataLoader:
        """Serves sample numbers, not images: `predict` makes patches from noise."""
        return DataLoader(self._share_of_rank(self.val_patches), batch_size=self.batch_size)

    @override
    def state_dict(self) -> dict[str, int]:
        """Where training stands, so that it resumes with the very next batch."""
        if self.trainer is None:
            return {}
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return {"epoch": self.trainer.current_epoch, "batch": progress.processed}

    @override
    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._resume_epoch = state_dict.get("epoch", 0)
        self._resume_batch = state_dict.get("batch", 0)

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


class CropDataset(Dataset[Float[Tensor, "3 size size"]]):
    """The square training patches of one split, in [-1, 1]."""

    def __init__(self, data: PatchData, split: Split) -> None:
        self.data = data
        self.split = split

    def __len__(self) -> int:
        return self.data.patches_per_epoch if self.split == "train" else self.data.val_patches

    @override
    def __getitem__(self, index: int) -> Float[Tensor, "3 size size"]:
        size = self.data.patch_size
        return self.data.crop(self.split, index, size, size).float() / 127.5 - 1


class ResumableSampler(Sampler[int]):
    """Every patch of the endless stream once, in order, dealt out to the devices in turn.

    Epoch e holds the indices from e * length on, so no patch repeats from epoch to epoch. The
    epoch that a checkpoint interrupted goes on at the patch that it had reached.
    """

    def __init__(
        self, length: int, *, rank: int, world_size: int, resume_epoch: int, resume_at: int
    ) -> None:
        self.length = length // world_size
        self.rank = rank
        self.world_size = world_size
        self.resume_epoch = resume_epoch
        self.resume_at = resume_at
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Tells which epoch the next iteration serves; the trainer calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    @override
    def __iter__(self) -> Iterator[int]:
        start = self.resume_at if self.epoch == self.resume_epoch else 0
        first = self.epoch * self.length * self.world_size + self.rank
        return (first + place * self.world_size for place in range(start, self.length))
