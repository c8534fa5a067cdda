#!/usr/bin/env bash
# A trial run (`fast_dev_run=True`) saves a checkpoint, and `ckpt_path="last"` then goes on from it.
#
# Guess: fast_dev_run=True switches checkpoints off, so a quick trial beside a long training leaves
# its folder as it was, and `fit(ckpt_path="last")` goes on from where the training ended.
#
# Seen with lightning 2.6.6: the trial run says "Logging and checkpointing is suppressed", yet
# `ModelCheckpoint(save_last=True)` writes last-v1.ckpt in it, and the training of 25 steps is
# taken up again at step 1. The hook that saves (`on_train_end`) is in the source of 2.5.5, not yet
# in that of 2.5.1.
set -euo pipefail
export OMP_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check lightning==2.6.6 torch==2.14.1

venv/bin/python - <<'PYTHON'
import logging
import os
import sys
import warnings

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
print("lightning", L.__version__)


class Line(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, _):
        return (self.weight - 1).square().sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


class Start(L.Callback):
    def on_train_start(self, trainer, module):
        self.step = trainer.global_step


def fit(ckpt_path=None, **options):
    start = Start()
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=[ModelCheckpoint("run", save_last=True), start],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(Line(), DataLoader(torch.zeros(100, 1)), ckpt_path=ckpt_path, weights_only=True)
    return start.step, sorted(os.listdir("run"))


_, before = fit(max_steps=25)
_, after = fit(fast_dev_run=True)
step, _ = fit(max_steps=30, ckpt_path="last")
print("guess: the trial run saves nothing; the training goes on from step 25")
print("seen:  before", before)
print("       after ", after)
print("       the training goes on from step", step)
if after == before or step != 1:
    sys.exit("It changed: a trial run no longer takes the place of the last checkpoint.")
PYTHON
