"""`python -m lightning_modules.export IN.ckpt OUT.safetensors`: averaged weights to keep."""

import pickle
from pathlib import Path
from typing import Literal

import torch
from jsonargparse import auto_cli

from denoisers.checkpoint import save_denoiser
from lightning_modules.denoising import DenoiserTraining

__all__ = ["export"]


def export(
    checkpoint: Path, output: Path, dtype: Literal["float32", "float16"] = "float16"
) -> None:
    """Writes the averaged (EMA) weights of a training checkpoint, with their configuration.

    Args:
        checkpoint: A `.ckpt` file written by `fit`.
        output: The `.safetensors` file to write; its `.json` goes beside it.
        dtype: Type of the stored weights; float16 halves the file.
    """
    if not checkpoint.is_file():
        raise SystemExit(f"error: no training checkpoint at {checkpoint}.")
    if output.suffix != ".safetensors":
        raise SystemExit(f"error: the output must be a .safetensors file, got {output}.")
    try:
        # With the EMA callback a checkpoint's `state_dict` holds the averaged weights.
        content = torch.load(checkpoint, map_location="cpu", weights_only=False)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise SystemExit(
            f"error: {checkpoint} is truncated or no training checkpoint; the numbered one beside "
            "it is older and whole."
        ) from error
    module = DenoiserTraining.load_from_checkpoint(
        checkpoint, map_location="cpu", weights_only=False
    )
    averaged = "current_model_state" in content
    source = content.get("provenance", {}) | {"weights": "EMA" if averaged else "last step"}
    save_denoiser(module.denoiser, output, provenance=source, dtype=getattr(torch, dtype))
    print(f"wrote {output} and {output.with_suffix('.json')}")


if __name__ == "__main__":
    auto_cli(export, as_positional=True)
