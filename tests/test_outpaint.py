"""Image in, image out: what is kept, what is painted, what is refused, and what is written."""

import contextlib
import hashlib
import io
import json
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from benchmarks.comparison.plan import parse
from datamodules.landscapes import Landscapes
from denoisers.checkpoint import load_denoiser, save_denoiser
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from patchcanvas.again.command import main as make_again
from patchcanvas.model import Model
from patchcanvas.outpainting.command import main
from patchcanvas.outpainting.given import given_of
from patchcanvas.outpainting.preparation import conditioner_for, prepared
from patchcanvas.outpainting.settings import OutpaintSettings, read_command
from patchcanvas.pictures import read_picture, write_picture
from patchcanvas.provenance import Provenance
from sampling.images import to_uint8
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.async_patch import AsyncPatch
from strategies.canvas import Canvas, Known
from strategies.catalogue import names
from tests.encoded_images import rgb_profile
from tests.pretrained_stand_ins import write_stand_ins
from tests.test_context_run import denoiser as told_denoiser

SIDE = 16
HEIGHT, WIDTH = 18, 22  # of the image, in pixels; no multiples of anything
STEPS = 2


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    network = UNet(channels=(32,), blocks=(1,), attention_levels=0)
    save_denoiser(EDMPrecond(network, SIDE), path, provenance={"command": "none: untrained"})
    return path


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> dict[str, Path]:
    return write_stand_ins(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def image(tmp_path, pixels) -> Path:
    return saved(Picture.fromarray(pixels), tmp_path / "image.png")


@pytest.fixture
def common(weights, tmp_path) -> list[str]:
    return [
        f"denoiser={weights}",
        f"results={tmp_path / 'results'}",
        f"solver.num_steps={STEPS}",
        "device=cpu",
    ]


def saved(picture: Picture.Image, path: Path, **options) -> Path:
    picture.save(path, **options)
    return path


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def given(path: Path, **settings):
    return given_of(OutpaintSettings(**{"image": path, "to": "40x30"} | settings))[0]


def box_mask(path: Path, *, high: int = HEIGHT, wide: int = WIDTH) -> Path:
    """White in a box in the middle."""
    grey = np.zeros((high, wide), dtype=np.uint8)
    grey[6:12, 8:15] = 255
    return saved(Picture.fromarray(grey), path)


# What is kept


@pytest.mark.parametrize("strategy", names())
def test_every_strategy_keeps_the_users_pixels_bit_by_bit(
    strategy, image, pixels, common, tmp_path
):
    file = tmp_path / "out.png"
    words = [str(image), "--to", "48x32", "at=20,3", f"output={file}", f"strategy={strategy}"]
    assert main([*words, *common]) == 0
    with Picture.open(file) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (48, 32))
        made = np.array(picture)
    assert np.array_equal(made[3 : 3 + HEIGHT, 20 : 20 + WIDTH], pixels)
    # Black is what the canvas holds where nothing is painted. An untrained network paints noise, of
    # whose pixels an eighth is black where all three channels are cut at 0.
    assert made[:, :20].any(axis=2).mean() > 0.8


@pytest.mark.parametrize("model", ["pixels", "latents", "flow"])
@pytest.mark.parametrize("strategy", [None, "multidiffusion"])
def test_so_do_pretrained_models_of_pixels_and_of_latents(
    model, strategy, pretrained, pixels, image, tmp_path
):
    mask, file = box_mask(tmp_path / "mask.png"), tmp_path / "out.png"
    words = [str(image), "--to=64x48", f"mask={mask}", f"output={file}", "device=cpu"]
    words += [f"denoiser=diffusers:{pretrained[model]}", f"solver.num_steps={STEPS}"]
    assert main([*words, *([f"strategy={strategy}"] if strategy else [])]) == 0
    made, top, left = read_picture(file), (48 - HEIGHT) // 2, (64 - WIDTH) // 2
    part = made[:, top : top + HEIGHT, left : left + WIDTH]
    black = torch.from_numpy(np.array(Picture.open(mask))) == 0
    assert torch.equal(part[:, black], as_tensor(pixels)[:, black])
    assert not torch.equal(part[:, ~black], as_tensor(pixels)[:, ~black])
    assert json.loads(Picture.open(file).text["patchcanvas"])["row"] == (
        strategy or "reconstruction"
    )


