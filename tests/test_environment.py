"""What a result says of where it was made."""

from importlib.metadata import PackageNotFoundError, version

import pytest
import torch

from patchcanvas import environment
from patchcanvas.environment import LIBRARIES, describe_environment, versions_of


@pytest.mark.parametrize(
    "name",
    [
        "torch",
        "torchvision",
        "lightning",
        "torchmetrics",
        "torch-fidelity",
        "diffusers",
        "transformers",
        "open_clip_torch",
        "accelerate",
        "safetensors",
        "Pillow",
        "numpy",
    ],
)
def test_whatever_makes_reads_or_measures_pixels_is_named(name):
    assert name in LIBRARIES
    try:
        installed = version(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    assert describe_environment(torch.device("cpu"))["versions"][name] == installed


def test_what_is_not_installed_is_left_out(monkeypatch):
    def only_torch(name: str) -> str:
        if name == "torch":
            return "2.0"
        raise PackageNotFoundError(name)

    monkeypatch.setattr(environment, "version", only_torch)
    assert versions_of(LIBRARIES) == {"torch": "2.0"}
