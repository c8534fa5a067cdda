"""Pictures from Python: the same as by hand, kept pixels, progress, records, refusals."""

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

import patchcanvas as pc
from denoisers.checkpoint import load_denoiser, save_denoiser
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from patchcanvas.again.command import main as again
from patchcanvas.generating.command import main as generate_command
from patchcanvas.pictures import read_picture
from patchcanvas.provenance import Provenance
from sampling.images import to_uint8
from strategies.catalogue import names
from tests.pretrained_stand_ins import write_stand_ins

SIDE = 16
STEPS = 2
SIZE = {"height": 20, "width": 40}
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    network = UNet(channels=(32,), blocks=(1,), attention_levels=0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    save_denoiser(EDMPrecond(network, SIDE), path, provenance={"command": "none: untrained"})
    return path


@pytest.fixture(scope="module")
def model(weights) -> pc.LoadedDenoiser:
    return pc.load_denoiser(weights, device="cpu")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> dict[str, Path]:
    return write_stand_ins(tmp_path_factory.mktemp("models"))


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (18, 22, 3), dtype=np.uint8)


def made(model, *arguments, **settings) -> torch.Tensor:
    settings = {"num_steps": STEPS} | SIZE | settings
    return torch.stack([image.pixels for image in pc.generate(model, *arguments, **settings)])


# The names


def test_every_name_is_found_and_none_is_a_module():
    listed = [name for found in pc.PLACES.values() for name in found.split()]
    assert sorted(listed) == sorted(pc.__all__)
    assert set(pc.__all__) <= set(dir(pc))
    for name in pc.__all__:
        assert not (ROOT / "patchcanvas" / name).exists(), f"importing {name} would hide the name"
        assert not (ROOT / "patchcanvas" / f"{name}.py").exists(), f"{name} would be hidden"
    for module, found in pc.PLACES.items():
        if module != "benchmarks.evaluation":
            assert all(getattr(pc, name).__name__ == name for name in found.split())


def test_importing_it_imports_nothing_that_is_slow():
    code = (
        "import sys, patchcanvas; assert not {'torch', 'numpy'} & set(sys.modules); patchcanvas.x"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1].startswith("AttributeError"), done.stderr


