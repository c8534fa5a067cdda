"""Where a run takes place: device, precision, versions, commit."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch

from patchcanvas.accounting import memory_source
from patchcanvas.sources import commit

__all__ = [
    "Precision",
    "autocast_dtype",
    "describe_environment",
    "device_name",
    "resolve_device",
    "versions_of",
]

Precision = Literal["fp32", "bf16", "fp16"]
# Whatever makes, reads or measures pixels, or loads the weights that do.
LIBRARIES = (
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
)


def resolve_device(name: str) -> torch.device:
    """Returns the device called `name`; `auto` is CUDA, else MPS, else the CPU.

    Raises:
        ValueError: If there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device must be auto, cpu, cuda, cuda:N or mps, got {name!r}.") from error
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        usable = ", ".join(kind for kind, here in present.items() if here)
        raise ValueError(f"there is no {name} device here; usable: auto, {usable}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no {name} here, only {torch.cuda.device_count()} CUDA devices.")
    return device


def autocast_dtype(precision: Precision) -> torch.dtype | None:
    """Returns the type the network computes in; None for full precision."""
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def versions_of(libraries: Iterable[str]) -> dict[str, str]:
    """Returns the versions of those that are installed."""
    found = {}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Returns what a result must quote to say where it was measured."""
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "memory": memory_source(device),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions_of(LIBRARIES),
        "commit": commit(),
    }


def device_name(device: torch.device) -> str:
    """Returns the maker's name of a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    return f"{device.type}: {name}, {os.cpu_count()} cores"
