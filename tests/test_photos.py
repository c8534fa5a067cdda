import json
import pickle
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.image_file import decode
from datamodules.photos import Photos

COUNT = 20
SIZE = (40, 24)  # width, height


def identity(number: int) -> tuple[int, int, int]:
    """A colour that names the image."""
    return (10 * number, 255 - 10 * number, 100)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "holiday"
    for number in range(COUNT):
        path = root / f"day {number % 3}" / f"{number:02}.{('png', 'PNG')[number % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, identity(number)).save(path)
    return root


def photos(root: Path, **kwargs) -> Photos:
    return Photos(**{"root": root, "patch_size": 8, "batch_size": 4, "num_workers": 0, **kwargs})


def numbers(data: Photos, split: str, count: int) -> list[int]:
    return [int(data.crop(split, index, 8, 8)[0, 0, 0]) // 10 for index in range(count)]


def save_noise(path: Path, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(list(path.name.encode()))
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def save_truncated(path: Path) -> None:
    save_noise(path, SIZE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def messages(caplog, root: Path, **kwargs) -> list[str]:
    caplog.clear()
    photos(root, **kwargs)
    return [record.getMessage() for record in caplog.records]


def splits_of(data: Photos) -> dict[str, str]:
    return {photo.path: photo.split for photo in data.manifest.photos}


def test_subfolders_and_upper_case_extensions_are_found(folder):
    (folder / "notes.txt").write_text("no image")
    (folder / "._00.png").write_text("hidden")
    data = photos(folder)
    assert len(data.manifest.photos) == COUNT
    counts = {"train": 18, "val": 1, "test": 1, "copies": 0, "skipped": 0, "trained_on": 0}
    assert data.manifest.counts == counts
    assert data.manifest.unused == {".txt": 1, "hidden": 1}


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 40), (24, 16)])
def test_crops_have_the_size_asked_for(folder, height, width):
    crop = photos(folder).crop("test", 3, height, width)
    assert crop.shape == (3, height, width)
    assert crop.dtype == torch.uint8


def test_a_crop_depends_on_its_arguments_alone(tmp_path):
    for number in range(5):
        save_noise(tmp_path / f"{number}.png", SIZE)
    first, second = photos(tmp_path), photos(tmp_path, cache_mib=1)
    forward = [first.crop("train", index, 8, 8) for index in range(20)]
    second.crop("train", 7, 8, 16)
    backward = [second.crop("train", index, 8, 8) for index in reversed(range(20))]
    assert torch.equal(torch.stack(forward), torch.stack(backward[::-1]))
    other = photos(tmp_path, seed=1).crops("train", 20, 8, 8)
    assert not torch.equal(torch.stack(forward), other)


def test_splits_share_no_file(folder):
    data = photos(folder, holdout=0.3, val_share=0.2)
    seen = {split: set(numbers(data, split, 40)) for split in ("train", "val", "test")}
    assert [len(seen[split]) for split in ("train", "val", "test")] == [10, 7, 3]
    assert set.union(*seen.values()) == set(range(COUNT))


def test_the_split_does_not_change_with_scale_patch_or_place(folder, tmp_path):
    moved = tmp_path / "elsewhere" / "holiday"
    shutil.copytree(folder, moved)
    split = splits_of(photos(folder))
    for other in (photos(moved), photos(folder, scale=0.5), photos(folder, patch_size=16)):
        assert splits_of(other) == split
    assert splits_of(photos(folder, seed=1)) != split


def test_every_image_is_shown_once_a_round(folder):
    data = photos(folder)
    count = data.manifest.counts["train"]
    shown = numbers(data, "train", 3 * count)
    rounds = [shown[:count], shown[count : 2 * count], shown[2 * count :]]
    assert all(len(set(one)) == count for one in rounds)
    assert rounds[0] != rounds[1]


def test_only_training_crops_are_mirrored_and_half_of_them(tmp_path):
    ramp = np.broadcast_to(np.arange(0, 240, 6, dtype=np.uint8)[None, :, None], (24, 40, 3))
    for number in range(4):
        Image.fromarray(ramp + np.uint8(number)).save(tmp_path / f"{number}.png")

    def mirrored(data: Photos, split: str) -> int:
        return sum(int(crop[0, 0, 0] > crop[0, 0, -1]) for crop in data.crops(split, 400, 8, 8))

    data = photos(tmp_path)
    assert abs(mirrored(data, "train") - 200) < 50  # five standard deviations of 10
    assert mirrored(data, "test") == mirrored(data, "val") == 0
    assert mirrored(photos(tmp_path, flip=False), "train") == 0


