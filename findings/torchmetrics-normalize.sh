#!/usr/bin/env bash
# `normalize=True` with one's own network: FID and KID hand it floats, InceptionScore bytes.
#
# Guess: the three metrics of torchmetrics treat `normalize=True` (pictures are floats in [0, 1])
# alike, so one network given to all three sees the same pictures.
#
# Seen with torchmetrics 1.9.0: FrechetInceptionDistance and KernelInceptionDistance pass the floats
# on as they are; InceptionScore passes 8-bit numbers, rounded down (0.999 becomes 254). A network
# made for one of the two kinds gives a wrong score with the other, without an error. In the source
# of 1.0.0 all three pass bytes.
set -euo pipefail
export OMP_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check torch==2.14.1 torchmetrics==1.9.0

venv/bin/python - <<'PYTHON'
import sys
import warnings

import torch
import torchmetrics
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

warnings.filterwarnings("ignore")
print("torchmetrics", torchmetrics.__version__)


class Spy(torch.nn.Module):
    """A small network that notes what it is given."""

    num_features = 3

    def forward(self, pictures):
        self.seen = f"{str(pictures.dtype).removeprefix('torch.')} {pictures.max().item():.4g}"
        return pictures.float().mean((2, 3))


def given(metric, *real, **options):
    spy = Spy()
    metric(feature=spy, normalize=True, **options).update(torch.full((4, 3, 8, 8), 0.999), *real)
    return spy.seen


seen = {
    "FrechetInceptionDistance": given(FrechetInceptionDistance, True, input_img_size=(3, 8, 8)),
    "KernelInceptionDistance": given(KernelInceptionDistance, True),
}
seen["InceptionScore"] = given(InceptionScore)

print("guess: the network is given the same by all three metrics")
for metric, pictures in seen.items():
    print(f"seen:  {metric}: {pictures}")
if list(seen.values()) != ["float32 0.999", "float32 0.999", "uint8 254"]:
    sys.exit("It changed: normalize=True hands other pictures to a network of one's own.")
PYTHON
