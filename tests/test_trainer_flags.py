"""Flags of Lightning's Trainer: those that apply train, those that do not say so in a sentence."""

from pathlib import Path

import pytest
import torch
import yaml

from tests.test_training import PREVIEWS
from tests.test_training_checkpoints import configured, last
from tests.tiny_training import checkpoint, recorded, recording, run, run_apart

APPLY = {
    "precision": ["--trainer.precision=bf16-mixed"],
    "scaled": ["--trainer.precision=16-mixed"],
    "bfloat16": ["--trainer.precision=bf16-true"],
    "double": ["--trainer.precision=64-true"],
    "deterministic": ["--trainer.deterministic=true"],
    "accumulate": ["--trainer.accumulate_grad_batches=2"],
    "clip": ["--trainer.gradient_clip_val=0.5", "--trainer.gradient_clip_algorithm=value"],
    "anomaly": ["--trainer.detect_anomaly=true"],
    "limits": [f"--trainer.limit_{part}_batches=1" for part in ("train", "val", "test", "predict")],
    "share": ["--trainer.limit_train_batches=0.5"],
    "within an epoch": ["--trainer.val_check_interval=2"],
    "profiler": ["--trainer.profiler=simple"],
    "gradients": ["--trainer.inference_mode=false"],
    "reload": ["--trainer.reload_dataloaders_every_n_epochs=1"],
    "sync_batchnorm": ["--trainer.sync_batchnorm=true"],
    "benchmark": ["--trainer.benchmark=true"],
    "at least": ["--trainer.min_steps=2", "--trainer.min_epochs=1"],
    "no logger": ["--trainer.logger=false"],
    "overfit": ["--trainer.overfit_batches=2"],
}
APART = {
    "ddp": ["--trainer.strategy=ddp", "--trainer.devices=2"],
    "ddp_spawn": ["--trainer.strategy=ddp_spawn", "--trainer.devices=2"],
    "ddp_fork": ["--trainer.strategy=ddp_fork", "--trainer.devices=2"],
}
REFUSED = {
    "--trainer.precision=16-true": "16-true",
    "--trainer.precision=transformer-engine": "transformer_engine",
    "--trainer.strategy=deepspeed": "DeepSpeed",
    "--trainer.strategy=fsdp": "fsdp",
    "--trainer.barebones=true": "barebones",
}


def prepared(folder: Path) -> Path:
    """Writes a configuration with previews and pictures of patches."""
    path = configured(folder)
    config = yaml.safe_load(path.read_text())
    config["trainer"]["callbacks"] += [
        PREVIEWS,
        {"class_path": "lightning_modules.previews.PatchWriter"},
    ]
    path.write_text(yaml.safe_dump(config))
    return path


def assert_trained(folder: Path, steps: int = 6) -> None:
    content = checkpoint(last(folder))
    assert content["global_step"] == steps
    for name, weight in content["state_dict"].items():
        assert weight.isfinite().all(), name


@pytest.mark.slow
@pytest.mark.parametrize("flags", APPLY.values(), ids=APPLY)
def test_flags_apply_to_every_stage(tmp_path, flags):
    config = prepared(tmp_path)
    run("fit", config, flags)
    assert_trained(tmp_path)
    for stage in ("validate", "test"):
        measuring = ["--model.likelihood.draws=1", "--ckpt_path=last", *flags]
        metrics = run(stage, config, measuring).trainer.callback_metrics
        assert all(torch.isfinite(value) for value in metrics.values())
    run("predict", config, ["--ckpt_path=last", *flags])
    assert list(tmp_path.glob("patches/*.png"))


@pytest.mark.slow
@pytest.mark.parametrize("flags", APART.values(), ids=APART)
def test_processes_of_every_kind_train_alike(tmp_path, flags):
    ended = run_apart("fit", prepared(tmp_path), flags)
    assert ended.returncode == 0, ended.stderr
    assert_trained(tmp_path)


@pytest.mark.parametrize(("flag", "named"), REFUSED.items())
def test_flags_that_do_not_apply_are_refused_in_one_sentence(tmp_path, capsys, flag, named):
    config = configured(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        run("fit", config, [flag])
    assert named in capsys.readouterr().err.splitlines()[-1]


def test_a_trial_run_writes_nothing_and_disturbs_nothing(tmp_path):
    run("fit", configured(tmp_path), ["--trainer.max_steps=2"])
    before = last(tmp_path).read_bytes()
    run("fit", configured(tmp_path), ["--trainer.fast_dev_run=true"])
    assert last(tmp_path).read_bytes() == before


def test_overfitting_sees_the_same_batches_every_epoch(tmp_path):
    run("fit", configured(tmp_path), ["--trainer.overfit_batches=2", *recording(tmp_path)])
    assert recorded(tmp_path) == 3 * list(range(8))


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_noise_and_levels_are_those_of_full_precision(tmp_path, precision):
    """The losses of untrained weights are the same but for the rounding of the network."""
    losses = []
    for flags in ([], [f"--trainer.precision={precision}"]):
        flags = [*flags, "--data.class_path=datamodules.landscapes.Landscapes"]
        metrics = run("validate", configured(tmp_path), flags).trainer.callback_metrics
        losses.append(torch.stack([metrics[f"val/loss_sigma_{s}"] for s in ("0.1", "1")]).double())
    # Weights of 8 bits are off by up to 0.4 %, and what they give adds up at random.
    torch.testing.assert_close(losses[0], losses[1], rtol=0.01, atol=0)
