"""The harness on pretrained models, by its command line, from the settings to the pictures."""

import json
import re
from pathlib import Path
from unittest import mock

import pytest
import torch
from PIL import Image

from benchmarks.comparison.plan import parse
from benchmarks.run import main
from patchcanvas.context.prompted import region_masks
from patchcanvas.context.settings import Region
from patchcanvas.model import load_model, place_pipeline
from patchcanvas.pictures import read_picture
from patchcanvas.runtime import Runtime
from sampling.solvers import Euler
from strategies.canvas import Canvas
from strategies.catalogue import names
from strategies.parallel import ParallelStrategy
from tests.pretrained_stand_ins import write_stand_ins

QUICK = [
    "solver.num_steps=2",
    "num_samples=3",
    "batch_size=3",
    "pictures=3",
    "loggers=[]",
]
PROMPTED = ["strategy=multidiffusion", "context.prompt=a b", "canvas.width=64"]
ON_SINGLE_LEVELS = [name for name in names() if name != "async_patch"]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """A model of pixels, one of latents with text, and a flow."""
    return write_stand_ins(tmp_path_factory.mktemp("models"))


def run(tmp_path, model: Path, *arguments: str) -> dict:
    """Runs the command and returns its record."""
    results = tmp_path / "results"
    command = [f"denoiser=diffusers:{model}", f"results={results}", *QUICK, *arguments]
    assert main(command) == 0
    (record,) = results.glob("*/results.json")
    return json.loads(record.read_text()) | {"folder": record.parent}


def pictures(record: dict, strategy: str) -> torch.Tensor:
    (row,) = (row for row in record["rows"] if row["strategy"] == strategy)
    return torch.stack([read_picture(record["folder"] / file) for file in row["canvases"]])


@pytest.mark.parametrize(("kind", "prompt"), [("pixels", []), ("latents", ["context.prompt=a b"])])
def test_every_strategy_runs_on_a_canvas_of_any_size(tmp_path, models, kind, prompt, capfd):
    # Multiples of nothing: not of a window, an overlap, a latent pixel, or the network's steps.
    size = ["canvas.height=35", "canvas.width=51", "lshape_repaint.jump_n_sample=1"]
    record = run(tmp_path, models[kind], "strategy=all", *size, *prompt)
    assert [row["strategy"] for row in record["rows"]] == ON_SINGLE_LEVELS
    assert not record["failures"]
    for name in ON_SINGLE_LEVELS:
        made = pictures(record, name)
        assert made.shape == (3, 3, 35, 51)
        assert made.float().std() > 1
        assert not torch.equal(made[0], made[1])
    said = capfd.readouterr().err
    assert "async_patch left out" in said
    assert "one level an image" in said
    page = (record["folder"] / "report.html").read_text()
    assert "no real images to compare with" in page


