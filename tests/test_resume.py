"""A training that was cut off and resumed ends in the same bits as one that was not.

Lightning writes a checkpoint to the folder for temporary files and moves it to its place. Within
one file system the move is a rename, so `last.ckpt` is the old one or the new one, never half of
one. Where the two lie on different file systems the move copies, and a process killed in the
middle leaves half a `last.ckpt`; the numbered checkpoint, written before it, is whole.
"""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_training import (
    STEPS,
    CrashError,
    checkpoint,
    configuration,
    recorded,
    recording,
    run,
    run_apart,
    stopping,
)
from tests.tiny_training import write_configuration as written

STATE = ("state_dict", "current_model_state", "averaging_state", "optimizer_states")
EVERY_EPOCH = {"every_n_train_steps": None, "every_n_epochs": 1}


def prepared(folder: Path, *, workers: int = 0, saving: dict[str, Any] | None = None) -> Path:
    """Writes a configuration with dropout, whose randomness must resume like all other."""
    config = configuration(folder)
    config["model"]["network"]["init_args"]["dropout"] = 0.3
    config["data"]["class_path"] = "tests.tiny_training.Numbered"
    config["data"]["init_args"]["num_workers"] = workers
    config["trainer"]["callbacks"][1]["init_args"] |= saving or {}
    return written(folder, config)


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Returns where two nested states differ in any bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return [d for key in one for d in differences(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list | tuple):
        pairs = enumerate(zip(one, other, strict=True))
        return [d for index, pair in pairs for d in differences(*pair, f"{place}/{index}")]
    same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    return [] if same else [place]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, Any]:
    """What a whole training ends with."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    run("fit", prepared(folder), recording(folder))
    assert recorded(folder) == list(range(4 * STEPS))
    return checkpoint(folder / "last.ckpt")


def assert_same_end(folder: Path, uninterrupted: dict[str, Any]) -> None:
    resumed = checkpoint(folder / "last.ckpt")
    assert resumed["global_step"] == uninterrupted["global_step"] == STEPS
    for key in (*STATE, "lr_schedulers"):
        assert differences(resumed[key], uninterrupted[key]) == []


# Epochs have 4 steps: these are the middle and the end of the first and of the second.
@pytest.mark.parametrize(("workers", "step"), [(0, 2), (1, 4), (1, 5), (0, 8)])
def test_a_resumed_training_ends_in_the_same_bits(tmp_path, uninterrupted, workers, step):
    path = prepared(tmp_path, workers=workers)
    with pytest.raises(CrashError):
        run("fit", path, stopping(step))
    flags = [f"--ckpt_path={tmp_path / 'last.ckpt'}", *recording(tmp_path)]
    run("fit", path, flags)
    assert recorded(tmp_path) == list(range(4 * step, 4 * STEPS))
    assert_same_end(tmp_path, uninterrupted)


@pytest.mark.parametrize(
    ("workers", "limit"), [(1, {"max_steps": 12}), (0, {"max_steps": -1, "max_epochs": 3})]
)
def test_checkpoints_of_whole_epochs_resume_twice(tmp_path, workers, limit):
    # Lightning counts an epoch twice when it resumes from its end, if the training counts steps.
    limits = [f"--trainer.{key}={value}" for key, value in limit.items()]
    for folder, stops in ((tmp_path / "whole", []), (tmp_path / "parts", [5, 9])):
        path = prepared(folder, workers=workers, saving=EVERY_EPOCH)
        resuming = []
        for step in stops:
            with pytest.raises(CrashError):
                run("fit", path, [*limits, *resuming, *stopping(step)])
            resuming = ["--ckpt_path=last"]
        run("fit", path, [*limits, *resuming, *recording(folder)])
    assert recorded(tmp_path / "parts") == list(range(32, 48))
    whole, parts = (checkpoint(tmp_path / name / "last.ckpt") for name in ("whole", "parts"))
    for key in (*STATE, "lr_schedulers"):
        assert differences(parts[key], whole[key]) == []


def test_a_killed_training_resumes_from_its_last_checkpoint(tmp_path, uninterrupted):
    path = prepared(tmp_path, saving={"every_n_train_steps": 2})
    killed = run_apart("fit", path, stopping(7, kill=True))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert checkpoint(tmp_path / "last.ckpt")["global_step"] == 6
    run("fit", path, ["--ckpt_path=last", *recording(tmp_path)])
    assert recorded(tmp_path) == list(range(24, 4 * STEPS))
    assert_same_end(tmp_path, uninterrupted)


@pytest.mark.parametrize("function", ["torch.save", "fsspec.implementations.local.shutil.move"])
def test_a_crash_while_saving_leaves_the_checkpoint_before(tmp_path, monkeypatch, function):
    path = prepared(tmp_path)
    with pytest.raises(CrashError):
        run("fit", path, stopping(3))

    def crash(*args: Any, **kwargs: Any) -> None:
        raise CrashError

    with monkeypatch.context() as patched:
        patched.setattr(function, crash)
        with pytest.raises(CrashError):
            run("fit", path, ["--ckpt_path=last"])
    assert checkpoint(tmp_path / "last.ckpt")["global_step"] == 3


def test_seconds_add_up_over_the_parts_of_a_training(tmp_path):
    path = prepared(tmp_path)
    with pytest.raises(CrashError):
        run("fit", path, stopping(3))
    content = checkpoint(tmp_path / "last.ckpt")
    content["provenance"]["seconds"] = 1000
    torch.save(content, tmp_path / "older.ckpt")
    run("fit", path, [f"--ckpt_path={tmp_path / 'older.ckpt'}"])
    # The rest takes a second or so; a minute leaves room for any machine.
    seconds = checkpoint(tmp_path / f"step={STEPS}.ckpt")["provenance"]["seconds"]
    assert 1000 <= seconds < 1060
