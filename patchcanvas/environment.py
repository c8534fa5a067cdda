"""Where a run takes place: device, precision, versions, commit."""

import hashlib
import inspect
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch

from patchcanvas.accounting import memory_source

__all__ = [
    "Precision",
    "autocast_dtype",
    "describe_environment",
    "device_name",
    "resolve_device",
    "sha256_of_sources",
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


def versions_of(libraries: Sequence[str]) -> dict[str, str]:
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
        "commit": _commit(),
    }


# Not what only tells of figures, such as the report.
MAKING_AND_MEASURING = (
    "denoisers",
    "denoisers/pretrained",
    "sampling",
    "strategies",
    "datamodules",
    "benchmarks",
    "benchmarks/context",
    "benchmarks/metrics",
)


def sha256_of_sources(
    classes: Iterable[type], folders: Sequence[str] = MAKING_AND_MEASURING
) -> str:
    """Returns a hash of the code that makes and measures canvases, that of `classes` included.

    A commit does not tell two states of a changed file apart, nor does it know a user's module.

    Args:
        classes: Whose files count too.
        folders: Whose Python files count, those of folders in them apart.
    """
    root = Path(__file__).parent.parent
    files = {path for folder in folders for path in (root / folder).glob("*.py")}
    files |= {Path(inspect.getfile(item)).resolve() for item in classes}
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def device_name(device: torch.device) -> str:
    """Returns the maker's name of a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    return f"{device.type}: {name}, {os.cpu_count()} cores"


def _commit() -> str | None:
    """Returns the commit of this code, with `+` where files differ from it; None without git."""
    root = Path(__file__).parent.parent
    try:
        head, status = (
            subprocess.run(
                ["git", "-C", str(root), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if status else "")