def test_the_picture_is_what_the_strategy_makes(weights, image, pixels, common, tmp_path):
    file = tmp_path / "out.png"
    words = [str(image), "to=48x32", "at=0,14", "--seed", "3", "num_samples=2", f"output={file}"]
    assert main([*words, "solver.churn=0", *common]) == 0
    canvas = Canvas(height=32, width=48)
    known = Known.placed(as_tensor(pixels)[None].float() / 127.5 - 1, canvas, top=14, left=0)
    strategy = AsyncPatch(solver=Heun(num_steps=STEPS))
    denoiser = load_denoiser(weights)
    for sample in range(2):
        noise = CanvasNoise(3, [sample])
        expected = to_uint8(strategy.generate(denoiser, canvas, noise, known=known))[0]
        assert torch.equal(read_picture(tmp_path / f"out-00{sample}.png"), expected)


# How images are read


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda upright: upright),
        (2, lambda upright: upright[:, ::-1]),
        (3, lambda upright: upright[::-1, ::-1]),
        (4, lambda upright: upright[::-1]),
        (5, lambda upright: upright.swapaxes(0, 1)),
        (6, lambda upright: np.rot90(upright)),  # held so that it must be turned clockwise
        (7, lambda upright: upright[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda upright: np.rot90(upright, -1)),
    ],
)
def test_cameras_held_in_any_way_give_upright_images(orientation, stored, pixels, tmp_path):
    exif = Picture.Exif()
    exif[0x0112] = orientation
    picture = Picture.fromarray(np.ascontiguousarray(stored(pixels)))
    path = saved(picture, tmp_path / "image.png", exif=exif)
    found = given(path, at="0,0")
    assert torch.equal(found.pixels[:, :HEIGHT, :WIDTH], as_tensor(pixels))


