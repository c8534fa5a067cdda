"""What becomes of a training when it ends, is stopped, begun twice, or gone on with otherwise."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from denoisers.checkpoint import load_denoiser
from lightning_modules.averaging import EMA
from lightning_modules.checkpoints import Checkpoints
from lightning_modules.command_line import main
from lightning_modules.errors import TrainingError
from lightning_modules.export import export
from tests.test_resume import STATE, differences
from tests.tiny_training import (
    checkpoint,
    command_line,
    configuration,
    recorded,
    recording,
    run,
    terminating,
    write_configuration,
)

EVERY = 4  # steps between numbered checkpoints, of which the last step is none
CHECKPOINTS = "lightning_modules.checkpoints.Checkpoints"
LATE = {"every_n_train_steps": 100_000}


def configured(folder: Path, *, ema: dict[str, Any] | None = None, **saving: Any) -> Path:
    """Writes a configuration with the project's own callbacks, which saves every fourth step."""
    config = configuration(folder)
    config["trainer"] |= {"default_root_dir": str(folder), "max_steps": 6}
    config["trainer"]["callbacks"] = [
        {
            "class_path": "lightning_modules.averaging.EMA",
            "init_args": {"decay": 0.8} | (ema or {}),
        },
        {
            "class_path": CHECKPOINTS,
            "init_args": {"every_n_train_steps": EVERY} | saving,
        },
    ]
    config["data"]["class_path"] = "tests.tiny_training.Numbered"
    return write_configuration(folder, config)


def without_average(config: Path) -> None:
    """Takes weight averaging out of a configuration."""
    content = yaml.safe_load(config.read_text())
    del content["trainer"]["callbacks"][0]
    config.write_text(yaml.safe_dump(content))


def other_callback(config: Path, ours: str, theirs: str) -> None:
    """Puts another callback in the place of one of ours."""
    config.write_text(config.read_text().replace(ours, theirs))


