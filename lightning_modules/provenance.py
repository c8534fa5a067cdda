"""Where weights come from: written into every training checkpoint and carried to the export."""

import os
import platform
import shlex
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import torch

__all__ = ["Stopwatch", "provenance"]

USED = ("torch", "lightning", "numpy", "pillow")  # what weights may depend on


class Stopwatch:
    """Seconds spent, over all the runs that a training was continued in."""

    def __init__(self) -> None:
        self.before = 0.0
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self.before + time.monotonic() - self.started

    def resume(self, before: float) -> None:
        """Goes on from `before` seconds."""
        self.before = before
        self.started = time.monotonic()


def provenance(trainer: L.Trainer, stopwatch: Stopwatch, losses_step: int | None) -> dict[str, Any]:
    """Returns what made the weights of this moment, as plain JSON values.

    The losses are those of the last validation, after `losses_step` steps; None before the first.
    """
    data = getattr(trainer, "datamodule", None)
    return {
        "command": shlex.join(["python", "-m", "lightning_modules", *sys.argv[1:]]),
        "data": data.description if data is not None else None,
        "batch_size": getattr(data, "batch_size", None),
        "steps": trainer.global_step,
        "seconds": round(stopwatch.seconds),
        "precision": str(trainer.precision),
        "devices": trainer.world_size,
        "machine": _machine(),
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in USED},
        "losses_step": losses_step,
        "losses": {
            name: round(float(value), 5)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        },
    }


def _machine() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"