def test_making_pictures_needs_no_library_that_trains_or_measures():
    code = (
        "import sys, patchcanvas as pc; pc.generate; pc.outpaint;"
        "print([m for m in ('lightning', 'torchmetrics', 'torchvision', 'matplotlib', 'diffusers')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# What is made


@pytest.mark.parametrize("name", names())
def test_every_strategy_makes_what_it_makes_by_hand(name, model, weights):
    solver = pc.Heun(num_steps=STEPS)
    noise = pc.CanvasNoise(3, [0])
    by_hand = pc.strategy(name, solver=solver).generate(
        load_denoiser(weights), pc.Canvas(**SIZE), noise
    )
    (image,) = made(model, name, solver=solver, seed=3, num_steps=None)
    assert torch.equal(image, to_uint8(by_hand)[0])


def test_a_strategy_that_is_built_brings_its_settings_and_its_solver(model):
    built = pc.MultiDiffusion(overlap=4, solver=pc.Euler(num_steps=STEPS))
    named = made(
        model,
        "multidiffusion",
        strategy_settings={"overlap": 4},
        solver=pc.Euler(),
    )
    assert torch.equal(made(model, built, num_steps=None), named)
    assert not torch.equal(made(model, pc.MultiDiffusion()), named)


def test_a_tuple_is_a_setting_too(model):
    built = pc.MultiDiffusion(window=(SIDE, 8), solver=pc.Euler(num_steps=STEPS))
    (image,) = pc.generate(model, built, **SIZE)
    assert image.origin.strategy["window"] == (SIDE, 8)


def test_a_picture_is_a_function_of_the_seed_and_its_number(model):
    three = made(model, num_samples=3, seed=1)
    assert torch.equal(made(model, num_samples=2, seed=1), three[:2])
    assert not torch.equal(three[0], three[1])
    assert not torch.equal(made(model, seed=2)[0], three[0])


def test_wraps_reach_the_canvas(model):
    settings = {"width": 48, "strategy_settings": {"overlap": 8}}
    assert not torch.equal(made(model, wrap_width=True, **settings), made(model, **settings))


def test_sizes_have_the_defaults_of_the_command(model):
    (image,) = pc.generate(model, "naive", num_steps=STEPS)
    assert (image.height, image.width) == (SIDE, 6 * SIDE)


@pytest.mark.parametrize("kind", ["pixels", "latents"])
def test_known_pixels_come_back_bit_by_bit(kind, model, pretrained, photo):
    mask = np.zeros(photo.shape[:2], dtype=bool)
    mask[3:12, 4:15] = True
    if kind == "latents":
        model = pc.load_denoiser(pretrained["latents"], device="cpu")
        photo, mask = np.tile(photo, (3, 3, 1)), np.tile(mask, (3, 3))
    for strategy in ("multidiffusion", "replacement"):
        for known in (
            (Picture.fromarray(photo), mask),
            (torch.from_numpy(photo).permute(2, 0, 1), torch.from_numpy(mask)),
        ):
            (image,) = pc.generate(model, strategy, known=known, num_steps=STEPS)
            assert np.array_equal(image.numpy()[mask], photo[mask])
            assert not np.array_equal(image.numpy()[~mask], photo[~mask])


def test_a_known_canvas_is_taken_as_it_is(model):
    canvas = pc.Canvas(**SIZE)
    known = pc.Known.placed(torch.zeros(1, 3, 8, 8), canvas, top=2, left=3)
    (image,) = made(model, known=known, width=None, height=None)
    assert image.shape == (3, 20, 40)
    assert (image[:, 2:10, 3:11] == 128).all()


# Progress


def test_the_callback_counts_network_calls_to_the_last(model):
    told: list[tuple[int, int]] = []
    pc.generate(
        model,
        "naive",
        **SIZE,
        num_samples=2,
        num_steps=3,
        callback=lambda done, total: told.append((done, total)),
    )
    # Heun's three steps ask five times, whatever the canvas; two pictures.
    assert told == [(done, 10) for done in range(1, 11)]


# What is written


def test_a_picture_is_saved_with_its_record_and_made_again(model, tmp_path, capsys):
    strategy = pc.AsyncPatch(
        overlap=4, schedule="wavefront", solver=pc.Heun(num_steps=3, churn=2.0)
    )
    images = pc.generate(model, strategy, **SIZE, num_samples=2, seed=5, wrap_width=False)
    file = images[1].save(tmp_path / "lake.png")
    assert torch.equal(read_picture(file), images[1].pixels)
    record = Provenance.read(file)
    assert (record.program, record.row, record.sample) == ("patchcanvas generate", "async_patch", 1)
    assert again([str(file)]) == 0
    assert "the same, bit for bit" in capsys.readouterr().err


def test_the_command_says_the_same_of_the_same(model, weights, tmp_path):
    file = tmp_path / "by_command.png"
    words = ["canvas.height=20", "canvas.width=40", f"solver.num_steps={STEPS}", "device=cpu"]
    assert generate_command([*words, f"denoiser={weights}", f"output={file}", "seed=4"]) == 0
    (image,) = pc.generate(model, **SIZE, num_steps=STEPS, seed=4)
    assert torch.equal(image.pixels, read_picture(file))
    record = Provenance.read(file)
    left_out = {"output"}
    for name, value in json.loads(image.origin.text)["settings"].items():
        assert name in left_out or record.settings[name] == value, name


def test_only_png_keeps_the_record(model, tmp_path):
    (image,) = pc.generate(model, **SIZE, num_steps=STEPS)
    with pytest.raises(ValueError, match="path"):
        image.save(tmp_path / "lake.jpg")


def test_a_notebook_and_pillow_show_the_pixels(model):
    (image,) = pc.generate(model, **SIZE, num_steps=STEPS)
    shown = np.array(Picture.open(io.BytesIO(image._repr_png_())))
    assert np.array_equal(shown, image.numpy())
    assert np.array_equal(np.array(image.pil), shown)
    assert "40 x 20" in repr(image)


# Outpainting


@pytest.mark.parametrize("given", ["file", "pillow", "array", "tensor"])
def test_an_image_is_continued_however_it_is_given(given, model, photo, tmp_path, capsys):
    file = tmp_path / "photo.png"
    Picture.fromarray(photo).save(file)
    image = {
        "file": file,
        "pillow": Picture.fromarray(photo),
        "array": photo,
        "tensor": torch.from_numpy(photo).permute(2, 0, 1),
    }[given]
    picture = pc.outpaint(model, image, size=(24, 40), at=(3, 5), num_steps=STEPS, seed=2)
    assert (picture.height, picture.width) == (24, 40)
    assert np.array_equal(picture.numpy()[3:21, 5:27], photo)
    saved = picture.save(tmp_path / "out.png")
    # An image that was in memory is one that Pillow saves the same.
    assert again([str(saved), f"image={file}"]) == 0
    assert "the same, bit for bit" in capsys.readouterr().err


def test_a_mask_is_white_where_it_is_painted_anew(model, photo):
    mask = np.zeros(photo.shape[:2], dtype=bool)
    mask[4:9, 5:12] = True
    picture = pc.outpaint(model, photo, mask=mask, num_steps=STEPS, strategy="replacement")
    assert np.array_equal(picture.numpy()[~mask], photo[~mask])
    assert not np.array_equal(picture.numpy()[mask], photo[mask])


# Pretrained models


def test_a_folder_of_diffusers_is_told_prompts(pretrained, tmp_path, capsys):
    model = pc.load_denoiser(pretrained["latents"], device="cpu")
    settings = {"height": 32, "width": 48, "num_steps": STEPS}

    def told(**words) -> torch.Tensor:
        return pc.generate(model, "multidiffusion", **settings, **words)[0].pixels

    plain = told(prompt="a b", guidance_scale=3.0)
    negative = told(prompt="a b", guidance_scale=3.0, negative_prompt="c")
    assert not torch.equal(plain, negative)
    assert not torch.equal(plain, told(prompt="c", guidance_scale=3.0))
    # A negative prompt is that of its own picture alone.
    assert torch.equal(plain, told(prompt="a b", guidance_scale=3.0))
    (image,) = pc.generate(model, prompt="a b", negative_prompt="c", **settings)
    assert again([str(image.save(tmp_path / "lake.png"))]) == 0


def test_steps_are_those_of_the_models_own_pipeline_by_default(pretrained):
    model = pc.load_denoiser(f"diffusers:{pretrained['pixels']}", device="cpu")
    (image,) = pc.generate(model, "naive", height=32, width=32)
    assert image.origin.strategy["solver"]["class"] == "sampling.solvers.Euler"
    assert image.origin.strategy["solver"]["num_steps"] == 50


def test_images_are_continued_by_reconstruction(pretrained, photo):
    model = pc.load_denoiser(pretrained["pixels"], device="cpu")
    picture = pc.outpaint(model, photo, size=(32, 48), num_steps=STEPS)
    assert picture.origin.row == "reconstruction"


# Refusals


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"height": 0}, "height"),
        ({"num_steps": 1}, "num_steps"),
        ({"num_samples": 0}, "num_samples"),
        ({"prompt": "a lake"}, "prompt"),
        ({"guidance_scale": -1.0}, "guidance_scale"),
        ({"negative_prompt": "people"}, "negative_prompt"),
        ({"strategy": "diffcolage"}, "diffcollage"),
        ({"strategy_settings": {"overlapp": 3}}, "overlap"),
        ({"strategy": "replacement", "strategy_settings": {"overlap": 400}}, "overlap"),
        ({"known": (np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4), bool))}, "known"),
        ({"known": (np.zeros((4, 4, 3)), np.zeros((4, 4), bool))}, "8 bits"),
    ],
)
def test_what_is_wrong_is_named_as_it_was_given(arguments, named, model):
    with pytest.raises(ValueError, match=named):
        pc.generate(model, **(SIZE | arguments))


def test_a_strategy_that_is_built_is_not_given_settings_once_more(model):
    with pytest.raises(ValueError, match="strategy_settings"):
        pc.generate(model, pc.Naive(), strategy_settings={"window": 8})


def test_gates_are_not_set_in_passing(model):
    context = dataclasses.replace(_context(), gate=0.0)
    with pytest.raises(ValueError, match="gate"):
        pc.generate(model, context=context)


def _context():
    from patchcanvas.context.settings import ContextSettings

    return ContextSettings(mode="text", prompt="a")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"name": "landscape"}, "landscapes"),
        ({"name": "nowhere.safetensors"}, "nowhere"),
        ({"name": "landscapes", "dtype": torch.float64}, "dtype"),
        ({"name": "landscapes", "device": "tpu"}, "device"),
        ({"name": "landscapes", "offload": "parts", "device": "cpu"}, "offload"),
        ({"name": "landscapes", "window_batch": 0}, "window_batch"),
    ],
)
def test_a_denoiser_that_cannot_be_had_is_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        pc.load_denoiser(**arguments)
