"""Pipelines of diffusers from a folder, from the cache of the hub, or from the hub itself."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, UNet2DModel
from diffusers.utils import logging
from huggingface_hub import constants

__all__ = ["load_pipeline"]

# Parts that judge or look at images: they take no part in denoising.
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")


def load_pipeline(name: str, *, dtype: torch.dtype = torch.float32) -> DiffusionPipeline:
    """Returns a pipeline, on the CPU.

    A model in the cache needs no connection and stays what it was. A folder or model that holds a
    UNet2DModel and the configuration of its scheduler, and no pipeline, becomes a DDPMPipeline.

    Args:
        name: A folder as `save_pretrained` writes it, or a name on the hub, `owner/model`, after
            which `@` and a revision may stand.
        dtype: What the networks compute in.

    Raises:
        ValueError: If a folder does not hold a whole pipeline.
        OSError: If there is no such folder, and the model is neither in the cache nor to be
            downloaded.
    """
    path, revision = name, None
    if not Path(name).is_dir() and "@" in name:
        path, _, revision = name.rpartition("@")
    where: dict[str, Any] = {"revision": revision}
    with quiet():
        try:
            return _load(path, dtype, **where, local_files_only=True)
        except Exception as error:  # safetensors and tokenizers raise plain Exceptions
            if Path(path).is_dir():
                raise ValueError(
                    f"{path} must hold a pipeline as diffusers' save_pretrained writes it "
                    f"({first_line(error)})."
                ) from error
        try:
            return _load(path, dtype, **where)
        except Exception as error:
            raise OSError(absent(path, revision, first_line(error))) from error


def absent(name: str, revision: str | None, why: str) -> str:
    """Says that a model is not here, where it was looked for, and how it can be brought."""
    wanted = name if revision is None else f"{name} --revision {revision}"
    return (
        f"the model {name} is no folder, is not whole in the cache {constants.HF_HUB_CACHE} and "
        f"could not be downloaded ({why}): on a machine with a connection run `hf download "
        f"{wanted} --local-dir FOLDER`, bring the folder here, and give denoiser=diffusers:FOLDER."
    )


def _load(name: str, dtype: torch.dtype, **where: Any) -> DiffusionPipeline:
    try:
        parts = DiffusionPipeline.load_config(name, **where)
    except OSError:
        with contextlib.suppress(OSError):
            return _bare(name, dtype, **where)
        raise
    left_out = {part: None for part in UNUSED if part in parts}
    return DiffusionPipeline.from_pretrained(name, torch_dtype=dtype, **left_out, **where)


def _bare(name: str, dtype: torch.dtype, **where: Any) -> DDPMPipeline:
    network = UNet2DModel.from_pretrained(name, torch_dtype=dtype, **where)
    scheduler = _first_that_loads(
        lambda: DDPMScheduler.from_pretrained(name, **where),
        lambda: DDPMScheduler.from_pretrained(name, subfolder="scheduler", **where),
    )
    return DDPMPipeline(network, scheduler)


def _first_that_loads(*ways: Callable[[], Any]) -> Any:
    *others, last = ways
    for way in others:
        with contextlib.suppress(OSError):
            return way()
    return last()


def first_line(error: Exception) -> str:
    """Returns the first line of an error, as part of a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".: ")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps the library from warning of what is said better by an error, or is no fault."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
