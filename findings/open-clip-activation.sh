#!/usr/bin/env bash
# `create_model("ViT-B-32", pretrained="openai")` builds the network with the wrong activation.
#
# Guess: the tag of the weights decides: they were trained with QuickGELU, their table says so
# (`get_pretrained_cfg("ViT-B-32", "openai")["quick_gelu"]` is True), so that is what is built, as
# release 2.24 did for these weights.
#
# Seen with open_clip_torch 3.3.0: the name of the model decides, ViT-B-32 has GELU, and all there
# is of it is a warning; "ViT-B-32-quickgelu" is the name that fits. Features come out, only other
# ones. The table and the name disagree in the same way for other tags, such as laion400m_e32. In
# the source of 2.32.0 the mismatch is a warning already.
#
# Nothing is downloaded here: `load_weights=False`, and the function that fetches the file is
# replaced by one that names a file which is never read.
set -euo pipefail
export OMP_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check torch==2.14.1 open_clip_torch==3.3.0

venv/bin/python - <<'PYTHON'
import logging
import sys
import warnings
from unittest import mock

import open_clip

logging.disable(logging.WARNING)
print("open_clip_torch", open_clip.__version__)


def activation(name, tag):
    with (
        mock.patch("open_clip.factory.download_pretrained", lambda *_, **__: "never-read"),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        model = open_clip.create_model(name, pretrained=tag, load_weights=False)
    texts = [str(w.message) for w in caught if "QuickGELU" in str(w.message)]
    return type(model.visual.transformer.resblocks[0].mlp.gelu).__name__, texts


trained_with = open_clip.get_pretrained_cfg("ViT-B-32", "openai")["quick_gelu"]
built, texts = activation("ViT-B-32", "openai")
fitting, _ = activation("ViT-B-32-quickgelu", "openai")
print("guess: QuickGELU is built, as the table of the weights has quick_gelu =", trained_with)
print(f"seen:  ViT-B-32 with the tag openai: {built}")
print(f"       warning: {texts}")
print(f"       ViT-B-32-quickgelu with the tag openai: {fitting}")
if (trained_with, built, fitting) != (True, "GELU", "QuickGELU"):
    sys.exit(f"It changed: the activation that is built is {built}.")
PYTHON
