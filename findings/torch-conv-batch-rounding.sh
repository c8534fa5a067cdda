#!/usr/bin/env bash
# The same image through the same convolution gives other bits in a larger batch.
#
# Guess: on one CPU thread a convolution in float32 treats each image of a batch by itself, so image
# 0 of a batch of 5 is image 0 alone, to the last bit; only threads and GPUs change the order of sums.
#
# Seen with torch 2.14.1 on one CPU thread (AMD EPYC): kernels are chosen by the size of the batch, and
# round differently. Beside 1 to 31 others, image 0 never has the bits that it has alone after a 3 x 3
# convolution or a linear layer, and after a 1 x 1 convolution has them in batches of up to 15 only. In
# float64 the convolutions keep their bits, the linear layer does not. So what is generated from a seed
# depends on the batch it is generated in.
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

torch.set_num_threads(1)
print("torch", torch.__version__.split("+")[0])
torch.manual_seed(0)


def differing(layer, shape, dtype):
    """The batch sizes up to 32 in which image 0 is not what it is alone."""
    images = torch.randn(32, *shape, dtype=dtype)
    layer = layer.to(dtype)
    with torch.no_grad():
        alone = layer(images[:1])[0]
        return [n for n in range(2, 33) if not torch.equal(layer(images[:n])[0], alone)]


layers = {
    "Conv2d(64, 64, 3), 8 x 8 px": (torch.nn.Conv2d(64, 64, 3, padding=1), (64, 8, 8)),
    "Conv2d(64, 64, 1), 8 x 8 px": (torch.nn.Conv2d(64, 64, 1), (64, 8, 8)),
    "Linear(256, 64)": (torch.nn.Linear(256, 64), (256,)),
}
print("guess: image 0 of a batch is image 0 alone, to the last bit")
seen = {}
for name, (layer, shape) in layers.items():
    for dtype in (torch.float32, torch.float64):
        sizes = differing(layer, shape, dtype)
        seen[name, dtype] = bool(sizes)
        print(f"seen:  {name}, {dtype}: other bits at {len(sizes)} of 31 batch sizes {sizes[:6]}")
if not seen["Conv2d(64, 64, 3), 8 x 8 px", torch.float32]:
    sys.exit("It changed: no batch size changes the bits of a convolved image here.")
PYTHON
