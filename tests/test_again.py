"""Pictures say what they were made from, and are made again from it, bit for bit."""

import dataclasses
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from benchmarks.run import main as run
from denoisers.checkpoint import save_denoiser
from patchcanvas.again.command import main
from patchcanvas.again.settings import read_settings
from patchcanvas.outpainting.command import main as outpaint
from patchcanvas.pictures import read_picture, write_picture
from patchcanvas.provenance import CHUNK, Provenance
from tests.doubles import save_tiny
from tests.test_context_run import denoiser as told_denoiser

SIDE = 16
ORIGIN = Provenance(
    program="benchmarks.run",
    command=["strategy=naive", "context.prompt=Zürich, ein See"],
    row="naive",
    sample=3,
    together=[0, 7],
    seed=5,
    strategy={"window": None, "solver": {"num_steps": 2}},
    settings={"own": {}},
    conditioning={"mode": "none"},
    denoiser={"weights_sha256": "f00d"},
    inputs={},
    environment={"device": "an abacus", "commit": None},
)


@pytest.fixture(scope="module")
def folder(tiny_checkpoint, tmp_path_factory) -> Path:
    """Canvases of a comparison: five samples, made three and two at a time."""
    root = tmp_path_factory.mktemp("run")
    words = ["strategy=multidiffusion,async_patch", "num_samples=5", "batch_size=3", "pictures=5"]
    words += [
        f"denoiser={tiny_checkpoint}",
        f"results={root}",
        "canvas.width=40",
        "solver.num_steps=2",
    ]
    words += ["num_reference=8", "repeats=1", "loggers=[]", "device=cpu", "seed=2"]
    assert run([*words, "async_patch.overlap=4", "solver=euler"]) == 0
    (results,) = root.glob("*/results.json")
    return results.parent / "canvases"


@pytest.fixture
def image(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (18, 22, 3), dtype=np.uint8)
    path = tmp_path / "image.png"
    Picture.fromarray(pixels).save(path)
    return path


@pytest.fixture
def painted(image, tiny_checkpoint, tmp_path) -> Path:
    """The second of two pictures that continue an image of which a part is masked."""
    grey = np.zeros((18, 22), dtype=np.uint8)
    grey[4:9, 4:9] = 255
    mask = tmp_path / "mask.png"
    Picture.fromarray(grey).save(mask)
    words = [str(image), "--to", "40x32", "at=0,0", f"mask={mask}", "--seed", "4", "device=cpu"]
    words += [f"denoiser={tiny_checkpoint}", "num_samples=2", "solver.num_steps=2", "scale=0.9"]
    words += ["strategy=replacement", "replacement.overlap=4"]
    assert outpaint([*words, f"output={tmp_path / 'out.png'}"]) == 0
    return tmp_path / "out-001.png"


def chunks_of(path: Path) -> dict[bytes, bytes]:
    """The chunks of a PNG by their kinds; PNG specification, Sec. 5.3."""
    content, found, place = path.read_bytes(), {}, 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        found[content[place + 4 : place + 8]] = content[place + 8 : place + 8 + length]
        place += 12 + length
    return found


def with_origin(path: Path, to: Path, **changes) -> Path:
    """A copy of a picture that says something else of itself."""
    origin = dataclasses.replace(Provenance.read(path), **changes)
    write_picture(read_picture(path), to, origin=origin)
    return to


# The record


def test_the_record_is_text_of_the_png_and_the_pixels_are_what_they_were(tmp_path):
    canvas = torch.randint(0, 256, (3, 8, 12), dtype=torch.uint8)
    plain, told = tmp_path / "plain.png", tmp_path / "told.png"
    write_picture(canvas, plain)
    write_picture(canvas, told, origin=ORIGIN)
    assert torch.equal(read_picture(told), canvas)
    chunks = chunks_of(told)
    assert chunks[b"IDAT"] == chunks_of(plain)[b"IDAT"]
    keyword, _, text = chunks[b"tEXt"].partition(b"\0")
    assert keyword == CHUNK.encode() == b"patchcanvas"
    assert json.loads(text) == {"format": 2} | dataclasses.asdict(ORIGIN)
    assert b"tEXt" not in chunks_of(plain)


