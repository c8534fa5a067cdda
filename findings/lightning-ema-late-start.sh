#!/usr/bin/env bash
# `EMAWeightAveraging(update_starting_at_step=N)` in a training shorter than N: untrained weights.
#
# Guess: before its first update the average is the model itself, so validation measures the
# trained weights, and a late start only delays the averaging.
#
# Seen with lightning 2.6.6: the average keeps the initial weights until the first update. After 50
# steps that bring the weight from 0 to 0.99, validation measures weight 0, the checkpoint's
# `state_dict` holds weight 0, and so does the model that `fit` leaves. No warning. The callback is
# in the source of 2.6.0, not yet in that of 2.5.5.
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
        self.log("weight", self.weight.item())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


trainer = L.Trainer(
    accelerator="cpu",
    max_steps=50,
    callbacks=[
        ModelCheckpoint("run", save_last=True, every_n_train_steps=50),
        EMAWeightAveraging(update_starting_at_step=1000),
    ],
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
model = Line()
data = DataLoader(torch.zeros(50, 1))
trainer.fit(model, data, data)
checkpoint = torch.load("run/last.ckpt", weights_only=True)
seen = {
    "trained": checkpoint["current_model_state"]["weight"].item(),
    "validated": trainer.callback_metrics["weight"].item(),
    "saved as state_dict": checkpoint["state_dict"]["weight"].item(),
    "left by fit": model.weight.item(),
}
print(f"guess: {seen['trained']:.4f} four times")
for name, value in seen.items():
    print(f"seen:  {name}: {value:.4f}")
if seen["trained"] < 0.9 or any(seen[name] != 0 for name in list(seen)[1:]):
    sys.exit("It changed: before its first update the average no longer is the initial weights.")
PYTHON
