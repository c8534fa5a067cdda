#!/usr/bin/env bash
# `set_timesteps(sigmas=[10, 1])`: Euler makes one step and stops at noise level 1.
#
# Guess: a list of two noise levels makes two steps, the second to 0: as
# `set_timesteps(num_inference_steps=2)` does, and as the same argument of another scheduler of the
# library (FlowMatchEulerDiscreteScheduler) does.
#
# Seen with diffusers 0.42.1: EulerDiscreteScheduler takes the last number of the list as the end,
# so [10, 1] is one step and the result still holds noise of standard deviation 1, silently; the
# list must hold its final 0. FlowMatchEulerDiscreteScheduler adds the 0 itself. The argument is in
# the source of 0.29.0, not yet in that of 0.27.0.
set -euo pipefail
export OMP_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check torch==2.14.1 diffusers==0.42.1

venv/bin/python - <<'PYTHON'
import sys
import warnings

import torch
from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, __version__

warnings.filterwarnings("ignore")
print("diffusers", __version__)


def noise_left(scheduler, **schedule):
    """Steps made, and the noise level left, when the model predicts the noise without an error.

    The clean picture is 0 everywhere; with noise of level sigma it is sigma * noise, and `noise`
    is the right prediction for both schedulers.
    """
    scheduler.set_timesteps(**schedule)
    torch.manual_seed(0)
    noise = torch.randn(1, 1, 64, 64)
    picture = noise * scheduler.sigmas[0]
    for t in scheduler.timesteps:
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(picture, t)
        picture = scheduler.step(noise, t, picture).prev_sample
    return len(scheduler.timesteps), round(picture.std().item() / noise.std().item(), 4)


seen = {
    "Euler, num_inference_steps=2": noise_left(EulerDiscreteScheduler(), num_inference_steps=2),
    "Euler, sigmas=[10, 1]": noise_left(EulerDiscreteScheduler(), sigmas=[10.0, 1.0]),
    "Euler, sigmas=[10, 1, 0]": noise_left(EulerDiscreteScheduler(), sigmas=[10.0, 1.0, 0.0]),
    "FlowMatchEuler, sigmas=[0.9, 0.1]": noise_left(
        FlowMatchEulerDiscreteScheduler(), sigmas=[0.9, 0.1]
    ),
}
print("guess: two steps, no noise left, with sigmas=[10, 1] too")
for name, (steps, left) in seen.items():
    print(f"seen:  {name}: steps {steps}, noise left {left}")
if list(seen.values()) != [(2, 0), (1, 1), (2, 0), (2, 0)]:
    sys.exit("It changed: the two schedulers read the list of noise levels otherwise.")
PYTHON