def last(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


def refused(capsys, subcommand: str, config: Path, flags: list[str]) -> str:
    """Returns the sentence that a command line ends in."""
    with pytest.raises(SystemExit) as left:
        run(subcommand, config, flags)
    assert left.value.code == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith("error: ")
    return sentence


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with a training of six steps, which nothing disturbed."""
    folder = tmp_path_factory.mktemp("finished")
    run("fit", configured(folder), recording(folder))
    return folder


@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        ([], 6),
        (["--trainer.max_steps=3"], 3),  # before the first numbered one
        (["--trainer.max_steps=-1", "--trainer.max_epochs=2"], 8),
        (
            ["--trainer.max_steps=-1", "--trainer.max_epochs=1", "--trainer.limit_train_batches=3"],
            3,
        ),
        (["--trainer.accumulate_grad_batches=2", "--trainer.max_steps=3"], 3),
        (["--trainer.limit_val_batches=0"], 6),
        (["--trainer.callbacks.save_top_k=0"], 6),
    ],
)
def test_the_last_step_is_saved_however_a_training_ends(tmp_path, flags, steps):
    run("fit", configured(tmp_path), [*flags, *recording(tmp_path)])
    content = checkpoint(last(tmp_path))
    assert content["global_step"] == steps
    trained = torch.load(tmp_path / "rank0.pt", weights_only=True)
    # On_train_end puts the average in the place of the weights: it is what `state_dict` holds.
    assert differences(content["state_dict"], trained) == []
    assert differences(content["current_model_state"], trained) != []


def test_a_configuration_of_lightnings_own_callbacks_gets_the_projects(tmp_path):
    config = configured(tmp_path, dirpath=str(tmp_path / "checkpoints"))
    other_callback(config, CHECKPOINTS, "lightning.pytorch.callbacks.ModelCheckpoint")
    other_callback(
        config, "lightning_modules.averaging.EMA", "lightning.pytorch.callbacks.EMAWeightAveraging"
    )
    cli = run("fit", config)
    assert checkpoint(last(tmp_path))["global_step"] == 6
    assert {type(each) for each in cli.trainer.callbacks} >= {EMA, Checkpoints}


def test_the_last_step_is_saved_when_time_is_up(tmp_path):
    flags = ["--trainer.max_steps=100000", "--trainer.max_time=00:00:00:02"]
    cli = run("fit", configured(tmp_path, **LATE), flags)
    assert 0 < cli.trainer.global_step < 100_000
    assert checkpoint(last(tmp_path))["global_step"] == cli.trainer.global_step


# Epochs have four steps, each followed by a validation of two batches.
@pytest.mark.parametrize(("step", "validating"), [(3, False), (4, False), (4, True), (5, False)])
def test_what_was_terminated_ends_in_the_same_bits(tmp_path, finished, step, validating):
    config = configured(tmp_path, **LATE)
    with pytest.raises(SystemExit) as left:
        run("fit", config, terminating(step, validating=validating))
    assert left.value.code == 128 + signal.SIGTERM
    assert checkpoint(last(tmp_path))["global_step"] == step
    run("fit", config, ["--ckpt_path=last", *recording(tmp_path)])
    assert recorded(tmp_path) == recorded(finished)[4 * step :]
    one, other = (checkpoint(last(folder)) for folder in (finished, tmp_path))
    assert one["global_step"] == other["global_step"]
    for key in (*STATE, "lr_schedulers"):
        assert differences(one[key], other[key]) == []


def interrupted(folder: Path, flags: list[str]) -> tuple[int, str]:
    """Presses Ctrl-C when a training has begun; returns its status and what it said."""
    config = configured(folder, **LATE)
    words = command_line("fit", config, ["--trainer.max_steps=100000", *flags, *recording(folder)])
    process = subprocess.Popen(
        [sys.executable, "-m", "lightning_modules", *words],
        cwd=Path(__file__).parents[1],
        stderr=subprocess.PIPE,
        text=True,
    )
    shown = folder / "rank0.txt"
    while not (shown.is_file() and shown.read_text().count("\n") >= 6):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    return process.returncode, said


def test_a_training_that_is_interrupted_says_so_and_is_kept(tmp_path):
    status, said = interrupted(tmp_path, ["--data.init_args.num_workers=1"])
    assert status == 128 + signal.SIGINT
    assert "--ckpt_path" in said.splitlines()[-1]
    step = checkpoint(last(tmp_path))["global_step"]
    assert step >= 6
    (tmp_path / "rank0.txt").unlink()
    flags = [f"--trainer.max_steps={step + 2}", "--ckpt_path=last", *recording(tmp_path)]
    run("fit", configured(tmp_path, **LATE), flags)
    assert recorded(tmp_path) == list(range(4 * step, 4 * (step + 2)))


@pytest.mark.parametrize("own", [True, False])
def test_a_second_training_in_the_same_folder_is_refused(finished, tmp_path, capsys, own):
    before = last(finished).read_bytes()
    config = configured(finished)
    if not own:  # Lightning's own callback, with a folder that is named
        config = configured(tmp_path, dirpath=str(finished / "checkpoints"))
        other_callback(config, CHECKPOINTS, "lightning.pytorch.callbacks.ModelCheckpoint")
    said = refused(capsys, "fit", config, [])
    assert "last.ckpt" in said
    assert "default_root_dir" in said
    assert last(finished).read_bytes() == before
    assert not list(finished.rglob("last-v1.ckpt"))


def test_two_trainings_in_folders_of_their_own_export_their_own(finished, tmp_path):
    flags = [f"--trainer.default_root_dir={tmp_path}", "--model.seed=1"]
    run("fit", configured(tmp_path), flags)
    for folder in (finished, tmp_path):
        export(last(folder), tmp_path / f"{folder.name}.safetensors")
    one, other = (load_denoiser(tmp_path / f"{f.name}.safetensors") for f in (finished, tmp_path))
    assert differences(one.state_dict(), other.state_dict()) != []


def test_going_on_from_an_older_checkpoint_leaves_one_last(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    older = next((folder / "checkpoints").glob("*step=4.ckpt"))
    run("fit", configured(folder), [f"--ckpt_path={older}", "--trainer.max_steps=7"])
    assert [path.name for path in (folder / "checkpoints").glob("last*")] == ["last.ckpt"]
    assert checkpoint(last(folder))["global_step"] == 7


def test_a_copy_elsewhere_and_what_a_cluster_left_go_on(finished, tmp_path, monkeypatch):
    folder = tmp_path / "my runs"
    shutil.copytree(finished, folder)
    shutil.copy(last(folder), tmp_path / "backup.ckpt")
    flags = ["--trainer.max_steps=7"]
    run("fit", configured(folder), [*flags, f"--ckpt_path={tmp_path / 'backup.ckpt'}"])
    assert checkpoint(last(folder))["global_step"] == 7
    shutil.copy(last(folder), folder / "hpc_ckpt_1.ckpt")
    run("fit", configured(folder), ["--trainer.max_steps=8", "--ckpt_path=hpc"])
    assert checkpoint(last(folder))["global_step"] == 8


def test_several_callbacks_that_save_go_on(tmp_path):
    best = [
        "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint",
        f"--trainer.callbacks.dirpath={tmp_path / 'best'}",
        "--trainer.callbacks.monitor=val/loss",
        "--trainer.callbacks.save_last=link",
    ]
    run("fit", configured(tmp_path), [*best, "--trainer.max_steps=5"])
    run("fit", configured(tmp_path), [*best, "--trainer.max_steps=7", "--ckpt_path=last"])
    for path in (last(tmp_path), tmp_path / "best" / "last.ckpt"):
        assert checkpoint(path)["global_step"] == 7
        assert not path.is_symlink()


def test_without_a_callback_that_saves_one_is_added(tmp_path):
    config = configured(tmp_path)
    with pytest.raises(SystemExit, match="143"):
        run("fit", config, ["--trainer.callbacks=null", *terminating(3)])
    assert checkpoint(last(tmp_path))["global_step"] == 3
    folder = tmp_path / "none"
    run(
        "fit",
        configured(folder),
        ["--trainer.callbacks=null", "--trainer.enable_checkpointing=false"],
    )
    assert not list(folder.rglob("*.ckpt"))


def test_where_a_training_began_is_not_read_again(finished, tmp_path, capsys):
    export(last(finished), tmp_path / "start.safetensors", dtype="float32")
    config = configured(tmp_path)
    began = [f"--model.initial_weights={tmp_path / 'start.safetensors'}"]
    run("fit", config, [*began, "--trainer.max_steps=2"])
    (tmp_path / "start.safetensors").unlink()
    run("fit", config, [*began, "--ckpt_path=last"])
    assert "model.initial_weights" in capsys.readouterr().err
    assert checkpoint(last(tmp_path))["global_step"] == 6


def test_a_folder_is_refused_to_a_trainer_without_the_command_line(finished):
    cli = main([f"--config={configured(finished)}"], run=False)
    with pytest.raises(TrainingError, match=r"last\.ckpt"):
        cli.trainer.fit(cli.model, cli.datamodule)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(("starting", "updates"), [(1000, 0), (4, 2)])
def test_an_average_that_has_not_begun_is_not_exported(tmp_path, own, starting, updates):
    config = configured(tmp_path, ema={"update_starting_at_step": starting})
    if not own:
        other_callback(
            config, "lightning_modules.averaging.EMA", "tests.tiny_training.LightningsEMA"
        )
    run("fit", config)
    content = checkpoint(last(tmp_path))
    export(last(tmp_path), tmp_path / "tiny.safetensors", dtype="float32")
    source = json.loads((tmp_path / "tiny.json").read_text())["provenance"]
    assert source["ema_updates"] == updates
    assert source["weights"] == ("EMA" if updates else "last step")
    expected = content["state_dict" if updates else "current_model_state"]
    for name, weight in load_denoiser(tmp_path / "tiny.safetensors").state_dict().items():
        assert torch.equal(weight, expected[f"denoiser.{name}"]), name


def test_an_average_that_has_not_begun_leaves_the_weights_in_the_model(tmp_path):
    config = configured(tmp_path, ema={"update_starting_at_step": 1000})
    saved = run("fit", config).model.state_dict()
    assert differences(saved, checkpoint(last(tmp_path))["state_dict"]) == []
    content = yaml.safe_load(config.read_text())
    del content["trainer"]["callbacks"][1]
    config.write_text(yaml.safe_dump(content))
    cli = run("fit", config, ["--trainer.enable_checkpointing=false"])
    assert differences(cli.model.state_dict(), saved) == []
    fresh = main([f"--config={tmp_path / 'tiny.yaml'}"], run=False).model
    assert differences(cli.model.state_dict(), fresh.state_dict()) != []


def test_validation_before_the_average_begins_is_of_the_current_weights(tmp_path):
    # One step from fresh weights lowers the loss of patches that are all alike.
    flags = ["--data.class_path=tests.tiny_training.Black", "--trainer.check_val_every_n_epoch=1"]
    losses = []
    for name in ("late", "never"):
        config = configured(tmp_path / name, ema={"update_starting_at_step": 1000}, **LATE)
        if name == "never":
            without_average(config)
        run("fit", config, [*flags, "--trainer.max_steps=4"])
        losses.append(checkpoint(last(tmp_path / name))["provenance"]["losses"]["val/loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("removed", "named"), [("EMA", "EMAWeightAveraging"), ("EarlyStopping", "EarlyStopping")]
)
def test_going_on_without_a_callback_whose_state_is_saved_is_refused(
    tmp_path, capsys, removed, named
):
    early = [
        "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping",
        "--trainer.callbacks.monitor=val/loss",
        "--trainer.callbacks.check_on_train_epoch_end=false",
    ]
    config = configured(tmp_path)
    run("fit", config, [*early, "--trainer.max_steps=4"])
    if removed == "EMA":
        without_average(config)
    said = refused(capsys, "fit", config, ["--ckpt_path=last", *(early * (removed == "EMA"))])
    assert named in said


@pytest.mark.parametrize(
    ("subcommand", "flag", "key"),
    [
        ("fit", "--model.optimizer.init_args.lr=0.5", "model.optimizer.init_args.lr=0.5"),
        ("fit", "--model.half_share=0.25", "model.half_share=0.25"),
        ("fit", "--model.warmup_steps=7", "model.warmup_steps=7"),
        ("fit", "--model.network.init_args.channels=[64]", "model.network.init_args.channels"),
        ("fit", "--model.noise_levels.init_args.p_mean=0.5", "model.noise_levels.init_args.p_mean"),
        ("validate", "--model.seed=3", "model.seed=3"),
        ("test", "--model.sigma_data=0.4", "model.sigma_data=0.4"),
        ("predict", "--model.seed=3", "model.seed=3"),
    ],
)
def test_other_settings_of_the_model_than_the_checkpoints_are_refused(
    finished, capsys, subcommand, flag, key
):
    said = refused(capsys, subcommand, finished / "tiny.yaml", ["--ckpt_path=last", flag])
    assert key in said
    assert "initial_weights" in said


def test_settings_of_data_trainer_and_measuring_may_change(finished):
    flags = ["--ckpt_path=last", "--data.init_args.val_patches=3", "--model.val_sigmas=[0.3]"]
    cli = run("validate", finished / "tiny.yaml", [*flags, "--trainer.precision=bf16-mixed"])
    assert "val/loss_sigma_0.3" in cli.trainer.callback_metrics


def damage(path: Path, how: str) -> None:
    whole = path.read_bytes()
    match how:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "text":
            path.write_text("no checkpoint")
        case "other dictionary":
            torch.save({"weights": torch.zeros(3)}, path)
        case "a tensor":
            torch.save(torch.zeros(3), path)
        case "weights alone" | "no provenance":
            key = {"weights alone": "optimizer_states", "no provenance": "provenance"}[how]
            content = checkpoint(path)
            del content[key]
            torch.save(content, path)
        case "folder":
            path.unlink()
            path.mkdir()
        case "gone":
            path.unlink()


KINDS = ("no provenance", "empty", "cut", "text", "other dictionary", "a tensor", "folder", "gone")


@pytest.mark.parametrize("how", KINDS)
def test_damaged_checkpoints_are_refused_in_one_sentence(finished, tmp_path, capsys, how):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    damage(last(folder), how)
    said = refused(capsys, "fit", configured(folder), [f"--ckpt_path={last(folder)}"])
    assert str(last(folder)) in said
    with pytest.raises(SystemExit, match="2"):
        export(last(folder), tmp_path / "out.safetensors")
    assert str(last(folder)) in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_weights_alone_can_be_exported_and_not_gone_on_with(finished, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    damage(last(folder), "weights alone")
    assert "optimizer_states" in refused(capsys, "fit", configured(folder), ["--ckpt_path=last"])
    export(last(folder), tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").is_file()


@pytest.mark.parametrize("subcommand", ["fit", "validate"])
@pytest.mark.parametrize("name", ["last", "hpc", "best"])
def test_a_name_for_a_checkpoint_that_is_not_there_is_refused(tmp_path, capsys, subcommand, name):
    said = refused(capsys, subcommand, configured(tmp_path), [f"--ckpt_path={name}"])
    assert f"--ckpt_path {name}" in said
    assert not list(tmp_path.rglob("*.ckpt"))
