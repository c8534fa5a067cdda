"""Training through the command line: what it logs, crops, keeps, exports and refuses."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torchvision.utils import make_grid

from denoisers.checkpoint import load_denoiser
from lightning_modules.__main__ import main
from lightning_modules.denoising import DenoiserTraining
from lightning_modules.export import export
from lightning_modules.previews import Previews
from sampling.images import to_uint8
from sampling.noise import CanvasNoise
from sampling.noise_levels.base import Levels
from sampling.solvers import Heun
from strategies.canvas import Canvas
from strategies.diffcollage import DiffCollage
from tests.tiny_training import MODEL, STEPS, STEPS_PER_EPOCH, checkpoint, configuration, run
from tests.tiny_training import write_configuration as written

FIT_LOGS = Path("logs", "version_0")  # `trained` begins with the fit; later runs count up
KINDS = ("outpainting", "wavefront", "independent")
LOSSES = {"loss", "loss_sigma_0.1", "loss_sigma_1", "loss_maps"} | {
    f"loss_maps_{kind}" for kind in KINDS
}
PREVIEWS = {
    "class_path": "lightning_modules.previews.Previews",
    "init_args": {
        "strategy": {
            "class_path": "strategies.diffcollage.DiffCollage",
            "init_args": {
                "solver": {"class_path": "sampling.solvers.Heun", "init_args": {"num_steps": 3}}
            },
        },
        "num_patches": 2,
        "num_strips": 2,
        "strip_width": 40,
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a finished training, `tiny.yaml`, and a checkpoint of every step."""
    folder = tmp_path_factory.mktemp("trained")
    config = configuration(folder)
    config["trainer"]["callbacks"].append(PREVIEWS)
    config["model"]["network"]["init_args"]["dropout"] = 0.3
    run("fit", written(folder, config))
    return folder


@pytest.fixture
def module(tmp_path) -> DenoiserTraining:
    """A module as the command line builds it, untrained, that logs nowhere."""
    module = main([f"--config={written(tmp_path)}"], run=False).model
    module.log = lambda *args, **kwargs: None
    return module


def final(folder: Path) -> str:
    return f"--ckpt_path={folder / 'last.ckpt'}"


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_evaluation_reports_every_band_and_their_mean(trained, stage):
    flags = [final(trained), "--model.likelihood.paths=[]"]
    metrics = run(stage, trained / "tiny.yaml", flags).trainer.callback_metrics
    prefix = {"validate": "val", "test": "test"}[stage]
    assert set(metrics) == {f"{prefix}/{name}" for name in LOSSES}
    bands = [metrics[f"{prefix}/loss_sigma_{level}"] for level in ("0.1", "1")]
    # A mean of float32 numbers of order 1, taken in another order.
    assert metrics[f"{prefix}/loss"].item() == pytest.approx(sum(bands).item() / 2, rel=1e-5)
    kinds = [metrics[f"{prefix}/loss_maps_{kind}"] for kind in KINDS]
    assert metrics[f"{prefix}/loss_maps"].item() == pytest.approx(sum(kinds).item() / 3, rel=1e-5)


def test_two_validations_of_the_same_weights_agree_to_the_last_bit(trained):
    first, second = (
        run("validate", trained / "tiny.yaml", [final(trained), f"--seed_everything={seed}"])
        for seed in (0, 1)
    )
    assert first.trainer.callback_metrics == second.trainer.callback_metrics


def test_a_fit_validates_the_averaged_weights(trained):
    # The last validation of the fit follows step 8, whose checkpoint holds the same average.
    flags = [f"--ckpt_path={trained / 'step=8.ckpt'}"]
    alone = run("validate", trained / "tiny.yaml", flags).trainer.callback_metrics
    logged = scalars(trained / FIT_LOGS)
    assert set(logged) >= {f"val/{name}" for name in LOSSES} | {"train/loss"}
    for name, value in alone.items():
        assert logged[name][-1] == pytest.approx(value.item(), rel=1e-6)  # float32


def events(logs: Path) -> EventAccumulator:
    """What a run wrote to its folder of logs."""
    (path,) = logs.glob("events*")
    accumulator = EventAccumulator(str(path), size_guidance={"images": 0})
    accumulator.Reload()
    return accumulator