def test_the_record_comes_back_and_equal_pictures_are_equal_files(tmp_path):
    canvas = torch.zeros(3, 4, 4, dtype=torch.uint8)
    for name in "ab":
        write_picture(canvas, tmp_path / f"{name}.png", origin=ORIGIN)
    assert Provenance.read(tmp_path / "a.png") == ORIGIN
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_record_says_all_that_was_asked_for(folder, painted, image):
    canvas = Provenance.read(folder / "async_patch-004.png")
    assert (canvas.program, canvas.row, canvas.sample) == ("benchmarks.run", "async_patch", 4)
    assert canvas.together == [3, 4]
    assert "solver=euler" in canvas.command
    assert canvas.strategy["overlap"] == 4
    assert canvas.strategy["solver"]["class"] == "sampling.solvers.Euler"
    assert len(canvas.denoiser["weights_sha256"]) == 64
    assert torch.__version__.startswith(canvas.environment["versions"]["torch"])
    picture = Provenance.read(painted)
    assert (picture.program, picture.row, picture.sample) == (
        "patchcanvas outpaint",
        "replacement",
        1,
    )
    assert picture.command[0] == str(image)
    assert (picture.seed, picture.settings["to"]) == (4, "40x32")
    assert set(picture.inputs) == {"image", "mask"}
    assert "created" not in picture.plainly()


def test_real_images_say_nothing_of_themselves(folder, capsys):
    assert b"tEXt" not in chunks_of(folder / "real-000.png")
    assert main([str(folder / "real-000.png")]) == 2
    assert "must carry a record of how it was made" in capsys.readouterr().err


# Made again


@pytest.mark.parametrize("name", ["async_patch-004", "multidiffusion-001", "patches-002"])
def test_canvases_are_made_again_bit_for_bit(name, folder, tmp_path, capsys):
    file = tmp_path / "again.png"
    assert main([str(folder / f"{name}.png"), f"output={file}"]) == 0
    said = capsys.readouterr().err
    assert "the same, bit for bit" in said
    first = name.endswith("4") * 3
    assert f"was made with samples {first} to {first + 1 + (first == 0)}" in said
    assert file.read_bytes() == (folder / f"{name}.png").read_bytes()


def test_calls_of_one_size_let_a_sample_be_made_alone(tiny_checkpoint, tmp_path, capsys):
    words = ["strategy=multidiffusion,naive", "num_samples=3", "pictures=3", "window_batch=4"]
    words += [
        f"denoiser={tiny_checkpoint}",
        f"results={tmp_path}",
        "canvas.width=40",
        "num_reference=8",
    ]
    words += ["repeats=1", "loggers=[]", "device=cpu", "plain_fid=false", "budget=[6,10]"]
    assert run(words) == 0
    (picture,) = tmp_path.glob("*/canvases/multidiffusion@10-002.png")
    assert Provenance.read(picture).together is None
    assert main([str(picture)]) == 0
    said = capsys.readouterr().err
    assert "was made with" not in said
    again = picture.with_name("multidiffusion@10-002-again.png")
    assert again.read_bytes() == picture.read_bytes()


def test_an_outpainted_image_is_made_again_bit_for_bit(painted, capsys):
    assert main([str(painted)]) == 0
    assert "the same, bit for bit" in capsys.readouterr().err
    again = painted.with_name("out-001-again.png")
    assert again.read_bytes() == painted.read_bytes()
    assert main([str(again)]) == 0  # what was made again can be made again


@pytest.mark.parametrize("mode", ["seed_image", "unconditional"])
def test_what_was_told_of_images_is_told_of_them_again(mode, tmp_path, capsys):
    path = tmp_path / "told.safetensors"
    save_denoiser(told_denoiser(), path, provenance={"command": "none: untrained"})
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 80, 3), dtype=np.uint8)
        Picture.fromarray(pixels).save(photographs / f"{number}.png")
    words = [f"denoiser={path}", f"results={tmp_path / 'results'}", "canvas.width=48"]
    words += ["data=photos", f"data.root={photographs}", "data.patch_size=16", "num_samples=3"]
    words += ["num_reference=8", "solver.num_steps=2", "repeats=1", "plain_fid=false"]
    words += [f"context={mode}", "strategy=naive", "pictures=3", "loggers=[]", "device=cpu"]
    assert run(words) == 0
    (picture,) = (tmp_path / "results").glob("*/canvases/naive-001.png")
    moved = photographs.rename(tmp_path / "moved")
    told = [] if mode == "unconditional" else [f"root={moved}"]
    capsys.readouterr()
    assert main([str(picture), *told]) == 0
    if mode == "unconditional":  # told of no image, it needs none
        return
    Picture.new("RGB", (80, 40)).save(moved / "0.png")
    for number, path in enumerate(moved.glob("*.png")):
        Picture.new("RGB", (80, 40), (number, 0, 0)).save(path)
    assert main([str(picture), *told]) == 2
    assert "the seed images must be what the picture was made from" in capsys.readouterr().err


# What has moved, and what is not the same


