import dataclasses
import io
import json
import pickle
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.invariance.__main__ import Settings, filtered
from datamodules.invariance.crossfit import CrossFit
from datamodules.invariance.scores import read_scores
from datamodules.lsun_tower import LsunTower, TowerDatabase

lmdb = pytest.importorskip("lmdb")

COUNT = 24
HEIGHT, WIDTH = 64, 48


def key(number: int) -> str:
    return f"{number * 7919:040x}"


def colour(number: int) -> tuple[int, int, int]:
    return (10 * number, 255 - 10 * number, 100)


def encoded(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour(number)).save(file, "webp", lossless=True)
    return file.getvalue()


def put(root: Path, images: dict[str, bytes], part: str = "train") -> Path:
    path = root / f"tower_{part}_lmdb"
    path.mkdir(parents=True)
    with (
        lmdb.open(str(path), map_size=2**24) as environment,
        environment.begin(write=True) as writing,
    ):
        for name, image in images.items():
            writing.put(name.encode(), image)
    return root


def towers(root: Path, **kwargs) -> LsunTower:
    small = {"side": 24, "patch_size": 8, "batch_size": 4, "num_workers": 0, "holdout": 0.25}
    return LsunTower(root, **{**small, **kwargs})


def numbers(data: LsunTower, split: str, count: int, size: int = 8) -> list[int]:
    return [round(int(data.crop(split, n, size, size)[0, 0, 0]) / 10) for n in range(count)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return put(tmp_path / "lsun", {key(number): encoded(number) for number in range(COUNT)})


def test_images_are_those_of_the_database_at_the_size_asked_for(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    images = {key(number): file.getvalue() for number in range(5)}
    data = towers(put(tmp_path, images), side=20, flip=False)
    crop = data.crop("test", 0, 30, 20)
    small = Image.fromarray(pixels).resize((20, 30), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(crop.permute(1, 2, 0).numpy(), np.asarray(small))
    part = data.crop("test", 3, 8, 8).permute(1, 2, 0).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(small), (8, 8, 3))
    assert (windows == part).all(axis=(-3, -2, -1)).any()


def test_splits_share_no_image_and_rounds_show_every_one(root):
    data = towers(root)
    seen = {split: numbers(data, split, 36) for split in ("train", "val", "test")}
    assert {split: len(set(found)) for split, found in seen.items()} == data.description["images"]
    assert data.description["images"] == {"train": 15, "val": 1, "test": 8}
    assert set().union(*seen.values()) == set(range(COUNT))
    held = data.description["images"]["test"]
    rounds = [seen["test"][n * held : (n + 1) * held] for n in range(36 // held)]
    assert all(Counter(each) == dict.fromkeys(seen["test"], 1) for each in rounds)
    assert rounds[0] != rounds[1]


def test_a_crop_depends_on_its_arguments_alone(root):
    first, second = towers(root), towers(root)
    forward = [first.crop("train", index, 8, 8) for index in range(40)]
    backward = [second.crop("train", index, 8, 8) for index in reversed(range(40))]
    assert torch.equal(torch.stack(forward), torch.stack(backward[::-1]))
    assert not torch.equal(towers(root, seed=1).crops("train", 40, 8, 8), torch.stack(forward))


def test_images_too_small_for_a_crop_are_passed_over(tmp_path):
    sizes = [(24, 48), (30, 60), (48, 24), (20, 60)]  # width, height; the last is below side=24
    images = {key(number): encoded(number, sizes[number % 4]) for number in range(COUNT)}
    data = towers(put(tmp_path, images), holdout=0.7)
    test = {int(data.database.keys[place], 16) // 7919 for place in data._places["test"]}
    wide = {round(int(crop[0, 0, 0]) / 10) for crop in data.crops("test", 120, 24, 40)}
    assert wide == {number for number in test if number % 4 == 2}
    square = numbers(data, "test", 120)
    assert set(square) == {number for number in test if number % 4 != 3}
    # Those whose turn it is come in turn; the others are drawn evenly from what is large enough.
    assert max(Counter(square).values()) < 3 * min(Counter(square).values())


def test_a_crop_that_no_image_can_hold_is_refused(root, monkeypatch):
    data = towers(root)
    with pytest.raises(ValueError, match=r"30x40 px .* larger than side=24 along both.*side=30"):
        data.crop("test", 0, 30, 40)
    monkeypatch.setattr("datamodules.lsun_tower.ATTEMPTS", 20)
    with pytest.raises(ValueError, match=r"24x144 px .* fits into none of 20 test images"):
        data.crop("test", 0, 24, 144)


def test_the_content_is_that_of_the_images_and_not_of_the_file(tmp_path):
    images = {key(number): encoded(number) for number in range(6)}
    reverse = dict(reversed(images.items()))
    smaller = {name: image for name, image in images.items() if name != key(3)}
    renamed = {name.replace(key(3), "f" * 40): image for name, image in images.items()}
    longer = images | {key(3): images[key(3)] + b"\0"}
    exchanged = images | {key(3): images[key(4)], key(4): images[key(3)]}
    altered = images | {key(3): images[key(3)][:-1] + bytes([images[key(3)][-1] ^ 1])}
    variants = [images, reverse, smaller, renamed, longer, exchanged, altered]
    content = [
        TowerDatabase(put(tmp_path / str(number), variant), "train").content
        for number, variant in enumerate(variants)
    ]
    assert content[0] == content[1]
    assert len(set(content[1:])) == 6


def test_torchvision_leaves_no_list_of_keys_that_another_database_would_take(tmp_path, monkeypatch):
    # Paths that differ in digits alone have the same name in torchvision's cache of keys.
    monkeypatch.chdir(tmp_path)
    first = put(tmp_path / "data1", {key(number): encoded(number) for number in range(6)})
    second = put(tmp_path / "data2", {key(number): encoded(number) for number in range(6, 18)})
    assert len(TowerDatabase(first, "train").keys) == 6
    assert TowerDatabase(second, "train").keys == sorted(key(number) for number in range(6, 18))
    assert {path.name for path in tmp_path.iterdir()} == {"data1", "data2"}


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_show_the_same_patches(root, context):
    data = towers(root, val_patches=8)
    data.crop("val", 0, 8, 8)  # the database is open before the workers start
    alone = torch.cat(list(data.val_dataloader()))
    data.num_workers = 2
    loader = data.val_dataloader()
    loader.multiprocessing_context = context
    assert torch.equal(torch.cat(list(loader)), alone)


def test_a_pickled_copy_makes_the_same_crops(root):
    data = towers(root)
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy.crops("test", 4, 8, 8), data.crops("test", 4, 8, 8))


def test_only_training_crops_are_mirrored(tmp_path):
    ramp = np.broadcast_to(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], (24, 24, 3))
    file = io.BytesIO()
    Image.fromarray(ramp).save(file, "png")
    images = {key(number): file.getvalue() for number in range(5)}

    def mirrored(split, **kwargs):
        data = towers(root, **kwargs)
        return sum(int(c[0, 0, 0] > c[0, 0, -1]) for c in data.crops(split, 200, 8, 8))

    root = put(tmp_path, images)
    assert abs(mirrored("train") - 100) < 36  # five standard deviations of 7.1
    assert mirrored("test") == 0
    assert mirrored("train", flip=False) == 0


def test_the_filter_reads_towers_and_its_manifest_restricts_them(root, tmp_path):
    out = tmp_path / "kept.json"
    settings = Settings(
        root=root,
        out=out,
        source="lsun_tower",
        size=8,
        fit=CrossFit(epochs=1, folds=4),
        accelerator="cpu",
    )
    scores = filtered(settings)
    assert [image.path for image in scores.images] == [key(number) for number in range(COUNT)]
    assert (scores.images[0].height, scores.images[0].width) == (HEIGHT, WIDTH)
    assert scores.content == towers(root).description["content"]
    # One colour all over is its own mirror image: even odds exactly, and a threshold may part it.
    assert {image.score for image in scores.images} == {0.5}
    kept = towers(root, kept=out)
    assert kept.description["images"] == towers(root).description["images"]
    halves = set(range(0, COUNT, 2))
    images = tuple(
        dataclasses.replace(image, p_right=0.5 if number in halves else 0.99)
        for number, image in enumerate(scores.images)
    )
    dataclasses.replace(scores, images=images).write(out)
    every, fewer = towers(root, val_share=0.2), towers(root, val_share=0.2, kept=out)
    for split in ("train", "val", "test"):
        shown = set(numbers(fewer, split, 48))
        assert shown == set(numbers(every, split, 48)) & halves
    assert fewer.description["kept"] == read_scores(out).hash != kept.description["kept"]
    other = put(tmp_path / "other", {key(number): encoded(number) for number in range(20)})
    with pytest.raises(ValueError, match="kept must be made from the database it is used with"):
        towers(other, kept=out)


def test_the_manifest_says_which_database(root, tmp_path):
    data = towers(root)
    data.write_manifest(tmp_path / "manifest.json")
    assert json.loads((tmp_path / "manifest.json").read_text()) == data.description
    assert data.description["database"] == "tower_train_lmdb"
    assert str(tmp_path) not in json.dumps(data.description)


def test_a_missing_database_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tower_val_lmdb/data\.mdb does not exist; unpack"):
        towers(tmp_path, part="val")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    root = put(tmp_path / "lsun", {key(number): encoded(number) for number in range(6)})
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(ImportError, match="need the package lmdb, which is not installed; pip"):
        towers(root)


def test_settings_out_of_range_are_refused(root):
    with pytest.raises(ValueError, match="side must be at least patch_size=32, got 24"):
        towers(root, patch_size=32)
    with pytest.raises(ValueError, match="holdout and val_share must be above 0"):
        towers(root, holdout=1.0)
