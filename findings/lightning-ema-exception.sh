#!/usr/bin/env bash
# An error during validation saves a checkpoint whose raw and averaged weights have changed places.
#
# Guess: `ModelCheckpoint(save_on_exception=True)` with `EMAWeightAveraging` saves the average as
# `state_dict` and the raw weights as `current_model_state`, wherever the error came.
#
# Seen with lightning 2.6.6: during a validation the two are swapped in memory, and nothing swaps
# them back, so the checkpoint of an error (or an interrupt) in the middle of it has the raw
# weights under `state_dict` and the average under `current_model_state`, without a warning; a
# resumed training goes on from the average. The callback is in the source of 2.6.0, not yet in
# that of 2.5.5.
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
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch.utils.data import DataLoader

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
print("lightning", L.__version__)


class Line(L.LightningModule):
    """One weight, which training brings from 0 to 1."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, _):
        return (self.weight - 1).square().sum()

    def validation_step(self, batch, _):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


class FailBeforeValidation(L.Callback):
    def on_validation_start(self, trainer, module):
        raise RuntimeError("an ordinary error")


class FailInValidation(L.Callback):
    def on_validation_batch_end(self, *_):
        raise RuntimeError("an ordinary error")


def saved_after(failure):
    folder = type(failure).__name__
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=50,
        num_sanity_val_steps=0,
        callbacks=[
            ModelCheckpoint(folder, save_last=True, save_on_exception=True),
            EMAWeightAveraging(),
            failure,
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = DataLoader(torch.zeros(50, 1))
    try:
        trainer.fit(Line(), data, data)
    except RuntimeError:
        pass
    checkpoint = torch.load(f"{folder}/last.ckpt", weights_only=True)
    return tuple(
        round(checkpoint[key]["weight"].item(), 4) for key in ("state_dict", "current_model_state")
    )


average, raw = saved_after(FailBeforeValidation())
seen = saved_after(FailInValidation())
print(f"guess: state_dict {average}, current_model_state {raw}, wherever the error comes")
print(f"seen:  error just before validation: {average}, {raw}")
print(f"       error during validation:      {seen[0]}, {seen[1]}")
if seen != (raw, average) or average >= raw:
    sys.exit("It changed: the checkpoint of an error during validation is no longer swapped.")
PYTHON