def test_positions_reach_every_corner(tmp_path):
    rows, columns = np.meshgrid(np.arange(10), np.arange(12), indexing="ij")
    pixels = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)
    for number in range(3):  # told apart by the third channel
        Image.fromarray(pixels + np.uint8([0, 0, number])).save(tmp_path / f"{number}.png")
    corners = {tuple(crop[:2, 0, 0].tolist()) for crop in photos(tmp_path).crops("test", 400, 8, 8)}
    assert corners == {(top, left) for top in range(3) for left in range(5)}


def test_long_crops_come_from_images_that_are_wide_enough(folder):
    for shade in range(245, 256):
        Image.new("RGB", (80, 24), (shade, 255, 255)).save(folder / f"wide {shade}.png")
    crops = photos(folder).crops("test", 6, 8, 64)
    assert (crops >= 245).all()


def test_a_crop_that_fits_nowhere_is_refused_with_the_remedy(folder):
    data = photos(folder, scale=0.5)
    with pytest.raises(ValueError, match=r"largest .* is 12x20 px .*, or set scale=2\.052\."):
        data.crop("test", 0, 8, 80)
    assert photos(folder, scale=2.052).crop("test", 0, 8, 80).shape == (3, 8, 80)


def test_damaged_and_small_files_are_skipped_and_counted_in_one_line(folder, caplog):
    save_truncated(folder / "broken.jpg")
    (folder / "empty.png").touch()
    save_noise(folder / "icon.png", (30, 14))
    (told,) = messages(caplog, folder, scale=0.5)
    assert told.startswith("skipped 3 of 23 images (2 unreadable, 1 too small): broken.jpg: ")
    assert "truncated" in told
    assert "empty.png: not in an image format" in told
    assert "icon.png: 7x15 px (height x width) at scale=0.5" in told


def test_many_damaged_files_are_one_line_of_a_few_names(folder, caplog):
    for number in range(500):
        (folder / f"broken {number:03}.jpg").write_bytes(b"\xff\xd8\xff no more")
    (told,) = messages(caplog, folder)
    assert told.startswith("skipped 500 of 520 images (500 unreadable): broken 000.jpg: ")
    assert len(told) < 400


def test_a_damaged_file_does_not_change_the_split(folder):
    split = splits_of(photos(folder))
    save_truncated(folder / "broken.jpg")
    assert splits_of(photos(folder)) == split


def test_skipped_files_are_counted_in_the_manifest(folder, tmp_path):
    save_truncated(folder / "broken.jpg")
    data = photos(folder)
    data.write_manifest(tmp_path / "manifest.json")
    text = (tmp_path / "manifest.json").read_text()
    written = json.loads(text)
    assert written["counts"]["skipped"] == 1
    assert written["skipped"][0]["path"] == "broken.jpg"
    counted = Counter(photo["split"] for photo in written["photos"])
    assert counted == {split: written["counts"][split] for split in ("train", "val", "test")}
    assert str(tmp_path) not in text


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"root must be a folder .* does not exist"):
        photos(tmp_path / "nowhere")


def test_a_file_for_a_folder_is_refused(folder):
    with pytest.raises(ValueError, match="is a file; name its folder"):
        photos(folder / "day 0" / "00.png")


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(FileNotFoundError, match="none of the 1 files below"):
        photos(tmp_path)


def test_too_few_images_for_three_splits_are_refused(tmp_path):
    for number in range(2):
        save_noise(tmp_path / f"{number}.png", SIZE)
    with pytest.raises(ValueError, match=r"only 2 different readable images"):
        photos(tmp_path)


def test_a_split_emptied_by_skipping_is_refused(tmp_path):
    for number in range(3):
        save_noise(tmp_path / f"{number}.png", (4, 4))
    with pytest.raises(ValueError, match=r"train and val and test: of 3 found, 3 were skipped"):
        photos(tmp_path)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"scale": 0.0}, "scale must be"),
        ({"scale": float("nan")}, "scale must be"),
        ({"holdout": 0.0}, "holdout and val_share must be"),
        ({"holdout": 0.7, "val_share": 0.3}, "holdout and val_share must be"),
        ({"cache_mib": -1}, "cache_mib must be"),
    ],
)
def test_arguments_out_of_range_are_refused(folder, argument, message):
    with pytest.raises(ValueError, match=message):
        photos(folder, **argument)


