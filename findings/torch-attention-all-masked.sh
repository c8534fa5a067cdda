#!/usr/bin/env bash
# `TransformerEncoderLayer` on a fully masked sequence: finite in training, NaN under no_grad.
#
# Guess: a layer in eval mode gives the same output with and without `torch.no_grad()`, up to
# rounding, also for a sequence of padding alone (a batch of captions, one of them empty).
#
# Seen with torch 2.14.1: with gradients the output of that sequence is finite (its attention is
# taken as 0), under `no_grad` it is NaN. So trainings and their tests pass, and inference fails.
# Under `no_grad` a layer in eval mode takes a fused fast path, which treats such a row otherwise.
set -euo pipefail
export OMP_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check torch==2.14.1 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import sys

import torch

print("torch", torch.__version__.split("+")[0])
torch.manual_seed(0)
layer = torch.nn.TransformerEncoderLayer(8, nhead=2, batch_first=True).eval()
tokens = torch.randn(2, 3, 8)
padding = torch.tensor([[False, False, True], [True, True, True]])

with_grad = layer(tokens, src_key_padding_mask=padding).detach()
with torch.no_grad():
    without = layer(tokens, src_key_padding_mask=padding)

real = (with_grad[0, :2] - without[0, :2]).abs().max().item()
print("guess: the same with and without gradients, for both sequences")
print(f"seen:  sequence of two tokens: largest difference {real:.0e}")
print("       sequence of padding, with gradients:", with_grad[1, 0, :3].tolist())
print("       sequence of padding, under no_grad: ", without[1, 0, :3].tolist())
if not with_grad.isfinite().all() or not without[1].isnan().all() or real > 1e-4:
    sys.exit("It changed: the layer gives the same with and without gradients.")
PYTHON
