"""Patches must come in one endless stream, dealt out to devices, the same on every machine."""

import itertools
import pickle
from types import SimpleNamespace

import pytest
import torch

from datamodules.landscapes import Landscapes
from datamodules.patches import CropDataset, ResumableSampler
from tests.tiny_training import Numbered, configuration, numbers_of, recorded, recording, run
from tests.tiny_training import write_configuration as written


def trainer(rank: int, world_size: int, batches_done: int) -> SimpleNamespace:
    """What `PatchData` asks of a trainer."""
    progress = SimpleNamespace(total=SimpleNamespace(processed=batches_done))
    loops = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    return SimpleNamespace(
        global_rank=rank, world_size=world_size, fit_loop=loops, overfit_batches=0
    )


def served(data: Numbered) -> list[int]:
    return [number for batch in data.train_dataloader() for number in numbers_of(batch)]


@pytest.mark.parametrize("start", [0, 3, 100])
@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_ranks_share_an_epoch_without_overlap_or_gap(world_size, start):
    shares = [
        list(ResumableSampler(30, rank=rank, world_size=world_size, start=lambda: start))
        for rank in range(world_size)
    ]
    assert all(len(share) == 30 // world_size for share in shares)
    first = start * world_size
    assert sorted(itertools.chain(*shares)) == list(range(first, first + 30))


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("batches_done", [0, 1, 3, 4, 9])
def test_an_iteration_begins_where_training_stands(world_size, batches_done):
    data = Numbered(batch_size=4, patches_per_epoch=16, num_workers=0)
    shares = []
    for rank in range(world_size):
        data.trainer = trainer(rank, world_size, batches_done)
        shares += served(data)
    first = 4 * batches_done * world_size
    assert sorted(shares) == list(range(first, first + 16))


def test_a_checkpoint_counts_before_the_trainer_has_read_it():
    data = Numbered(batch_size=4, patches_per_epoch=16, num_workers=0)
    data.trainer = trainer(0, 1, 5)
    state = data.state_dict()
    resumed = Numbered(batch_size=4, patches_per_epoch=16, num_workers=1)
    resumed.trainer = trainer(0, 1, 0)
    resumed.load_state_dict(state)
    assert served(resumed)[0] == 20


@pytest.mark.parametrize("workers", [0, 1])
def test_no_patch_comes_twice_in_a_training(tmp_path, workers):
    config = configuration(tmp_path)
    config["data"]["class_path"] = "tests.tiny_training.Numbered"
    # Two patches an epoch fill no batch; they open the next epoch.
    config["data"]["init_args"] |= {"patches_per_epoch": 18, "num_workers": workers}
    run("fit", written(tmp_path, config), recording(tmp_path))
    assert recorded(tmp_path) == list(range(40))  # 10 steps of 4


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_patches_lie_between_minus_one_and_one(split):
    patches = CropDataset(Landscapes(patch_size=16), split)
    stacked = torch.stack([patches[index] for index in range(20)])
    assert stacked.shape == (20, 3, 16, 16)
    assert stacked.dtype == torch.float32
    assert stacked.min() >= -1
    assert stacked.max() <= 1


def test_black_is_minus_one_and_white_is_one():
    patches = CropDataset(Numbered(), "train")
    assert set(patches[0].unique().tolist()) == {-1.0}
    assert set(patches[2**24 - 1].unique().tolist()) == {1.0}


def test_the_length_of_a_split():
    data = Numbered(patches_per_epoch=100, batch_size=10, val_patches=7)
    assert len(CropDataset(data, "train")) == 100
    assert len(CropDataset(data, "val")) == len(CropDataset(data, "test")) == 7


@pytest.mark.parametrize("other", [{"num_workers": 1}, {"batch_size": 2}, {}])
def test_validation_shows_the_same_patches_every_time(other):
    data = Landscapes(patch_size=16, val_patches=5, **{"batch_size": 3, "num_workers": 0})
    first = torch.cat(list(data.val_dataloader()))
    again = Landscapes(patch_size=16, val_patches=5, **{"batch_size": 3, "num_workers": 0} | other)
    assert len(first) == 5
    assert torch.equal(first, torch.cat(list(again.val_dataloader())))
    assert not torch.equal(first, torch.cat(list(data.test_dataloader())))


@pytest.mark.parametrize("loader", ["val_dataloader", "test_dataloader", "predict_dataloader"])
def test_ranks_share_what_is_evaluated(loader):
    data = Numbered(batch_size=2, val_patches=7, num_workers=0)
    numbers = []
    for rank in range(3):
        data.trainer = trainer(rank, 3, 0)
        for batch in getattr(data, loader)():
            numbers += batch.tolist() if loader == "predict_dataloader" else numbers_of(batch)
    assert sorted(numbers) == list(range(7))


def test_a_worker_is_sent_everything_but_the_trainer():
    data = Numbered()
    data.trainer = trainer(0, 1, 0)
    copy = pickle.loads(pickle.dumps(CropDataset(data, "train")))
    assert copy.data.trainer is None
    assert data.trainer is not None
    assert torch.equal(copy[300], CropDataset(data, "train")[300])


@pytest.mark.parametrize(
    ("wrong", "least"),
    [
        ({"patch_size": 0}, 1),
        ({"batch_size": 0}, 1),
        ({"patches_per_epoch": 63}, 64),
        ({"val_patches": 0}, 1),
        ({"num_workers": -1}, 0),
        ({"seed": -1}, 0),
    ],
)
def test_bad_arguments_are_refused(wrong, least):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must be at least {least}, got {value}"):
        Landscapes(**wrong)
