import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.invariance.__main__ import Settings, filtered
from datamodules.invariance.crossfit import CrossFit
from datamodules.invariance.scores import Scores, read_scores
from datamodules.lhq import Lhq

COUNT = 24
HEIGHT, WIDTH = 36, 90


def colour(number: int) -> tuple[int, int, int]:
    return (10 * number, 255 - 10 * number, 100)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "LHQ"
    folder.mkdir()
    for number in range(COUNT):
        Image.new("RGB", (WIDTH, HEIGHT), colour(number)).save(folder / f"{number:04}.png")
    return folder


def lhq(root: Path, **kwargs) -> Lhq:
    small = {"side": 24, "patch_size": 8, "batch_size": 4, "num_workers": 0, "val_share": 0.2}
    return Lhq(root, **{**small, **kwargs})


def numbers(data: Lhq, split: str, count: int = 48) -> list[int]:
    return [round(int(data.crop(split, n, 8, 8)[0, 0, 0]) / 10) for n in range(count)]


def filter_of(root: Path, out: Path) -> Scores:
    """Scores the folder and then has every second image kept."""
    fit = CrossFit(epochs=1, folds=4)
    scores = filtered(Settings(root=root, out=out, size=8, fit=fit, accelerator="cpu"))
    images = tuple(
        dataclasses.replace(image, p_left=0.5 if int(image.path[:4]) % 2 else 0.01)
        for image in scores.images
    )
    dataclasses.replace(scores, images=images).write(out)
    return read_scores(out)


def test_the_shorter_side_is_brought_to_size_by_lanczos(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    for number, image in enumerate((pixels, pixels.transpose(1, 0, 2), pixels ^ 1)):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    data = lhq(tmp_path, side=20, flip=False)
    sizes = {photo.path: (photo.height, photo.width) for photo in data.manifest.photos}
    assert sizes == {"0.png": (20, 35), "1.png": (35, 20), "2.png": (20, 35)}
    for split in ("train", "val", "test"):
        (photo,) = (photo for photo in data.manifest.photos if photo.split == split)
        with Image.open(tmp_path / photo.path) as image:
            small = image.resize((photo.width, photo.height), Image.Resampling.LANCZOS)
        crop = data.crop(split, 0, photo.height, photo.width)
        np.testing.assert_array_equal(crop.permute(1, 2, 0).numpy(), np.asarray(small))


def test_small_images_are_skipped_and_never_enlarged(root):
    Image.new("RGB", (200, 23)).save(root / "narrow.png")
    data = lhq(root)
    assert [(e.path, e.kind) for e in data.manifest.skipped] == [("narrow.png", "too small")]
    assert data.manifest.counts["skipped"] == 1
    assert all(photo.height == 24 for photo in data.manifest.photos)


def test_full_photographs_give_long_crops_and_too_long_ones_are_refused(root):
    assert lhq(root).crop("test", 0, 24, 60).shape == (3, 24, 60)
    with pytest.raises(ValueError, match=r"16x72 px .* at side=24; .* or set side=\d+\.$") as error:
        lhq(root).crop("test", 0, 16, 72)
    enough = int(str(error.value).split("side=")[-1].rstrip("."))
    assert enough == 30  # 28.8 by proportion, and at most a pixel more than that needs
    assert lhq(root, side=enough).crop("test", 0, 16, 72).shape == (3, 16, 72)


def test_only_what_the_filter_keeps_is_shown_in_the_same_splits(root, tmp_path):
    scores = filter_of(root, tmp_path / "kept.json")
    every, kept = lhq(root), lhq(root, kept=tmp_path / "kept.json")
    odd = set(range(1, COUNT, 2))
    for split in ("train", "val", "test"):
        assert set(numbers(kept, split)) == set(numbers(every, split)) & odd
    assert kept.manifest.counts["skipped"] == COUNT // 2
    reasons = {entry.kind: entry.reason for entry in kept.manifest.skipped}
    assert reasons == {"filtered out": "score 0.990, not below 0.95"}
    assert kept.description["kept"] == scores.hash
    assert every.description["kept"] is None
    assert kept.description["content"] != every.description["content"]
    # What the manifest knows of the files is what a scan finds.
    scanned = {photo.path: photo for photo in every.manifest.photos}
    assert all(scanned[photo.path] == photo for photo in kept.manifest.photos)


def test_with_a_manifest_no_file_is_decoded_at_the_start(root, tmp_path, monkeypatch):
    filter_of(root, tmp_path / "kept.json")
    opened = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or read(path))
    data = lhq(root, kept=tmp_path / "kept.json")
    assert opened == []
    data.crop("test", 0, 8, 8)
    assert len(opened) == 1


def test_crops_do_not_depend_on_threshold_or_order(root, tmp_path):
    filter_of(root, tmp_path / "kept.json")
    first, second = (lhq(root, kept=tmp_path / "kept.json", cache_mib=n) for n in (0, 8))
    forward = [first.crop("train", index, 8, 16) for index in range(20)]
    backward = [second.crop("train", index, 8, 16) for index in reversed(range(20))]
    assert torch.equal(torch.stack(forward), torch.stack(backward[::-1]))


def test_the_manifest_of_another_folder_is_refused(root, tmp_path):
    out = tmp_path / "kept.json"
    filter_of(root, out)
    (root / "0001.png").rename(root / "9999.png")
    with pytest.raises(ValueError, match=r"of 24 images .* 1 are not in it, and 1 that it lists"):
        lhq(root, kept=out)


def test_a_file_that_changed_since_the_filter_is_refused(root, tmp_path):
    out = tmp_path / "kept.json"
    filter_of(root, out)
    file = root / "0001.png"
    altered = bytearray(file.read_bytes())
    file.write_bytes(altered + b"\0")
    with pytest.raises(ValueError, match=r"1 files have another size by now, 0001\.png the first"):
        lhq(root, kept=out)
    altered[-5] ^= 1  # the same size, other bytes
    file.write_bytes(altered)
    data = lhq(root, kept=out)
    (photo,) = (photo for photo in data.manifest.photos if photo.path == file.name)
    with pytest.raises(ValueError, match=r"0001\.png changed after it was listed; .* the filter"):
        numbers(data, photo.split)


def test_a_filter_that_leaves_a_split_empty_is_refused(root, tmp_path):
    scores = filter_of(root, tmp_path / "kept.json")
    images = tuple(dataclasses.replace(image, p_right=0.99) for image in scores.images)
    dataclasses.replace(scores, images=images).write(tmp_path / "none.json")
    with pytest.raises(ValueError, match="none is left for train and val and test"):
        lhq(root, kept=tmp_path / "none.json")


def test_unreadable_images_stay_in_the_manifest(root, tmp_path):
    (root / "torn.png").write_bytes((root / "0000.png").read_bytes()[:60])
    filter_of(root, tmp_path / "kept.json")
    data = lhq(root, kept=tmp_path / "kept.json")
    data.write_manifest(tmp_path / "manifest.json")
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert [e["path"] for e in written["skipped"] if e["kind"] == "unreadable"] == ["torn.png"]
    assert written["side"] == 24
    every = lhq(root)
    assert numbers(every, "test", 1)[0] in range(COUNT)
    held = {photo.path for photo in every.manifest.photos if photo.split == "test"}
    assert {p.path for p in data.manifest.photos if p.split == "test"} <= held


def test_settings_out_of_range_are_refused(root):
    with pytest.raises(ValueError, match="side must be at least patch_size=32, got 24"):
        lhq(root, patch_size=32)
    with pytest.raises(ValueError, match="holdout and val_share must be above 0"):
        lhq(root, val_share=0.0)
