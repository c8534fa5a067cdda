"""`python -m lightning_modules.export IN.ckpt OUT.safetensors`: averaged weights to keep."""

import sys
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import auto_cli

from denoisers.checkpoint import save_denoiser
from lightning_modules.averaging import updates_of
from lightning_modules.checkpoint_file import read_checkpoint
from lightning_modules.denoising import DenoiserTraining
from lightning_modules.errors import TrainingError

__all__ = ["export"]


def export(
    checkpoint: Path, output: Path, dtype: Literal["float32", "float16"] = "float16"
) -> None:
    """Writes the averaged (EMA) weights of a training checkpoint, with their configuration.

    Where the average has not begun, or there is none, the weights of the last step are written.

    Args:
        checkpoint: A `.ckpt` file written by `fit`.
        output: The `.safetensors` file to write; its `.json` goes beside it.
        dtype: Type of the stored weights; float16 halves the file.
    """
    if output.suffix != ".safetensors":
        raise SystemExit(f"error: the output must be a .safetensors file, got {output}.")
    try:
        content = read_checkpoint(checkpoint)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    try:
        module = DenoiserTraining.load_from_checkpoint(
            checkpoint, map_location="cpu", weights_only=False
        )
    except RuntimeError as error:  # of torch, where weights are missing or of another shape
        first = str(error).strip().splitlines()[-1].strip()
        print(f"error: {checkpoint} holds other weights than its network: {first}", file=sys.stderr)
        raise SystemExit(2) from error
    save_denoiser(
        module.denoiser,
        output,
        provenance=source_of(content),
        trained_on=content.get("trained_on", ()),
        dtype=getattr(torch, dtype),
    )
    print(f"wrote {output} and {output.with_suffix('.json')}: {described(content)}")


def source_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Returns where weights come from, and which of a checkpoint's they are."""
    updates = updates_of(checkpoint)
    weights = {"weights": "EMA" if updates else "last step"}
    return checkpoint.get("provenance", {}) | weights | {"ema_updates": updates or 0}


def described(checkpoint: dict[str, Any]) -> str:
    """Returns which weights those are, for a person."""
    updates = updates_of(checkpoint)
    step = f"step {checkpoint['global_step']:,}"
    if updates:
        return f"the average of {updates:,} updates by {step}"
    why = "no average was kept" if updates is None else "the average has not begun"
    return f"the weights of {step}, for {why}"


if __name__ == "__main__":
    auto_cli(export, as_positional=True)
