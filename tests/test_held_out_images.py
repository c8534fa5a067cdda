"""Which images are kept from training, what is known of files, and what a denoiser remembers."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from PIL.Image import Exif

from benchmarks.experiment.held_out import hold_out
from datamodules import file_facts
from datamodules.encoded import looks_whole, pixel_content
from datamodules.folder import list_images
from datamodules.lhq import Lhq
from datamodules.photos import Photos
from datamodules.split import hashed, split_by_content
from denoisers.checkpoint import describe_checkpoint, images_trained_on
from lightning_modules.export import export
from tests.test_training_checkpoints import configured, last
from tests.tiny_training import checkpoint, run

COUNT = 40


def photograph(number: int, size: tuple[int, int] = (40, 24)) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "album"
    root.mkdir()
    for number in range(COUNT):
        photograph(number).save(root / f"{number:02}.png")
    return root


def photos(root: Path, **settings) -> Photos:
    small = {"patch_size": 16, "batch_size": 4, "num_workers": 0, "holdout": 0.25}
    return Photos(root, **small | settings)


def splits(data: Photos) -> dict[str, str]:
    return {photo.sha256: photo.split for photo in data.manifest.photos}


# The split.


@pytest.mark.parametrize("seed", [0, 3])
def test_an_image_stays_in_its_split_when_others_come_and_go(folder, seed):
    before = splits(photos(folder, seed=seed))
    for number in (3, 17, 30):
        (folder / f"{number:02}.png").unlink()
    for number in range(COUNT, COUNT + 7):
        photograph(number).save(folder / f"new {number}.png")
    (folder / "05.png").rename(folder / "renamed.png")
    after = splits(photos(folder, seed=seed))
    kept = before.keys() & after.keys()
    assert len(kept) == COUNT - 3
    assert {name: before[name] for name in kept} == {name: after[name] for name in kept}


def test_shares_are_met_on_average():
    found = split_by_content(map(str, range(10_000)), holdout=0.2, val_share=0.05, seed=1)
    # Binomial: five standard deviations of 40 and 22.
    assert list(found.values()).count("test") == pytest.approx(2000, abs=200)
    assert list(found.values()).count("val") == pytest.approx(500, abs=110)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("count", [3, 4, 9])
def test_few_images_fill_every_split(count, seed):
    found = split_by_content(map(str, range(count)), holdout=0.2, val_share=0.05, seed=seed)
    assert set(found.values()) == {"train", "val", "test"}


def tagged_jpeg(path: Path) -> None:
    """Saves the same JPEG with other metadata: what a program that rates pictures does."""
    exif = Exif()
    exif[0x010E], exif[0x0112] = "a description", 6
    data = path.read_bytes()
    more = b"".join(
        marker + (len(content) + 2).to_bytes(2) + content
        for marker, content in ((b"\xff\xe1", exif.tobytes()), (b"\xff\xfe", b"a comment"))
    )
    path.with_name(f"tagged {path.name}").write_bytes(data[:2] + more + data[2:])


def tagged_png(path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "another")
    with Image.open(path) as image:
        image.save(path.with_name(f"tagged {path.name}"), pnginfo=info)


def test_copies_of_one_photograph_stay_together_and_are_counted(folder):
    for number in range(12):
        path = folder / f"{number:02}.png"
        shutil.copy(path, folder / f"{path.stem} (1).png")
        tagged_png(path)
        photograph(100 + number, (64, 48)).save(folder / f"{number}.jpg", quality=90)
        tagged_jpeg(folder / f"{number}.jpg")
    data = photos(folder)
    where: dict[str, set[str]] = {}
    for photo in data.manifest.photos:
        where.setdefault(photo.content, set()).add(photo.split)
    assert all(len(found) == 1 for found in where.values())
    assert len(where) == COUNT + 12
    assert data.manifest.counts["copies"] == 24 + 12
    assert data.description["images"]["copies"] == 36


def test_another_palette_is_another_content(tmp_path):
    image = photograph(0).quantize(16)
    for name in ("one", "other"):
        image.save(tmp_path / f"{name}.png")
        image.putpalette(bytes(range(48)))
    one, other = (pixel_content((tmp_path / f"{n}.png").read_bytes()) for n in ("one", "other"))
    assert one != other


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "bmp", "gif", "tif"])
def test_other_pixels_have_another_content(tmp_path, form):
    contents = set()
    for number in range(2):
        photograph(number).save(tmp_path / f"{number}.{form}")
        contents.add(pixel_content((tmp_path / f"{number}.{form}").read_bytes()))
    assert len(contents) == 2


def test_shares_that_leave_nothing_still_leave_one():
    found = split_by_content(map(str, range(3)), holdout=0.98, val_share=0.01, seed=0)
    ranked = sorted(found, key=lambda content: hashed("split", 0, content))
    # The nearest number: the highest to train on, which is above all shares.
    assert [found[content] for content in ranked] == ["test", "val", "train"]


# Files.


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "gif"])
def test_what_was_cut_off_is_told_without_decoding(tmp_path, form):
    photograph(0, (200, 150)).save(tmp_path / f"a.{form}")
    data = (tmp_path / f"a.{form}").read_bytes()
    assert looks_whole(data)
    assert not any(looks_whole(data[: len(data) * part // 10]) for part in range(1, 10))
    # Of a PNG that ends without its checksum all pixels are there.
    assert looks_whole(data[:-4]) == (form == "png")


def test_the_end_of_a_thumbnail_is_not_that_of_the_image(tmp_path):
    photograph(1, (32, 24)).save(tmp_path / "thumbnail.jpg")
    photograph(0, (200, 150)).save(tmp_path / "a.jpg")
    block = b"Exif\0\0" + (tmp_path / "thumbnail.jpg").read_bytes()
    data = (tmp_path / "a.jpg").read_bytes()
    data = data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2) + block + data[2:]
    assert looks_whole(data)
    assert not looks_whole(data[: len(data) // 2])


def test_a_start_decodes_nothing_that_is_whole(folder, monkeypatch):
    decoded = []
    load = PngImagePlugin.PngImageFile.load
    monkeypatch.setattr(
        PngImagePlugin.PngImageFile, "load", lambda image: decoded.append(1) or load(image)
    )
    data = photos(folder)
    assert decoded == []
    data.crop("train", 0, 16, 16)
    assert decoded != []


def settle(folder: Path) -> None:
    """Makes files so old that they will not change again within the same tick of the clock."""
    old = time.time() - 60
    for path in folder.iterdir():
        os.utime(path, (old, old))


def test_what_is_known_of_files_is_kept_until_they_change(folder, monkeypatch):
    settle(folder)
    first = photos(folder).manifest
    read, examined = [], file_facts._examined
    monkeypatch.setattr(
        file_facts, "_examined", lambda path, *rest: read.append(path.name) or examined(path, *rest)
    )
    assert photos(folder).manifest == first
    assert read == []
    photograph(99).save(folder / "07.png")
    photos(folder)
    assert read == ["07.png"]
    # It changed too short a time ago to be sure that it will not change again, unseen.
    photos(folder)
    assert read == ["07.png", "07.png"]


@pytest.mark.parametrize("damage", ["text", "{}", '{"files": 3}', ""])
def test_a_damaged_cache_is_made_anew(folder, tmp_path, monkeypatch, damage):
    settle(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = photos(folder).manifest
    (kept,) = (tmp_path / "cache").rglob("*.json")
    kept.write_text(damage)
    assert photos(folder).manifest == first


def test_without_a_place_for_the_cache_nothing_is_kept(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(photos(folder).manifest.photos) == COUNT


def test_what_shows_only_when_decoded_gives_its_turns_to_others(folder, caplog):
    data = photos(folder)
    whole = [data.crop("train", index, 16, 16) for index in range(60)]
    victim = next(photo.path for photo in data.manifest.photos if photo.split == "train")
    content = bytearray((folder / victim).read_bytes())
    start = content.index(b"IDAT") + 4
    content[start : start + 4] = b"\xff" * 4  # header and end are still there
    (folder / victim).write_bytes(content)
    first, second = photos(folder), photos(folder)
    crops = [first.crop("train", index, 16, 16) for index in range(60)]
    backward = [second.crop("train", index, 16, 16) for index in reversed(range(60))]
    assert torch.equal(torch.stack(crops), torch.stack(backward[::-1]))
    assert sum(victim in record.getMessage() for record in caplog.records) == 2  # once each
    # The file's content is another now, so that it may have changed its split; no other has.
    others = sum(torch.equal(one, other) for one, other in zip(whole, crops, strict=True))
    assert others > 0


def test_links_are_followed_once_and_every_file_is_accounted_for(folder, tmp_path, caplog):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    photograph(200).save(elsewhere / "far.png")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "linked again").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)  # a circle
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    for name in ("phone.HEIC", "other.heic", "raw.cr2", "notes.txt", ".hidden.png", "README"):
        (folder / name).write_bytes(b"?")
    listing = list_images(folder)
    assert len(listing.images) == COUNT + 1
    assert [name for name in listing.images if "far" in name] == ["linked/far.png"]
    unused = {".heic": 2, ".cr2": 1, ".txt": 1, "hidden": 1, "no ending": 1, "link to nothing": 1}
    assert listing.unused == unused
    data = photos(folder)
    (told,) = (record.getMessage() for record in caplog.records)
    assert "2 .heic" in told
    assert "1 .cr2" in told
    assert ".txt" not in told
    data.write_manifest(tmp_path / "manifest.json")
    assert json.loads((tmp_path / "manifest.json").read_text())["unused"] == unused


def test_a_folder_of_other_formats_alone_says_which(tmp_path):
    (tmp_path / "phone.heic").write_bytes(b"?")
    with pytest.raises(FileNotFoundError, match=r"none of the 1 files .*1 \.heic"):
        list_images(tmp_path)


def test_images_of_more_pixels_than_are_decoded_are_skipped_with_the_setting(folder, caplog):
    photograph(300, (400, 300)).save(folder / "large.png")
    data = photos(folder, max_megapixels=0.1)
    assert [entry.path for entry in data.manifest.skipped] == ["large.png"]
    assert "max_megapixels" in caplog.records[0].getMessage()
    assert not photos(folder, max_megapixels=0.12).manifest.skipped


# What a denoiser remembers.


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """A folder of photographs, and a denoiser that was trained on it."""
    root = tmp_path_factory.mktemp("trained")
    (root / "album").mkdir()
    for number in range(COUNT):
        photograph(number).save(root / "album" / f"{number:02}.png")
    flags = ["--data=datamodules.photos.Photos", f"--data.init_args.root={root / 'album'}"]
    run("fit", configured(root), [*flags, "--data.init_args.holdout=0.25"])
    export(last(root), root / "denoiser.safetensors")
    return root / "album", root / "denoiser.safetensors"


def held(album: Path, denoiser: Path, **settings) -> Photos:
    data = photos(album, **settings)
    hold_out(data, describe_checkpoint(denoiser), images_trained_on(denoiser))
    return data


def names(data: Photos, *wanted: str) -> set[str]:
    photos = [photo for photo in data.manifest.photos if photo.split in wanted]
    return {name[:16] for photo in photos for name in (photo.content, photo.sha256)}


def test_a_checkpoint_remembers_what_it_was_shown(trained):
    album, denoiser = trained
    shown = images_trained_on(denoiser)
    assert shown == names(photos(album), "train", "val")
    assert held(album, denoiser).manifest.counts["trained_on"] == 0
    assert "trained_on" not in describe_checkpoint(denoiser)


@pytest.mark.parametrize("settings", [{}, {"seed": 3}, {"holdout": 0.6}, {"seed": 5}])
def test_no_reference_image_was_trained_on_whatever_became_of_the_folder(
    trained, tmp_path, capsys, settings
):
    album, denoiser = trained
    changed = tmp_path / "album"
    shutil.copytree(album, changed)
    for number in (2, 11):
        (changed / f"{number:02}.png").unlink()
    data = held(changed, denoiser, **settings)
    assert not names(data, "test") & images_trained_on(denoiser)
    left_out = data.manifest.counts["trained_on"]
    assert data.description["images"]["trained_on"] == left_out
    assert (left_out > 0) == bool(settings)
    assert (f"{left_out} reference images" in capsys.readouterr().err) == bool(settings)
    for index in range(2 * COUNT):
        data.crop("test", index, 16, 16)  # those that are left serve all crops


def test_another_data_set_of_the_same_files_knows_them(trained, tmp_path):
    album, denoiser = trained
    changed = tmp_path / "album"
    shutil.copytree(album, changed)
    (changed / "02.png").unlink()
    data = Lhq(changed, side=24, patch_size=16, batch_size=4, num_workers=0, holdout=0.25)
    hold_out(data, describe_checkpoint(denoiser), images_trained_on(denoiser))
    assert data.manifest.counts["trained_on"] > 0
    assert not names(data, "test") & images_trained_on(denoiser)


def test_the_very_images_split_otherwise_are_refused(trained):
    album, denoiser = trained
    with pytest.raises(ValueError, match="seed=0"):
        held(album, denoiser, seed=3)


def test_a_denoiser_of_the_split_by_names_is_refused_on_its_own_images(trained):
    album, denoiser = trained
    described = describe_checkpoint(denoiser)
    for count in ("copies", "trained_on"):
        del described["provenance"]["data"]["images"][count]
    with pytest.raises(ValueError, match="split by their names"):
        hold_out(photos(album), described, frozenset())


def test_a_reference_of_nothing_but_training_images_is_refused(trained, tmp_path):
    album, denoiser = trained
    shown = images_trained_on(denoiser)
    (tmp_path / "album").mkdir()
    for photo in photos(album).manifest.photos:
        if photo.content[:16] in shown:
            shutil.copy(album / photo.path, tmp_path / "album")
    with pytest.raises(ValueError, match=r"every reference image was trained on by denoiser"):
        held(tmp_path / "album", denoiser)


def test_training_further_adds_to_what_is_remembered(trained, tmp_path):
    album, denoiser = trained
    other = tmp_path / "other"
    other.mkdir()
    for number in range(500, 512):
        photograph(number).save(other / f"{number}.png")
    flags = [
        "--data=datamodules.photos.Photos",
        f"--data.init_args.root={other}",
        f"--model.initial_weights={denoiser}",
    ]
    run("fit", configured(tmp_path), flags)
    shown = set(checkpoint(last(tmp_path))["trained_on"])
    assert shown == images_trained_on(denoiser) | names(photos(other, holdout=0.2), "train", "val")
    # Going on with other images is allowed, and remembered.
    more = ["--data=datamodules.photos.Photos", f"--data.init_args.root={album}"]
    run("fit", configured(tmp_path), [*more, "--ckpt_path=last", "--trainer.max_steps=7"])
    assert set(checkpoint(last(tmp_path))["trained_on"]) >= shown


def test_the_test_of_a_checkpoint_leaves_out_what_it_was_shown(trained, capsys, caplog):
    album, denoiser = trained
    flags = [
        "--data=datamodules.photos.Photos",
        f"--data.init_args.root={album}",
        "--data.init_args.seed=3",
        "--model.likelihood.paths=[]",
        f"--trainer.default_root_dir={album.parent}",
    ]
    for own in ["--ckpt_path=last", f"--model.initial_weights={denoiser}"]:
        caplog.clear()
        cli = run("test", album.parent / "tiny.yaml", [*flags, own])
        assert not names(cli.datamodule, "test") & images_trained_on(denoiser)
        assert any("left out" in record.getMessage() for record in caplog.records)
