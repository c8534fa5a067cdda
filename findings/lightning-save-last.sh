#!/usr/bin/env bash
# `ModelCheckpoint(save_last=True)` saves the end of a training only if it saved nothing before.
#
# Guess: with save_last=True, last.ckpt is the state at the end of the training, whatever the
# interval of the other checkpoints.
#
# Seen with lightning 2.6.6, in a training of 25 steps:
#   every_n_train_steps=7    last.ckpt is of step 21: the last 4 steps are lost
#   every_n_train_steps=100  last.ckpt is of step 25: only as nothing was saved before
# Saving more often gives an older "last". The save at the end is in the source of 2.5.5, not yet
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


def step_of_last(every):
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=25,
        callbacks=[ModelCheckpoint(f"every{every}", save_last=True, every_n_train_steps=every)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Line(), DataLoader(torch.zeros(100, 1)))
    return torch.load(f"every{every}/last.ckpt", weights_only=True)["global_step"]


seen = {every: step_of_last(every) for every in (7, 100)}
print("guess: last.ckpt is of step 25 both times")
for every, step in seen.items():
    print(f"seen:  every_n_train_steps={every}: last.ckpt is of step {step}")
if seen != {7: 21, 100: 25}:
    sys.exit(f"It changed: last.ckpt is of the steps {seen}.")
PYTHON