def scalars(logs: Path) -> dict[str, list[float]]:
    accumulator = events(logs)
    tags = accumulator.Tags()["scalars"]
    return {tag: [event.value for event in accumulator.Scalars(tag)] for tag in tags}


def test_the_loss_falls_on_constant_patches(tmp_path):
    config = configuration(tmp_path)
    config["data"]["class_path"] = "tests.tiny_training.Black"
    config["trainer"]["max_steps"] = 40
    config["trainer"]["callbacks"].pop()
    path = written(tmp_path, config)
    before = run("validate", path).trainer.callback_metrics["val/loss"]
    logs = Path(run("fit", path).trainer.log_dir)
    # A zero network's loss on x0 = -1 at level s is (s^2 + 1/16) / (s^2 / 4 + 1/16): 1.1 and 3.4
    # at the two levels, 2.26 on average. Who knows x0 but not the noise is left with the second
    # term above the line, 0.58 on average; half of the first is far from either. 4,608 values a
    # level: the standard error of the average is 0.017.
    assert before.item() == pytest.approx(2.26, abs=5 * 0.017)
    assert scalars(logs)["val/loss"][-1] < before / 2


def crops_of(module: DenoiserTraining, count: int) -> list[tuple[int, int, int, int]]:
    """(height, width, top, left) of what the network is trained on, for `count` batches."""
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    patch = torch.stack([rows, columns, rows])[None]
    crops = []

    def losses(x0: Tensor, sigma: Tensor, eps: Tensor, context: None) -> tuple[Tensor, None]:
        assert eps.shape == x0.shape
        top, left = x0[0, :2, 0, 0].int().tolist()
        height, width = x0.shape[2:]
        assert torch.equal(x0, patch[..., top : top + height, left : left + width])
        crops.append((height, width, top, left))
        return torch.zeros_like(x0), None

    module.denoiser.losses = losses
    for batch_idx in range(count):
        module.training_step(patch, batch_idx)
    return crops


def test_half_of_the_batches_are_half_patches_at_every_offset_of_both_axes(module):
    crops = crops_of(module, 1000)
    assert {crop[:2] for crop in crops} == {(16, 16), (8, 16), (16, 8)}
    # Shares of 1,000 batches: standard errors of 0.016 (1/2) and 0.014 (1/4); five of each.
    shares = {size: sum(crop[:2] == size for crop in crops) / 1000 for size in [(8, 16), (16, 8)]}
    assert sum(shares.values()) == pytest.approx(0.5, abs=5 * 0.016)
    for (height, width), share in shares.items():
        assert share == pytest.approx(0.25, abs=5 * 0.014)
        offsets = [top + left for *size, top, left in crops if size == [height, width]]
        # About 250 crops at 9 offsets: 28 of each, standard error sqrt(250 * 8/81) = 5.
        counts = np.bincount(offsets, minlength=9)
        assert len(counts) == 9
        assert counts.min() > 0
        assert counts == pytest.approx(len(offsets) / 9, abs=25)


@pytest.mark.parametrize(
    ("share", "axes", "sizes"),
    [
        (0.0, ("height",), {(16, 16)}),
        (1.0, ("width",), {(16, 8)}),
        (1.0, ("height",), {(8, 16)}),
    ],
)
def test_halves_follow_the_settings(module, share, axes, sizes):
    module.half_share, module.half_axes = share, axes
    assert {crop[:2] for crop in crops_of(module, 50)} == sizes


class Fixed:
    """Noise levels that were drawn before."""

    def __init__(self, sigma: Tensor, weight: Tensor | None = None) -> None:
        self.levels = Levels(sigma, torch.ones(1, 1, 1, 1) if weight is None else weight)

    def draw(self, *args: Any, **kwargs: Any) -> Levels:
        return self.levels