def png_of(samples: np.ndarray, colour: int, transparent: bytes = b"") -> bytes:
    """A PNG of 16-bit samples, which Pillow cannot write; PNG specification, Sec. 5 and 11."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    high, wide = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, 16, colour, 0, 0, 0))
    trns = chunk(b"tRNS", transparent) if transparent else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + trns
        + chunk(b"IDAT", zlib.compress(rows))
        + (chunk(b"IEND", b""))
    )


def test_every_kind_of_image_is_kept_in_8_bit_colour(tmp_path):
    palette = Picture.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    for picture, suffix, colour in (
        (Picture.new("L", (8, 8), 90), "png", (90, 90, 90)),
        (Picture.new("1", (8, 8), 1), "png", (255, 255, 255)),
        (palette, "png", (10, 20, 30)),
        (palette, "gif", (10, 20, 30)),
        # 255 - C, 255 - M, 255 - Y where there is no black.
        (Picture.new("CMYK", (8, 8), (255, 200, 0, 0)), "tif", (0, 55, 255)),
        # 16 bits: 65535 = 257 * 255.
        (Picture.fromarray(np.full((8, 8), 257 * 77, dtype=np.uint16)), "png", (77, 77, 77)),
    ):
        found = given(saved(picture, tmp_path / f"image.{suffix}"), at="0,0")
        assert found.kept[:8, :8].all()
        assert found.pixels[:, 0, 0].tolist() == list(colour), (picture.mode, suffix)


def test_colours_of_16_bits_are_those_of_their_upper_8(tmp_path):
    samples = np.full((8, 8, 3), (257 * 7, 257 * 70, 257 * 170), dtype=np.uint16)
    path = tmp_path / "image.png"
    path.write_bytes(png_of(samples, 2))
    assert given(path, at="0,0").pixels[:, 0, 0].tolist() == [7, 70, 170]


def holes() -> list:
    """Images whose left half is missing, and right half is opaque."""
    half = np.zeros((8, 8), dtype=np.uint8)
    half[:, 4:] = 255
    almost = np.where(half == 0, 254, 255).astype(np.uint8)
    colour = Picture.new("RGB", (8, 8), (10, 20, 30))
    palette = Picture.fromarray((half // 255).astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 10, 20, 30])
    return [
        ("alpha.png", Picture.merge("RGBA", (*colour.split(), Picture.fromarray(half))), {}),
        (
            "alpha.webp",
            Picture.merge("RGBA", (*colour.split(), Picture.fromarray(half))),
            {"lossless": True},
        ),
        ("almost.png", Picture.merge("RGBA", (*colour.split(), Picture.fromarray(almost))), {}),
        ("grey.png", Picture.merge("LA", (colour.split()[0], Picture.fromarray(half))), {}),
        ("palette.png", palette, {"transparency": 0}),
        ("palette.gif", palette, {"transparency": 0}),
    ]


@pytest.mark.parametrize(("name", "picture", "options"), holes(), ids=[n for n, *_ in holes()])
def test_what_is_not_quite_opaque_is_missing(name, picture, options, tmp_path):
    path = saved(
        picture, tmp_path / name, **options | ({"lossless": True} if "webp" in name else {})
    )
    found = given(path, to=None)
    assert not found.kept[:, :4].any()
    assert found.kept[:, 4:].all()
    red = 10
    assert (found.pixels[0, :, 4:] == red).all()


def test_a_transparent_grey_of_16_bits_is_missing(tmp_path):
    samples = np.full((8, 8), 257 * 9, dtype=np.uint16)
    samples[:, :4] = 257 * 9 + 1  # nearly the same grey
    path = tmp_path / "image.png"
    path.write_bytes(png_of(samples, 0, struct.pack(">H", 257 * 9 + 1)))
    found = given(path, to=None)
    assert found.kept[:, 4:].all()
    assert not found.kept[:, :4].any()


@pytest.mark.parametrize(("space", "kept"), [("RGB", True), ("GRAY", False)])
def test_the_meaning_of_colours_is_kept_with_them(space, kept, pixels, common, tmp_path):
    # The header of an ICC profile: its size, and at byte 16 the colours that it is of.
    profile = bytearray(132)
    profile[:4], profile[16:20] = struct.pack(">I", len(profile)), space.ljust(4).encode()
    picture = Picture.fromarray(pixels)
    path = saved(picture, tmp_path / "image.png", icc_profile=bytes(profile))
    file = tmp_path / "out.png"
    said = contextlib.nullcontext() if kept else pytest.warns(UserWarning, match="left aside")
    with said:
        assert main([str(path), "to=48x32", f"output={file}", *common]) == 0
    with Picture.open(file) as picture:
        assert picture.info.get("icc_profile") == (bytes(profile) if kept else None)


def test_a_profile_that_few_programs_read_is_applied_and_the_picture_can_be_read(
    pixels, common, tmp_path
):
    profile = rgb_profile(swapped=True, padding=2 * 2**20)
    path = saved(Picture.fromarray(pixels), tmp_path / "image.tif", icc_profile=profile)
    file = tmp_path / "out.png"
    words = [str(path), "to=48x32", "at=0,0", f"output={file}", *common]
    with pytest.warns(UserWarning, match="converted to sRGB"):
        assert main(words) == 0
    with Picture.open(file) as picture:
        assert "icc_profile" not in picture.info
        found = np.array(picture)[:HEIGHT, :WIDTH].astype(int)
    # Red and green exchanged, to within a level.
    assert np.abs(found - pixels[..., [1, 0, 2]]).max() <= 1
    with pytest.warns(UserWarning, match="converted to sRGB"):
        assert main(words) == 0
    again = [str(file), "device=cpu"]
    with pytest.warns(UserWarning, match="converted to sRGB"):
        assert make_again(again) == 0


@pytest.mark.parametrize("large", [False, True])
def test_a_picture_larger_than_pillow_reads_is_read_back(large, common, tmp_path, monkeypatch):
    path = saved(Picture.new("RGB", (16, 16), (9, 90, 200)), tmp_path / "image.png")
    file = tmp_path / "out.png"
    monkeypatch.setattr(Picture, "MAX_IMAGE_PIXELS", 8 if large else None)
    assert main([str(path), "to=48x32", f"output={file}", *common]) == 0
    assert main([str(path), "to=48x32", f"output={file}", *common]) == 0
    assert make_again([str(file), "device=cpu"]) == 0


def test_a_picture_that_cannot_be_read_back_is_none(tmp_path, monkeypatch):
    def damaged(self, file, *args, **options) -> None:
        Path(file).write_bytes(b"no PNG")

    monkeypatch.setattr(Picture.Image, "save", damaged)
    with pytest.raises(OSError, match="cannot be read"):
        write_picture(torch.zeros(3, 4, 4, dtype=torch.uint8), tmp_path / "out.png")
    assert not list(tmp_path.iterdir())


def test_of_several_frames_it_is_the_first(tmp_path):
    first, second = (Picture.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    path = saved(first, tmp_path / "image.gif", save_all=True, append_images=[second])
    assert given(path, at="0,0").pixels[:, 0, 0].tolist() == [255, 0, 0]


# What is masked, resized and placed


def test_white_is_painted_and_black_is_kept(image, tmp_path):
    grey = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    grey[:, 3:7], grey[:, 10], grey[:, 11] = 255, 127, 128  # half way is the border
    mask = saved(Picture.fromarray(grey), tmp_path / "mask.png")
    found = given(image, to=None, mask=mask)
    assert torch.equal(found.kept, torch.from_numpy(grey < 128))


def test_masks_and_transparency_add_up(pixels, tmp_path):
    alpha = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    alpha[:5] = 0
    path = saved(Picture.fromarray(np.dstack([pixels, alpha])), tmp_path / "image.png")
    found = given(path, to=None, mask=box_mask(tmp_path / "mask.png"))
    assert not found.kept[:5].any()
    assert not found.kept[6:12, 8:15].any()
    assert int((~found.kept).sum()) == 5 * WIDTH + 6 * 7


def test_resizing_is_that_of_pillow(image, pixels):
    found = given(image, scale=0.5, at="0,0")
    theirs = Picture.fromarray(pixels).resize((11, 9), Picture.Resampling.LANCZOS)
    assert torch.equal(found.pixels[:, :9, :11], as_tensor(np.array(theirs)))
    assert int(found.kept.sum()) == 9 * 11


@pytest.mark.parametrize("scale", [0.5, 0.7, 1.6])
def test_resizing_takes_nothing_from_what_is_missing(scale, tmp_path):
    colour = np.full((40, 40, 3), (40, 120, 200), dtype=np.uint8)
    colour[10:20, 12:24] = 255  # what the mask hides
    grey = np.zeros((40, 40), dtype=np.uint8)
    grey[10:20, 12:24] = 255
    image = saved(Picture.fromarray(colour), tmp_path / "image.png")
    mask = saved(Picture.fromarray(grey), tmp_path / "mask.png")
    found = given(image, scale=scale, mask=mask, to="80x80", at="0,0")
    kept = found.pixels[:, found.kept]
    # One colour all over has no edge: whatever is kept of it has that colour.
    assert (kept == torch.tensor([40, 120, 200]).view(3, 1)).all()
    side = round(40 * scale)
    missing = ~found.kept[:side, :side]
    assert missing[int(11 * scale) : int(19 * scale), int(13 * scale) : int(23 * scale)].all()
    # The hole, and a pixel round it: of the new size, or of the old one if that is larger.
    rim = 2 * max(1, scale) + 1
    assert missing.sum() <= (10 * scale + rim) * (12 * scale + rim)


def test_an_image_lies_in_the_middle_or_where_it_is_told_to(image, pixels):
    for at, left, top in (("center", 9, 6), ("0,0", 0, 0), ("18,12", 18, 12), ("3,7", 3, 7)):
        found = given(image, at=at)
        place = (slice(top, top + HEIGHT), slice(left, left + WIDTH))
        assert torch.equal(found.pixels[:, *place], as_tensor(pixels))
        assert found.kept[place].all()
        assert int(found.kept.sum()) == HEIGHT * WIDTH


# The command line


def test_the_image_is_the_first_word_that_is_no_setting():
    for words in (
        ["photo.jpg", "--to", "64x32", "--seed=3"],
        ["--to", "64x32", "photo.jpg", "--seed", "3"],
        ["seed=3", "to=64x32", "photo.jpg"],
        ["--image", "photo.jpg", "--to=64X32", "seed=3"],
    ):
        settings = read_command(words).settings
        assert settings.image == Path("photo.jpg")
        assert (settings.size, settings.seed) == ((64, 32), 3)


@pytest.mark.parametrize("name", ["photo=1.png", "a=b=c.jpg", "to=64x32.png", "plain.png"])
def test_a_file_with_an_equals_sign_in_its_name_is_a_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Picture.new("RGB", (8, 8)).save(name)
    for word in (name, f"image={name}", f"--image={name}", str(tmp_path / name), f"./{name}"):
        settings = read_command([word, "to=64x32", f"mask={name}"]).settings
        assert settings.image.resolve() == tmp_path / name
        assert settings.mask == Path(name)
        assert settings.size == (64, 32)


def test_a_setting_is_no_file_even_if_a_folder_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seed=3").mkdir()
    (tmp_path / "scale=0.5").write_text("a number is no ending")
    settings = read_command(["seed=3", "scale=0.5", "photo.jpg", "to=64x32"]).settings
    assert (settings.image, settings.seed, settings.scale) == (Path("photo.jpg"), 3, 0.5)


def test_seed_is_a_word_of_benchmarks_run_too():
    assert parse(["--seed", "3"]).settings.seed == parse(["seed=3"]).settings.seed == 3


def test_pretrained_models_bring_a_strategy_that_they_can_do():
    words = ["photo.jpg", "to=64x32"]
    assert set(read_command(words).classes) == {"async_patch"}
    pretrained = read_command([*words, "denoiser=diffusers:FOLDER"])
    assert set(pretrained.classes) == {"reconstruction"}
    # The steps of their own pipelines, as in benchmarks.run.
    common = parse(["denoiser=diffusers:FOLDER"]).settings.solver
    assert pretrained.settings.solver == common != read_command(words).settings.solver
    other = read_command([*words, "--denoiser", "diffusers:FOLDER", "strategy=direct"])
    assert set(other.classes) == {"direct"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["to=10x10"], r"must fit the canvas, which is 10 x 10 px .* it is 22 x 18 px"),
        (["to=64x32", "at=50,0"], r"must be from 0,0 to 42,14 for 22 x 18 px.*got 50,0"),
        (["to=64x32", "at=-1,0"], r"got -1,0"),
        ([], "must be something to paint, but every pixel"),
        (["to=22x18"], "must be something to paint"),
        (["mask=WHITE"], r"must be something to keep.*patchcanvas generate"),
        (["mask=LARGE"], r"size of the image, 22 x 18 px \(width x height\), got 30 x 20 px"),
        (["mask=/no/such.png"], "mask must be an image file, but there is no /no/such.png"),
        (["mask=/"], "mask must be an image file, but / is a folder"),
        (["image=/", "to=64x32"], "image must be an image file, but / is a folder"),
        (["to=64x32", "max_megapixels=0.0001"], r"0.000396 megapixels .*max_megapixels=0.0001"),
        (["to=64x32", "max_megapixels=0"], "max_megapixels must be a finite number above 0"),
        (["to=wide"], "to must be WIDTHxHEIGHT in px, such as 1024x512, got 'wide'"),
        (["to=0x32"], "to must be WIDTHxHEIGHT"),
        (["to=64x32", "at=left"], "at must be center, or LEFT,TOP"),
        (["to=64x32", "scale=0"], "scale must be above 0"),
        (["to=64x32", "num_samples=0"], "num_samples must be at least 1"),
        (["to=64x32", "output=out.jpg"], "output must be a file that ends in .png"),
        (["to=64x32", "strategy=all"], "strategy must be one strategy, for one picture"),
        (["to=64x32", "strategy=async_pach"], "did you mean 'async_patch'"),
        (["to=64x32", "async_patch.overlp=4"], "did you mean 'overlap'"),
        (["to=64x32", "canvas.wrap_widht=true"], "did you mean 'canvas.wrap_width'"),
        (["to=60x32", "canvas.wrap_width=true"], "async_patch: .*close a loop"),
        (["to=64x32", "other.png"], "written key=value, got 'other.png'"),
        (
            [
                "to=64x32",
                "context.fixed_ends=true",
                "context=seed_image",
                "context.interpolate_to=x.png",
            ],
            "ends",
        ),
        (["to=64x32", "context.guide=plan", "context=unconditional"], "guide=plan is made before"),
        (["to=22x32", "scale=0.5", "at=0,0", "window=40"], "no setting 'window'"),
        (
            ["to=22x19", "async_patch.window=24"],
            "async_patch: a canvas must be at least one window",
        ),
        (["to=64x32", "denoiser=/no/such.safetensors"], "no denoiser at /no/such.safetensors"),
        (["to=64x32", "async_patch.look_ahead=0.5"], "does not say how far off"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(words, message, image, common, tmp_path, capsys):
    saved(Picture.new("L", (WIDTH, HEIGHT), 255), tmp_path / "white.png")
    saved(Picture.new("L", (30, 20), 255), tmp_path / "large.png")
    words = [
        word.replace("WHITE", str(tmp_path / "white.png")).replace(
            "LARGE", str(tmp_path / "large.png")
        )
        for word in words
    ]
    assert main([str(image), *common, *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert re.search(message, said)
    assert not (tmp_path / "results").exists()


def test_no_image_and_no_picture_are_said(tmp_path, common, capsys):
    assert main([*common, "to=64x32"]) == 2
    assert "patchcanvas outpaint IMAGE --to WIDTHxHEIGHT" in capsys.readouterr().err
    assert main([str(tmp_path / "none.png"), *common, "to=64x32"]) == 2
    assert "image must be an image file, but there is no" in capsys.readouterr().err
    (tmp_path / "text.png").write_text("not an image")
    assert main([str(tmp_path / "text.png"), *common, "to=64x32"]) == 2
    assert "cannot be read as one" in capsys.readouterr().err


def test_what_a_pretrained_model_cannot_do_is_said(pretrained, image, tmp_path, capsys):
    words = [str(image), "to=64x48", "device=cpu", f"results={tmp_path}"]
    latents = f"denoiser=diffusers:{pretrained['latents']}"
    assert main([*words, latents, "strategy=async_patch"]) == 2
    assert "take one trained with noise maps, or another strategy" in capsys.readouterr().err
    assert main([*words, latents, "to=24x24"]) == 2
    assert "Lengths are in latent pixels, 4 px of the canvas each." in capsys.readouterr().err
    # An image of 2 x 3 px fills no pixel of the latents.
    small = saved(Picture.new("RGB", (3, 2)), tmp_path / "small.png")
    assert main([str(small), *words[1:], latents]) == 2
    assert "cells of 4 x 4 px, of which at least one must be kept whole" in capsys.readouterr().err


def test_the_pictures_of_the_documentation_hold_the_image_that_they_were_made_of():
    docs = Path(__file__).parent.parent / "docs"
    image = read_picture(docs / "outpainting_given.png")
    assert torch.equal(image, Landscapes().crop("test", 21, 32, 64))
    assert torch.equal(read_picture(docs / "outpainting.png")[..., 64:128], image)
    black = read_picture(docs / "outpainting_mask.png")[0] == 0
    masked = read_picture(docs / "outpainting_masked.png")
    assert torch.equal(masked[:, black], image[:, black])
    for name in ("outpainting.png", "outpainting_masked.png"):
        assert Provenance.read(docs / name).command[0] == "docs/outpainting_given.png"


# What is counted, and loops


@pytest.mark.parametrize("strategy", names())
def test_the_bar_is_as_long_as_the_calls_are_many(strategy, image, common):
    words = [str(image), "to=48x32", f"strategy={strategy}", *common]
    outpainting = prepared(read_command(words), words)
    advanced = []
    outpainting.made(0, called=advanced.append)
    assert len(advanced) == outpainting.maker.denoiser.calls == outpainting.maker.calls
    # n shares of 1 / n.
    assert sum(advanced) == pytest.approx(1)


def test_the_bar_counts_calls_on_latents_too(pretrained, image, tmp_path):
    words = [str(image), "to=64x48", f"denoiser=diffusers:{pretrained['latents']}", "device=cpu"]
    words += [f"solver.num_steps={STEPS}", f"results={tmp_path}", "context.prompt=a lake"]
    outpainting = prepared(read_command(words), words)
    outpainting.made(0)
    assert outpainting.maker.denoiser.calls == outpainting.maker.calls > 0


def test_masks_of_regions_are_part_of_the_record(pretrained, image, tmp_path):
    mask = box_mask(tmp_path / "region.png")
    words = [str(image), "to=64x48", f"denoiser=diffusers:{pretrained['latents']}", "device=cpu"]
    words += [f"context.regions=[{{prompt: a lake, mask: {mask}}}]", f"results={tmp_path}"]
    inputs = prepared(read_command(words), words).facts.inputs
    assert inputs["mask of 'a lake'"] == hashlib.sha256(mask.read_bytes()).hexdigest()


def test_a_loop_closes_round_the_image(image, pixels, common, tmp_path):
    file = tmp_path / "loop.png"
    words = [str(image), "to=64x18", "at=0,0", f"output={file}", *common]
    outpainting = prepared(read_command([*words, "canvas.wrap_width=true"]), words)
    assert outpainting.maker.canvas.wrap_width
    assert main([*words, "canvas.wrap_width=true"]) == 0
    assert torch.equal(read_picture(file)[..., :WIDTH], as_tensor(pixels))
    # The column before the image follows it on a loop, and knows of it; elsewhere it does not.
    looped = read_picture(file)
    assert main([*words, "overwrite=true"]) == 0
    assert not torch.equal(looped, read_picture(file))


def test_a_seed_image_is_by_default_the_image_itself(image):
    settings = read_command([str(image), "to=48x32", "context=seed_image"]).settings
    model = Model(told_denoiser(), {})
    conditioner = conditioner_for(settings, model, Canvas(height=32, width=48))
    (seed,) = conditioner.seeds.of([0])
    assert seed.shape == (3, 32, round(WIDTH * 32 / HEIGHT))
    assert conditioner.description["image_sha256"] == given_of(settings)[1]["image"]


# What is written


def test_inputs_are_never_written_over(image, common, tmp_path, capsys):
    content = image.read_bytes()
    link = tmp_path / "link.png"
    link.symlink_to(image)
    for output in (image, link):
        words = [str(image), "to=48x32", f"output={output}", "overwrite=true"]
        assert main([*words, *common]) == 2
        assert "output must be another file than the image" in capsys.readouterr().err
    mask = box_mask(tmp_path / "mask.png")
    words = [str(image), f"mask={mask}", f"output={mask}", "overwrite=true"]
    assert main([*words, *common]) == 2
    assert "output must be another file than the mask" in capsys.readouterr().err
    assert image.read_bytes() == content


def test_files_of_others_are_written_over_only_when_that_is_said(image, common, tmp_path, capsys):
    file = saved(Picture.new("RGB", (4, 4)), tmp_path / "other.png")
    words = [str(image), "to=48x32", f"output={file}", *common]
    assert main(words) == 2
    assert "is there and was not made by patchcanvas outpaint" in capsys.readouterr().err
    assert main([*words, "overwrite=true"]) == 0
    assert "is there and will be written over" in capsys.readouterr().err
    first = read_picture(file)
    assert main([*words, "seed=1"]) == 0  # its own it may write over, and says so
    assert "is there and will be written over" in capsys.readouterr().err
    assert not torch.equal(read_picture(file), first)


def test_a_picture_that_was_not_named_takes_nothing_elses_name(image, common, tmp_path, capsys):
    words, results = [str(image), "to=48x32", *common], tmp_path / "results"
    assert main(words) == 0
    assert main([*words, "seed=1"]) == 0
    assert sorted(path.name for path in results.glob("*.png")) == [
        "image-48x32-2.png",
        "image-48x32.png",
    ]
    content = (results / "image-48x32.png").read_bytes()
    made = (results / "image-48x32.png").stat().st_mtime_ns
    capsys.readouterr()
    assert main([str(image), "--to", "48x32", *common]) == 0
    assert "is there, made of the same" in capsys.readouterr().err
    assert (results / "image-48x32.png").stat().st_mtime_ns == made
    assert main([*words, "overwrite=true"]) == 0
    assert len(list(results.glob("*.png"))) == 2
    # The words differ, and so the record; the pixels do not.
    with Picture.open(io.BytesIO(content)) as first:
        again = read_picture(results / "image-48x32.png")
        assert torch.equal(torch.from_numpy(np.array(first)).permute(2, 0, 1), again)


def test_where_nothing_can_be_written_is_said_before_the_work(image, common, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert main([str(image), "to=48x32", *common, f"output={tmp_path / 'file' / 'out.png'}"]) == 2
    assert "nothing can be written in" in capsys.readouterr().err


def test_several_samples_are_numbered_and_do_not_depend_on_each_other(image, common, tmp_path):
    words = [str(image), "to=48x32", *common]
    assert main([*words, "num_samples=3", f"output={tmp_path / 'many.png'}"]) == 0
    assert main([*words, f"output={tmp_path / 'one.png'}"]) == 0
    many = [read_picture(tmp_path / f"many-00{number}.png") for number in range(3)]
    assert torch.equal(many[0], read_picture(tmp_path / "one.png"))
    assert not torch.equal(many[0], many[1])


def test_pixels_that_are_not_finite_are_said(image, common, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(UNet, "forward", lambda self, x, c_noise: torch.full_like(x, torch.nan))
    assert main([str(image), "to=48x32", *common]) == 1
    assert "not finite" in capsys.readouterr().err
    assert not list(tmp_path.glob("results/*.png"))


def test_memory_that_runs_out_is_said(image, common, monkeypatch, capsys):
    def exhausted(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(UNet, "forward", exhausted)
    assert main([str(image), "to=48x32", *common]) == 1
    said = capsys.readouterr().err
    assert "error: memory ran out in the smallest call. Less is taken by precision=bf16" in said