def pixel_of(image: Image.Image, path: Path, **options) -> tuple[int, ...]:
    image.save(path, **options)
    return decode(path.read_bytes()).getpixel((0, 0))


def test_every_kind_of_image_becomes_rgb(tmp_path):
    grey16 = Image.fromarray(np.full((8, 8), 257 * 200, dtype=np.uint16))
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    half = Image.new("LA", (8, 8), (0, 51))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert pixel_of(Image.new("L", (8, 8), 90), tmp_path / "l.png") == (90, 90, 90)
    assert pixel_of(Image.new("1", (8, 8), 1), tmp_path / "1.png") == (255, 255, 255)
    assert pixel_of(grey16, tmp_path / "grey16.png") == (200, 200, 200)
    assert pixel_of(grey16, tmp_path / "grey16.tif") == (200, 200, 200)
    assert pixel_of(clear, tmp_path / "clear.png") == (255, 255, 255)
    assert pixel_of(half, tmp_path / "half.png") == (204, 204, 204)
    assert pixel_of(palette, tmp_path / "p.png") == (10, 20, 30)
    assert pixel_of(palette, tmp_path / "hole.png", transparency=1) == (255, 255, 255)
    assert pixel_of(Image.new("CMYK", (8, 8)), tmp_path / "cmyk.tif") == (255, 255, 255)


def test_cameras_held_upright_give_upright_images(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # Exif orientation: turn by 90 degrees clockwise to see it upright
    for number in range(3):
        Image.new("RGB", (40, 24), identity(number)).save(tmp_path / f"{number}.jpg", exif=exif)
    data = photos(tmp_path)
    assert {(photo.height, photo.width) for photo in data.manifest.photos} == {(40, 24)}
    assert data.crop("train", 0, 40, 24).shape == (3, 40, 24)


def test_scaling_averages_rather_than_skips_pixels(tmp_path):
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    for number in range(3):
        image = Image.fromarray(checks.astype(np.uint8))
        image.putpixel((0, 0), number)
        image.save(tmp_path / f"{number}.png")
    crop = photos(tmp_path, scale=0.25).crop("test", 0, 8, 8)
    assert (crop.float() - 127.5).abs().max() < 2


def test_the_description_is_that_of_the_content_not_of_the_place(folder, tmp_path):
    here = photos(folder).description
    moved = tmp_path / "elsewhere" / "holiday"
    shutil.move(folder, moved)
    assert photos(moved).description == here
    assert str(tmp_path) not in json.dumps(here)
    assert here["images"]["test"] == 1
    Image.new("RGB", SIZE, "black").save(moved / "day 0" / "00.png")
    assert photos(moved).description["content"] != here["content"]


def test_the_cache_stays_within_its_bytes(tmp_path, caplog):
    for number in range(6):
        save_noise(tmp_path / f"{number}.png", (512, 512))  # 0.75 MiB each
    (told,) = messages(caplog, tmp_path, cache_mib=2)
    assert re.search(r"4 training images take 3 MiB .* set cache_mib=3", told)
    data = photos(tmp_path, cache_mib=2)
    reference = photos(tmp_path).crops("train", 12, 8, 8)
    assert torch.equal(data.crops("train", 12, 8, 8), reference)
    assert len(data._cache.images) == 2
    assert data._cache.size == 2 * 3 * 512**2


def test_a_pickled_copy_starts_empty_and_makes_the_same_crops(folder):
    data = photos(folder)
    crops = data.crops("train", 20, 8, 8)
    copy = pickle.loads(pickle.dumps(data))
    assert not copy._cache.images
    assert torch.equal(copy.crops("train", 20, 8, 8), crops)


def test_crops_do_not_share_memory_with_the_cache(folder):
    data = photos(folder)
    before = data.crop("test", 0, 24, 40).clone()
    data.crop("test", 0, 24, 40).zero_()
    assert torch.equal(data.crop("test", 0, 24, 40), before)