def test_the_loss_is_the_weighted_mean_over_noisy_pixels(module):
    sigma, weight = torch.rand(4, 1, 16, 16) + 0.1, torch.rand(4, 1, 16, 16) + 0.5
    sigma[torch.rand(4, 1, 16, 16) < 0.6] = 0.0
    module.half_share, module.noise_levels = 0.0, Fixed(sigma, weight)
    errors = []
    per_pixel = module.denoiser.losses
    module.denoiser.losses = lambda *args: errors.append(per_pixel(*args)) or errors[-1]
    loss = module.training_step(torch.rand(4, 3, 16, 16) * 2 - 1, 0)
    expected = (weight * errors[0][0])[(sigma > 0).expand(4, 3, 16, 16)].mean()
    # Two orders of summing 1,000 float32 numbers.
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0.0)


def test_the_variance_is_trained_beside_the_estimate(module):
    sigma, weight = torch.rand(4, 1, 16, 16) + 0.1, torch.rand(4, 1, 16, 16) + 0.5
    sigma[torch.rand(4, 1, 16, 16) < 0.6] = 0.0
    module.half_share, module.noise_levels = 0.0, Fixed(sigma, weight)
    module.variance_weight = 0.3
    squared, nll = torch.rand(4, 3, 16, 16), torch.randn(4, 1, 16, 16)
    squared, nll = squared * (sigma > 0), nll * (sigma > 0)
    module.denoiser.losses = lambda *args: (squared, nll)
    loss = module.training_step(torch.zeros(4, 3, 16, 16), 0)
    noisy = (sigma > 0).expand(4, 3, 16, 16)
    expected = (weight * squared)[noisy].mean() + 0.3 * (weight * nll)[noisy[:, :1]].mean()
    # Two orders of summing 1,000 float32 numbers.
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


def test_training_starts_from_the_weights_it_is_given(trained, tmp_path):
    export(trained / "last.ckpt", tmp_path / "tiny.safetensors", dtype="float32")
    flags = [f"--config={trained / 'tiny.yaml'}", "--trainer.logger=false"]
    weights = f"--model.initial_weights={tmp_path / 'tiny.safetensors'}"
    given = load_denoiser(tmp_path / "tiny.safetensors").network.state_dict()
    network = main([*flags, weights], run=False).model.denoiser.network.state_dict()
    assert all(torch.equal(network[name], given[name]) for name in given)
    fresh = main(flags, run=False).model.denoiser.network.state_dict()
    assert not torch.equal(fresh["conv_in.weight"], given["conv_in.weight"])


def test_sizes_that_cannot_be_cut_are_refused_before_training(trained, capsys):
    flags = [f"--config={trained / 'tiny.yaml'}", "--model.noise_levels.region_multiple=16"]
    with pytest.raises(SystemExit):
        main(flags, run=False)
    assert "16 x 16 px cannot be cut into regions" in capsys.readouterr().err


def test_a_batch_without_noise_has_no_loss(module):
    module.half_share, module.noise_levels = 0.0, Fixed(torch.zeros(2, 1, 16, 16))
    loss = module.training_step(torch.zeros(2, 3, 16, 16), 0)
    loss.backward()
    gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
    assert loss.item() == 0.0
    assert all(bool((gradient == 0).all()) for gradient in gradients)


def weights_of(content: dict[str, Any], key: str) -> dict[str, Tensor]:
    prefix = "denoiser.network."
    return {
        name.removeprefix(prefix): value
        for name, value in content[key].items()
        if name.startswith(prefix)
    }


def test_a_checkpoint_holds_the_running_average_of_all_steps(trained):
    steps = [checkpoint(trained / f"step={step}.ckpt") for step in range(1, STEPS + 1)]
    average = weights_of(steps[0], "current_model_state")
    for step in steps[1:]:
        current = weights_of(step, "current_model_state")
        average = {name: 0.8 * average[name] + 0.2 * current[name] for name in average}
    saved = weights_of(steps[-1], "state_dict")
    for name, value in average.items():
        # Ten sums of float32 numbers of order 1: some 1e-7 each.
        torch.testing.assert_close(saved[name], value, rtol=1e-5, atol=1e-6)
    assert not torch.equal(saved["conv_out.weight"], current["conv_out.weight"])