def test_files_that_have_moved_are_named(painted, tiny_checkpoint, tmp_path, capsys):
    there = tmp_path / "there"
    there.mkdir()
    image = shutil.move(tmp_path / "image.png", there / "photo.png")
    mask = shutil.move(tmp_path / "mask.png", there / "hole.png")
    assert main([str(painted)]) == 2
    assert f"there is no {tmp_path / 'image.png'}. If it lies elsewhere now, say so" in (
        capsys.readouterr().err
    )
    assert main([str(painted), "denoiser=gone.safetensors", f"image={image}", f"mask={mask}"]) == 2
    assert "no denoiser at gone.safetensors" in capsys.readouterr().err
    moved = [
        str(shutil.copy(file, there))
        for file in (tiny_checkpoint, tiny_checkpoint.with_suffix(".json"))
    ]
    words = [f"image={image}", f"mask={mask}", f"denoiser={moved[0]}"]
    assert main([str(painted), *words]) == 0


@pytest.mark.parametrize("what", ["image", "mask"])
def test_another_image_is_refused(what, painted, tmp_path, capsys):
    with Picture.open(tmp_path / f"{what}.png") as picture:
        picture.transpose(Picture.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / f"{what}.png")
    assert main([str(painted)]) == 2
    said = capsys.readouterr().err
    assert f"error: the {what} must be what the picture was made from" in said
    assert f"give {what}=FILE" in said


def test_other_weights_are_refused(painted, folder, tmp_path, capsys):
    other = save_tiny(tmp_path / "other.safetensors", seed=1)
    for picture in (painted, folder / "async_patch-000.png"):
        words = [str(picture), f"denoiser={other}", f"output={tmp_path / 'again.png'}"]
        assert main(words) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: the weights must be those that the picture was made with")
        assert said.count("\n") == 1


def test_other_code_is_warned_of_and_other_pixels_are_counted(painted, tmp_path, capsys):
    origin = Provenance.read(painted)
    elsewhere = origin.environment | {"sources": "other", "commit": "abc", "python": "2.7"}
    copy = with_origin(painted, tmp_path / "copy.png", environment=elsewhere)
    assert main([str(copy)]) == 0
    said = capsys.readouterr().err
    assert "warning: the code is another: it was made by commit abc, this is" in said
    assert "warning: python was 2.7 and is 3" in said
    pixels = read_picture(painted)
    pixels[0, 3, 5] = (int(pixels[0, 3, 5]) + 100) % 256
    step = abs(int(pixels[0, 3, 5]) - int(read_picture(painted)[0, 3, 5]))
    write_picture(pixels, copy, origin=origin)
    assert main([str(copy)]) == 1
    assert f"not the same: 1 of 1,280 pixels differ, by at most {step} of 255" in (
        capsys.readouterr().err
    )
    write_picture(pixels[:, 4:], copy, origin=origin)
    assert main([str(copy)]) == 1
    assert "it is 40 x 32 px (width x height), the picture 40 x 28 px" in capsys.readouterr().err


def test_another_commit_of_the_same_code_is_nothing_to_warn_of(painted, tmp_path, capsys):
    environment = Provenance.read(painted).environment | {"commit": "abc"}
    copy = with_origin(painted, tmp_path / "copy.png", environment=environment)
    capsys.readouterr()
    assert main([str(copy)]) == 0
    assert "warning" not in capsys.readouterr().err
    assert copy.with_name("copy-again.png").read_bytes() == copy.read_bytes()


def test_what_cannot_be_made_again_is_said(painted, tmp_path, capsys):
    text = tmp_path / "text.png"
    text.write_text("no picture")
    damaged, texts = tmp_path / "damaged.png", PngInfo()
    texts.add_text(CHUNK, '{"format": 1, "program": "benchm')
    Picture.new("RGB", (4, 4)).save(damaged, pnginfo=texts)
    newer, texts = tmp_path / "newer.png", PngInfo()
    texts.add_text(CHUNK, '{"format": 3}')
    Picture.new("RGB", (4, 4)).save(newer, pnginfo=texts)
    other = with_origin(painted, tmp_path / "other.png", program="patchcanvas.streaming")
    for words, message in (
        ([], "picture must be a PNG: patchcanvas again PICTURE.png."),
        ([str(tmp_path / "none.png")], "there is no"),
        ([str(text)], "is none"),
        ([str(damaged)], "its record must be"),
        ([str(newer)], "format: "),
        ([str(other)], "must be by one of"),
        ([str(painted), "seed=3"], "no setting 'seed'"),
        ([str(painted), "output=x.jpg"], "output must be a file that ends in .png"),
        ([str(painted), f"output={painted}"], "output must be another file than the picture"),
        ([str(painted), f"output={text}"], "was not made by patchcanvas outpaint"),
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


def test_the_help_names_every_setting(capsys):
    with pytest.raises(SystemExit):
        read_settings(["--help"])
    said = capsys.readouterr().out
    for name in ("picture", "output", "denoiser", "image", "mask", "root", "device"):
        assert f"--{name}" in said
