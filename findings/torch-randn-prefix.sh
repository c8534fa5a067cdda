#!/usr/bin/env bash
# 16 normal numbers are no prefix of 24 drawn from the same seed; 8 share none with 16.
#
# Guess: `torch.randn(n)` after `manual_seed(0)` gives the first n numbers of one stream, as
# `torch.rand` does and as NumPy does, so that a larger batch only adds noises at its end.
#
# Seen with torch 2.14.1 on the CPU: of 16 numbers the first 8 come back in 24, the others do not;
# of 8 numbers none comes back in 16. `torch.rand` is a prefix each time. From 16 numbers on, normal
# numbers are made in blocks of 16 and the last block is drawn again; below 16 by another method.
set -euo pipefail
export OMP_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check torch==2.14.1 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import sys

import numpy
import torch

print("torch", torch.__version__.split("+")[0])


def torch_draw(draw, n):
    torch.manual_seed(0)
    return draw(n)


def numpy_draw(n):
    return torch.from_numpy(numpy.random.default_rng(0).standard_normal(n))


def shared(draw, n, more):
    """How many of n numbers stand at the same place among `more` numbers of the same seed."""
    return (draw(n) == draw(more)[:n]).sum().item()


pairs = [(8, 16), (16, 24), (32, 40)]
print("guess: torch.randn(n) is a prefix of torch.randn(n + 8)")
randn = [shared(lambda n: torch_draw(torch.randn, n), *pair) for pair in pairs]
rand = [shared(lambda n: torch_draw(torch.rand, n), *pair) for pair in pairs]
in_numpy = [shared(numpy_draw, *pair) for pair in pairs]
for (n, more), *counts in zip(pairs, randn, rand, in_numpy):
    print(
        f"seen:  of {n} numbers {counts[0]} are the same among {more}"
        f" (torch.rand: {counts[1]}, NumPy's normal: {counts[2]})"
    )
if randn != [0, 8, 24] or rand != [8, 16, 32] or in_numpy != [8, 16, 32]:
    sys.exit(f"It changed: the numbers in common are {randn}.")
PYTHON