def test_an_export_is_the_average_and_can_be_rebuilt(trained, tmp_path):
    output = tmp_path / "deep" / "tiny.safetensors"
    export(trained / "last.ckpt", output, dtype="float32")
    averaged = weights_of(checkpoint(trained / "last.ckpt"), "state_dict")
    exported = load_file(output)
    assert exported.keys() == averaged.keys()
    assert all(torch.equal(exported[name], averaged[name]) for name in averaged)
    denoiser = load_denoiser(output)
    assert denoiser.patch_size == 16
    assert all(
        torch.equal(denoiser.network.state_dict()[name], averaged[name]) for name in averaged
    )


def test_an_export_in_half_precision_denoises_alike(trained, tmp_path):
    outputs = [tmp_path / "half.safetensors", tmp_path / "full.safetensors"]
    export(trained / "last.ckpt", outputs[0])
    export(trained / "last.ckpt", outputs[1], dtype="float32")
    stored = load_file(outputs[0])
    parameters = load_denoiser(outputs[0]).network.named_parameters()
    assert {stored[name].dtype for name, _ in parameters} == {torch.float16}
    x_t, sigma = torch.randn(2, 3, 16, 16), torch.full((1, 1, 1, 1), 0.5)
    half, full = (load_denoiser(output)(x_t, sigma) for output in outputs)
    # float16 keeps 11 bits, 0.0005 of a weight; through six layers, at most ten times that.
    torch.testing.assert_close(half, full, rtol=0.0, atol=0.005)


def test_an_export_says_where_it_comes_from(trained, tmp_path):
    export(trained / "last.ckpt", tmp_path / "tiny.safetensors")
    beside = json.loads((tmp_path / "tiny.json").read_text())
    provenance = beside["provenance"]
    assert provenance["command"] == (
        f"python -m lightning_modules fit --config={trained / 'tiny.yaml'}"
    )
    assert provenance["steps"] == STEPS
    assert provenance["seconds"] >= 0
    assert provenance["data"] == {"class": "Landscapes", "seed": 0}
    assert provenance["weights"] == "EMA"
    assert provenance["losses"].keys() == {f"val/{name}" for name in LOSSES}
    assert beside["denoiser"]["settings"]["channels"] == MODEL["network"]["init_args"]["channels"]


def logged_picture(logs: Path, tag: str) -> Tensor:
    """The first picture of a tag, uint8, (3, height, width)."""
    (first, *_) = events(logs).Images(tag)
    assert first.step == STEPS_PER_EPOCH
    with Image.open(io.BytesIO(first.encoded_image_string)) as picture:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


@pytest.mark.parametrize(("tag", "width", "per_row"), [("patches", 16, 8), ("strips", 40, 1)])
def test_previews_show_what_the_averaged_weights_make(trained, tag, width, per_row):
    step = checkpoint(trained / f"step={STEPS_PER_EPOCH}.ckpt")
    denoiser = DenoiserTraining.load_from_checkpoint(
        trained / f"step={STEPS_PER_EPOCH}.ckpt", weights_only=False
    ).denoiser.eval()
    pictures = {}
    for key in ("state_dict", "current_model_state"):
        denoiser.network.load_state_dict(weights_of(step, key))
        with torch.no_grad():
            images = DiffCollage(solver=Heun(num_steps=3)).generate(
                denoiser, Canvas(height=16, width=width), CanvasNoise(0, range(2))
            )
        pictures[key] = make_grid(to_uint8(images), nrow=per_row)
    logged = logged_picture(trained / FIT_LOGS, tag)
    assert torch.equal(logged, pictures["state_dict"])
    assert not torch.equal(logged, pictures["current_model_state"])


