#!/usr/bin/env bash
# LightningCLI: with --ckpt_path the checkpoint's hyperparameters win over the command line.
#
# Guess: what is written on the command line wins over what was stored before, so that
# `test --ckpt_path run.ckpt --model.threshold 0.9` tests with the threshold 0.9.
#
# Seen with lightning 2.6.6: it tests with the stored 0.5, without a warning. `--data.batch_size 4`
# of the same command line counts, and so does --model.threshold without --ckpt_path. The code that
# does so is in the source of 2.5.5, not yet in that of 2.5.1.
set -euo pipefail
export OMP_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check \
    lightning==2.6.6 torch==2.14.1 "jsonargparse[signatures]==4.53.0"

venv/bin/python - <<'PYTHON'
import logging
import sys
import warnings

import lightning as L
import torch
from lightning.pytorch.cli import LightningCLI
from torch.utils.data import DataLoader

warnings.filterwarnings("ignore")
for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)
print("lightning", L.__version__)


class Detector(L.LightningModule):
    def __init__(self, threshold: float = 0.5):
        super().__init__()
        self.save_hyperparameters()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, _):
        return (self.weight - 1).square().sum()

    def test_step(self, batch, _):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


class Data(L.LightningDataModule):
    def __init__(self, batch_size: int = 1):
        super().__init__()
        self.save_hyperparameters()

    def loader(self):
        return DataLoader(torch.zeros(8, 1), batch_size=self.hparams.batch_size)

    train_dataloader = test_dataloader = loader


def run(*args):
    quiet = ["logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"]
    options = ["--trainer.accelerator=cpu", *(f"--trainer.{name}=false" for name in quiet)]
    return LightningCLI(
        Detector, Data, args=[args[0], *options, *args[1:]], save_config_callback=None
    )


run("fit", "--trainer.max_steps=2").trainer.save_checkpoint("run.ckpt")
overrides = ["--model.threshold=0.9", "--data.batch_size=4"]
tested = run("test", "--ckpt_path=run.ckpt", *overrides)
without = run("test", *overrides)
seen = tested.model.hparams.threshold
print("guess: the threshold tested is 0.9, with the checkpoint and without")
size = tested.datamodule.hparams.batch_size
print(f"seen:  threshold {seen}, batch size {size} with --ckpt_path")
print(f"       threshold {without.model.hparams.threshold} without")
if (seen, size) != (0.5, 4) or without.model.hparams.threshold != 0.9:
    sys.exit(f"It changed: --model.threshold=0.9 with --ckpt_path gives {seen}.")
PYTHON
