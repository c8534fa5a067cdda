#!/usr/bin/env bash
# A scheduler that clips the clean estimate steps along the noise of the estimate before clipping.
#
# Guess: with `clip_sample=True`, DDIM clips its estimate of the clean image to [-1, 1] and takes the
# step from x_t towards that image, as an Euler step in sigma does; DDPM's and DDIM's means, which
# are the same mean in the papers, stay the same mean at eta = 1 when both clip.
#
# Seen with diffusers 0.42.1: DDIMScheduler puts the clipped image beside the noise that the unclipped
# one implies, so the step leads to neither; `use_clipped_model_output=True` of `step`, off by
# default and not reached by a scheduler's configuration, puts that right. DDPMScheduler weighs x_t
# and the clipped image alone, so it has no such noise: with clipping, DDIM at eta = 1 is not DDPM.
set -euo pipefail
export OMP_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check torch==2.14.1 diffusers==0.42.1

venv/bin/python - <<'PYTHON'
import sys

import diffusers
import torch
from diffusers import DDIMScheduler, DDPMScheduler

print("diffusers", diffusers.__version__)
settings = dict(num_train_timesteps=1000, clip_sample=True, prediction_type="sample")
ddim, ddpm = DDIMScheduler(**settings, set_alpha_to_one=True), DDPMScheduler(**settings)
for scheduler in (ddim, ddpm):
    scheduler.set_timesteps(10)
t, before = ddim.timesteps[3].item(), ddim.timesteps[4].item()
a, a_next = ddim.alphas_cumprod[t].double(), ddim.alphas_cumprod[before].double()
x_t = torch.full((1, 1, 1, 1), 0.7, dtype=torch.float64)
estimate = torch.full_like(x_t, 1.8)  # clipped to 1


def towards(x0):
    """The step to the next level whose clean image is x0, in closed form."""
    eps = (x_t - a.sqrt() * x0) / (1 - a).sqrt()
    return a_next.sqrt() * x0 + (1 - a_next).sqrt() * eps


def apart(estimate):
    """How far apart DDIM at eta = 1 and DDPM end, given the same noise of the same variance."""
    ends = [
        scheduler.step(estimate, t, x_t, generator=torch.Generator().manual_seed(0), **options)
        for scheduler, options in ((ddim, {"eta": 1.0}), (ddpm, {}))
    ]
    return abs((ends[0].prev_sample - ends[1].prev_sample).item())


default = ddim.step(estimate, t, x_t).prev_sample.item()
asked = ddim.step(estimate, t, x_t, use_clipped_model_output=True).prev_sample.item()
wanted = towards(estimate.clamp(-1, 1)).item()
print(f"guess: a step towards the clipped image ends at {wanted:.4f}")
print(f"seen:  DDIM ends at {default:.4f}; with use_clipped_model_output=True at {asked:.4f}")
clipped, unclipped = apart(estimate), apart(torch.full_like(x_t, 0.4))
print("guess: at eta = 1 DDIM and DDPM take the same step")
print(f"seen:  they do to {unclipped:.1e} where nothing is clipped, and are {clipped:.3f} apart if it is")
if abs(asked - wanted) > 1e-5 or abs(default - wanted) < 0.05:
    sys.exit("It changed: DDIM steps towards the clipped image by default.")
if unclipped > 1e-5 or clipped < 0.01:
    sys.exit("It changed: with clipping, DDIM at eta = 1 and DDPM take the same step.")
PYTHON