def test_previews_leave_the_training_as_it_is(trained, tmp_path):
    config = configuration(tmp_path)
    config["model"]["network"]["init_args"]["dropout"] = 0.3
    run("fit", written(tmp_path, config))
    without, with_previews = (checkpoint(folder / "last.ckpt") for folder in (tmp_path, trained))
    for key in ("state_dict", "current_model_state"):
        pairs = zip(without[key].values(), with_previews[key].values(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    "wrong", ["num_patches", "num_strips", "strip_width", "every_n_validations"]
)
def test_empty_previews_are_refused(wrong):
    with pytest.raises(ValueError, match="must be at least 1"):
        Previews(DiffCollage(), **{wrong: 0})


def predicted(trained: Path, folder: Path, *, batch_size: int) -> dict[str, np.ndarray]:
    flags = [
        final(trained),
        "--trainer.callbacks+=lightning_modules.previews.PatchWriter",
        f"--trainer.callbacks.init_args.folder={folder}",
        f"--data.init_args.batch_size={batch_size}",
    ]
    run("predict", trained / "tiny.yaml", flags)
    pictures = {}
    for path in sorted(folder.iterdir()):
        with Image.open(path) as picture:
            pictures[path.name] = np.array(picture).astype(int)
    return pictures


def test_predict_writes_one_picture_a_sample_whatever_the_batch_size(trained, tmp_path):
    ones = predicted(trained, tmp_path / "1", batch_size=1)
    fours = predicted(trained, tmp_path / "4", batch_size=4)
    assert list(ones) == list(fours) == [f"{number:06d}.png" for number in range(6)]
    for name, picture in ones.items():
        assert picture.shape == (16, 16, 3)
        # Convolutions of another batch size sum in another order: a value next to the border
        # between two grey levels may fall on the other side.
        assert np.abs(picture - fours[name]).max() <= 1
    assert len({picture.tobytes() for picture in ones.values()}) == 6


def test_the_learning_rate_rises_then_follows_half_a_cosine(trained):
    steps = [checkpoint(trained / f"step={step}.ckpt") for step in range(1, STEPS)]
    shares = [step["lr_schedulers"][0]["_last_lr"][0] / 1e-2 for step in steps]
    cosine = [0.01 + 0.99 * (1 + np.cos(np.pi * place / 8)) / 2 for place in range(8)]
    # After step k the next one's rate is set: two warm-up steps, then 8 of a cosine; float64.
    assert shares == pytest.approx([1.0, *cosine], rel=1e-12)


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--model.half_shares=0.5", "half_shares"),
        ("--model.network.init_args.chanels=[32]", "chanels"),
        ("--data.init_args.patch_sise=16", "patch_sise"),
        ("--trainer.max_stepz=3", "max_stepz"),
    ],
)
def test_an_unknown_key_is_named(tmp_path, capsys, flag, name):
    with pytest.raises(SystemExit, match="2"):
        run("fit", written(tmp_path), [flag])
    assert name in capsys.readouterr().err


def test_an_unknown_key_of_a_file_is_named(tmp_path, capsys):
    config = configuration(tmp_path)
    config["model"]["warmup"] = 3
    with pytest.raises(SystemExit, match="2"):
        run("fit", written(tmp_path, config))
    assert "warmup" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--data=datamodules.photos.Photos", "--data.init_args.root=/nowhere/photos"],
            "root must be a folder of images, but /nowhere/photos does not exist.",
        ),
        (["--data.init_args.batch_size=0"], "batch_size must be at least 1, got 0."),
        (
            ["--model.half_share=2"],
            "half_share must be in [0, 1] and half_axes not empty, got 2.0, ['height', 'width'].",
        ),
    ],
)
def test_what_cannot_be_built_is_told_in_one_sentence(tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit, match="2"):
        run("fit", written(tmp_path), flags)
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {message}"


def test_a_training_without_an_end_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("fit", written(tmp_path), ["--trainer.max_steps=-1"])
    assert "set trainer.max_steps or max_epochs" in capsys.readouterr().err


def test_a_missing_checkpoint_is_told_in_one_sentence(tmp_path, capsys):
    path = written(tmp_path, configuration(tmp_path))
    with pytest.raises(SystemExit) as left:
        run("validate", path, [f"--ckpt_path={tmp_path / 'none.ckpt'}"])
    assert left.value.code == 2
    assert str(tmp_path / "none.ckpt") in capsys.readouterr().err


def test_patches_of_another_size_than_the_models_are_refused(tmp_path, capsys):
    path = written(tmp_path, configuration(tmp_path))
    with pytest.raises(SystemExit, match="2"):
        run("validate", path, ["--data.init_args.patch_size=32"])
    assert "must be the same, got 16 and 32" in capsys.readouterr().err