@pytest.mark.parametrize("kind", ["pixels", "latents", "flow"])
def test_a_strategy_that_needs_noise_maps_is_refused_by_name(models, kind, capsys, tmp_path):
    command = [f"denoiser=diffusers:{models[kind]}", "strategy=async_patch"]
    assert main([*command, f"results={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert "async_patch gives every region a noise level of its own" in said
    assert "takes_noise_maps is False" in said


# One of each kind; tests/test_latent.py closes loops with all of them.
@pytest.mark.parametrize("strategy", ["diffcollage", "direct", "lshape_repaint", "replacement"])
def test_loops_of_latents_close(tmp_path, models, strategy):
    loop = ["canvas.wrap_width=true", "canvas.width=128", "context.prompts=[a, b, c]"]
    if strategy == "lshape_repaint":
        loop.append("lshape_repaint.jump_n_sample=1")
    record = run(tmp_path, models["latents"], f"strategy={strategy}", *loop)
    (row,) = record["rows"]
    assert pictures(record, strategy).shape[-2:] == (32, 128)
    # Steps across the wrap over steps elsewhere: a cut through noise of so small a network is
    # several times as steep.
    assert row["figures"]["wrap_error"]["value"] < 2


def test_a_flow_runs_on_its_own_noise_schedule(tmp_path, models):
    record = run(tmp_path, models["flow"], "strategy=multidiffusion", "context.prompt=a b")
    (row,) = record["rows"]
    levels = row["settings"]["solver"]["levels"]
    assert levels["class"].endswith("FlowLevels")
    assert row["fingerprint"]["context"]["guidance_scale"] == 7.0  # the pipeline's own default


def test_costs_are_in_the_denoisers_own_pixels(tmp_path, models):
    arguments = [
        "strategy=naive",
        "canvas.width=64",
        "context.prompt=a",
        "context.guidance_scale=1",
    ]
    record = run(tmp_path, models["latents"], *arguments)
    (row,) = record["rows"]
    # Two Euler steps are two evaluations of every latent pixel, 8 x 16 of them here.
    assert row["cost"]["nfe_per_pixel"] == 2
    assert row["cost"]["patch_evaluations"] == 2 * 2
    assert row["edge_columns"] == [32]
    # Of what wraps it nothing is recorded: an autoencoder is no setting.
    assert row["settings"]["class"] == "strategies.naive.Naive"


def test_guidance_counts(tmp_path, models):
    arguments = [
        "strategy=naive",
        "canvas.width=64",
        "context.prompt=a",
        "context.guidance_scale=3",
    ]
    (row,) = run(tmp_path, models["latents"], *arguments)["rows"]
    assert row["cost"]["nfe_per_pixel"] == 2 * 2


def test_a_budget_is_kept_with_guidance(tmp_path, models):
    arguments = ["strategy=multidiffusion", "budget=[20]", "context.prompt=a"]
    (row,) = run(tmp_path, models["latents"], *arguments)["rows"]
    assert row["strategy"] == "multidiffusion@20"
    assert 10 < row["cost"]["nfe_per_pixel"] <= 20


def test_prompts_of_regions_change_their_regions(tmp_path, models):
    prompt = ["strategy=direct", "canvas.width=64", "context.prompt=a meadow"]
    region = 'context.regions=[{"prompt": "a castle", "box": [0, 40, 32, 24]}]'
    one = pictures(run(tmp_path / "one", models["latents"], *prompt), "direct").float()
    two = pictures(run(tmp_path / "two", models["latents"], *prompt, region), "direct").float()
    # Guided by 7.5, what a text says moves pixels by far more than rounding to bytes does.
    assert (one - two)[..., 44:].abs().mean() > 2 * (one - two)[..., :36].abs().mean()
    assert (one - two)[..., 44:].abs().mean() > 1


def test_real_images_may_be_compared_with(tmp_path, models):
    data = ["data=landscapes", "num_reference=16", "num_samples=4"]
    record = run(tmp_path, models["pixels"], "strategy=naive", *data)
    assert "fid_plus" in record["rows"][0]["figures"]
    assert record["patches"]["figures"]["fid_plus"]["value"] > 0


@pytest.fixture(scope="module")
def plain(tmp_path_factory, models) -> torch.Tensor:
    """What comes out where nothing is said of how the work is done."""
    record = run(tmp_path_factory.mktemp("plain"), models["latents"], *PROMPTED)
    return pictures(record, "multidiffusion").float()


def test_half_precision_is_that_of_the_weights(tmp_path, models, plain):
    half = run(tmp_path, models["latents"], "precision=bf16", *PROMPTED)
    assert half["rows"][0]["fingerprint"]["precision"] == "bf16"
    ours, theirs = plain, pictures(half, "multidiffusion").float()
    difference = (ours - theirs).abs().mean()
    # bfloat16 has 8 bits of mantissa; of order 1 % after two guided steps, and never none.
    assert 0 < difference < 0.1 * ours.std()


@pytest.mark.parametrize(
    "options",
    [
        ["runtime.attention=sliced"],
        ["runtime.channels_last=true"],
        ["window_batch=3"],
    ],
    ids=lambda options: options[0],
)
def test_how_the_work_is_done_hardly_changes_what_comes_out(tmp_path, models, plain, options):
    other = run(tmp_path, models["latents"], *PROMPTED, *options)
    # Kernels round differently.
    assert (plain - pictures(other, "multidiffusion").float()).abs().mean() < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kind=pixels", "context.prompt=a"], "takes no text"),
        (["kind=pixels", "context.guidance_scale=3", "context.prompt=a"], "takes no text"),
        (["kind=pixels", "context.label=3"], "label must be left out, got 3"),
        (["kind=latents", "context=seed_image"], "context.mode must be auto or text, got seed_im"),
        (["kind=latents", "context.prompt=a", "context.guide=plan"], "context.guide must be left"),
        (["kind=latents", "context.guidance_scale=3"], "guidance_scale=3.* has no use without"),
        (["kind=latents", "canvas.width=20"], "at least one window .*latent pixels, 4 px"),
        (["kind=latents", "canvas.width=130", "canvas.wrap_width=true"], "nearest are 128 and 132"),
        (["kind=latents", "runtime.offload=model"], "device must not be cpu"),
        (["kind=latents", "runtime.tile=1"], "tile must be at least 2"),
        (["kind=latents", "context.prompts=[]"], "at least one prompt"),
        (
            ["kind=latents", 'context.regions=[{"prompt": "a", "box": [0, 0, 99, 9]}]'],
            "box must lie on the canvas",
        ),
        (["kind=latents", 'context.regions=[{"prompt": "a"}]'], "needs a mask or a box"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(tmp_path, models, arguments, message, capsys):
    kind = arguments[0].removeprefix("kind=")
    command = [f"denoiser=diffusers:{models[kind]}", "strategy=naive", *QUICK, *arguments[1:]]
    assert main([*command, f"results={tmp_path / 'results'}"]) == 2
    said = " ".join(capsys.readouterr().err.split())

    assert re.search(message, said), said
    assert not list((tmp_path / "results").glob("*/results.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["context.negative_prompt=a", "context.prompt=b"], "negative_prompt is for pretrained"),
        (["context.label=1"], "label is for pretrained models"),
        (["runtime.tile=16"], "tile is for pretrained models"),
        (["runtime.attention=sliced"], "attention is for pretrained models"),
        (["context.prompts=[a,b]"], "context.prompts is for pretrained models"),
    ],
)
def test_what_is_for_pretrained_models_is_refused_on_ours(tmp_path, arguments, message, capsys):
    assert main(["strategy=naive", *QUICK, *arguments, f"results={tmp_path}"]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "words",
    [
        ["denoiser=diffusers:owner/model"],
        ["--denoiser=diffusers:owner/model"],
        ["--denoiser", "diffusers:owner/model"],
    ],
)
def test_a_pretrained_model_brings_its_defaults(words):
    settings = parse(words).settings
    assert (settings.num_samples, settings.batch_size, settings.real) == (4, 1, None)
    assert settings.solver == Euler(num_steps=50)
    own = parse(["denoiser=diffusers:owner/model", "num_samples=9", "data=landscapes"]).settings
    assert own.num_samples == 9
    assert own.real is not None


def test_the_words_of_the_runtime_may_stand_alone():
    short = parse(["precision=bf16", "compile=true", "window_batch=16"]).settings.runtime
    assert short == Runtime(precision="bf16", compile=True, window_batch=16)


@pytest.mark.parametrize(
    ("offload", "moved_by"),
    [
        ("none", "to"),
        ("model", "enable_model_cpu_offload"),
        ("sequential", "enable_sequential_cpu_offload"),
    ],
)
def test_networks_are_moved_as_asked_for(offload, moved_by):
    pipeline = mock.Mock(components={})
    place_pipeline(pipeline, torch.device("cuda"), Runtime(offload=offload))
    moved = {name for name, *_ in pipeline.method_calls} - {"register_modules"}
    assert moved == {moved_by}


def test_a_wrapped_strategy_shows_what_it_is(models):
    model = load_model(f"diffusers:{models['latents']}", Runtime())
    strategy = parse(["strategy=diffcollage"]).strategies["diffcollage"]
    fitted = model.fitted(strategy, Runtime())
    assert isinstance(fitted.core, ParallelStrategy)
    assert fitted.denoised(Canvas(height=33, width=70)) == Canvas(height=9, width=18, channels=4)
    assert model.patch == 32


def test_regions_share_what_they_both_claim(tmp_path):
    canvas = Canvas(height=4, width=8)
    Image.new("L", (2, 1), 255).save(tmp_path / "everywhere.png")
    left = Region(prompt="left", box=(0, 0, 4, 4))
    all_of_it = Region(prompt="all", mask=tmp_path / "everywhere.png")
    background, first, second = region_masks([left, all_of_it], canvas)
    assert (background == 0).all()
    assert (first[:, :4] == 0.5).all()
    assert (first[:, 4:] == 0).all()
    assert (second[:, 4:] == 1).all()
    with pytest.raises(FileNotFoundError, match="must be an image file"):
        region_masks([Region(prompt="a", mask=tmp_path / "none.png")], canvas)
