"""A training small enough for tests, run through the command line's own entry point."""

import copy
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import lightning as L
import torch
import yaml
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from lightning.pytorch.cli import LightningCLI
from torch import Tensor
from typing_extensions import override

from datamodules.patches import Crop, PatchData, Split
from lightning_modules.__main__ import main

BATCH = 4
STEPS_PER_EPOCH = 4
STEPS = 10  # two epochs and a half

# One resolution of 32 channels without attention, on 16 x 16 patches: a step takes a few ms.
MODEL = {
    "network": {
        "class_path": "denoisers.unet.UNet",
        "init_args": {"channels": [32], "blocks": [1], "attention_levels": 0, "features": 16},
    },
    "patch_size": 16,
    "noise_levels": {
        "class_path": "sampling.noise_levels.mixed.Mixed",
        "init_args": {"region_multiple": 4},
    },
    "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1.0e-2}},
    "warmup_steps": 2,
    "val_sigmas": [0.1, 1.0],
    "predict_solver": {"class_path": "sampling.solvers.Heun", "init_args": {"num_steps": 3}},
}


class Numbered(PatchData):
    """Patches of one colour that spells their number, as the digits of base 256."""

    @override
    def crop(self, split: Split, index: int, height: int, width: int) -> Crop:
        digits = torch.tensor([index % 256, index // 256 % 256, index // 65536])
        return digits.to(torch.uint8).view(3, 1, 1).repeat(1, height, width)


class Black(PatchData):
    """Patches that are all the same."""

    @override
    def crop(self, split: Split, index: int, height: int, width: int) -> Crop:
        return torch.zeros(3, height, width, dtype=torch.uint8)


def numbers_of(batch: Tensor) -> list[int]:
    """Returns which patches of `Numbered` a batch holds."""
    digits = ((batch[:, :, 0, 0] + 1) * 127.5).round().long()
    return (digits * torch.tensor([1, 256, 65536])).sum(1).tolist()


class Recorder(Callback):
    """Writes the numbers of every training batch and the last weights, one file a rank.

    Args:
        folder: Where the files go.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    @override
    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Tensor, batch_idx: int
    ) -> None:
        with (self.folder / f"rank{trainer.global_rank}.txt").open("a") as file:
            file.write(" ".join(map(str, numbers_of(batch))) + "\n")

    @override
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        torch.save(pl_module.state_dict(), self.folder / f"rank{trainer.global_rank}.pt")


class LightningsEMA(EMAWeightAveraging):
    """Lightning's own average, which a configuration cannot name without getting the project's."""


class CrashError(Exception):
    """Ends a training where no checkpoint is due."""


class Stop(Callback):
    """Ends the training when a batch is about to begin, as a crash or a power failure would.

    Args:
        step: Optimizer steps taken before.
        kill: Whether the process kills itself, with no chance to clean up.
    """

    def __init__(self, step: int, kill: bool = False) -> None:
        self.step = step
        self.kill = kill

    @override
    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise CrashError


class Terminate(Callback):
    """Sends this process SIGTERM, as a cluster does before it takes the machine away.

    Args:
        step: Optimizer steps taken before.
        validating: Whether in the middle of the validation that follows, not after the step.
    """

    def __init__(self, step: int, validating: bool = False) -> None:
        self.step = step
        self.validating = validating

    @override
    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step and not self.validating:
            signal.raise_signal(signal.SIGTERM)

    @override
    def on_validation_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step and self.validating:
            signal.raise_signal(signal.SIGTERM)


def configuration(folder: Path) -> dict[str, Any]:
    """Returns a whole configuration whose files all go to `folder`."""
    return {
        "seed_everything": 0,
        "trainer": {
            "accelerator": "cpu",
            "max_steps": STEPS,
            "max_epochs": -1,
            "gradient_clip_val": 1.0,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": {
                "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
                "init_args": {"save_dir": str(folder), "name": "logs"},
            },
            "callbacks": [
                {
                    "class_path": "lightning.pytorch.callbacks.EMAWeightAveraging",
                    "init_args": {"decay": 0.8},
                },
                {
                    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "init_args": {
                        "dirpath": str(folder),
                        "filename": "{step}",
                        "save_last": True,
                        "save_top_k": -1,
                        "every_n_train_steps": 1,
                    },
                },
            ],
        },
        "model": copy.deepcopy(MODEL),
        "data": {
            "class_path": "datamodules.landscapes.Landscapes",
            "init_args": {
                "patch_size": 16,
                "batch_size": BATCH,
                "patches_per_epoch": BATCH * STEPS_PER_EPOCH,
                "val_patches": 6,
                "num_workers": 0,
            },
        },
    }


def write_configuration(folder: Path, config: dict[str, Any] | None = None) -> Path:
    """Writes a configuration to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config or configuration(folder)))
    return path


def command_line(subcommand: str, config: Path, flags: Sequence[str] = ()) -> list[str]:
    """Returns what is typed after `python -m lightning_modules`."""
    return [subcommand, f"--config={config}", *flags]


def run(subcommand: str, config: Path, flags: Sequence[str] = ()) -> LightningCLI:
    """Runs the command line in this process."""
    argv = ["__main__.py", *command_line(subcommand, config, flags)]
    with mock.patch.object(sys, "argv", argv):
        return main()


def run_apart(
    subcommand: str, config: Path, flags: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own, whose output is captured."""
    return subprocess.run(
        [sys.executable, "-m", "lightning_modules", *command_line(subcommand, config, flags)],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def recording(folder: Path) -> list[str]:
    """Returns the flags that add a `Recorder`."""
    return [
        "--trainer.callbacks+=tests.tiny_training.Recorder",
        f"--trainer.callbacks.init_args.folder={folder}",
    ]


def recorded(folder: Path, rank: int = 0) -> list[int]:
    """Returns the numbers of all patches that a rank was shown, in order."""
    return [int(number) for number in (folder / f"rank{rank}.txt").read_text().split()]


def stopping(step: int, *, kill: bool = False) -> list[str]:
    """Returns the flags that add a `Stop`."""
    return [
        "--trainer.callbacks+=tests.tiny_training.Stop",
        f"--trainer.callbacks.init_args.step={step}",
        f"--trainer.callbacks.init_args.kill={str(kill).lower()}",
    ]


def terminating(step: int, *, validating: bool = False) -> list[str]:
    """Returns the flags that add a `Terminate`."""
    return [
        "--trainer.callbacks+=tests.tiny_training.Terminate",
        f"--trainer.callbacks.init_args.step={step}",
        f"--trainer.callbacks.init_args.validating={str(validating).lower()}",
    ]


def checkpoint(path: Path) -> dict[str, Any]:
    """Returns what a training checkpoint holds."""
    return torch.load(path, map_location="cpu", weights_only=False)
