"""Weights that come in a variant alone: `model.fp16.safetensors` without `model.safetensors`."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, snapshot_download

__all__ = ["files_here", "files_on_hub", "lone_variants"]

# A part's weights, their variant if any, and the number of a shard.
WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?:\.([A-Za-z]\w*))?(?:-\d+-of-\d+)?"
    r"\.(?:safetensors|bin)"
)
KNOWN = ("fp32", "fp16", "bf16")  # in which order they are taken, those with more digits first


def lone_variants(files: Iterable[str]) -> list[str]:
    """Returns the variants of those parts of a pipeline that have no weights without one.

    >>> lone_variants(["unet/diffusion_pytorch_model.fp16.safetensors", "vae/config.json"])
    ['fp16']
    >>> lone_variants(["unet/model.fp16.safetensors", "unet/model.safetensors"])
    []
    """
    parts: dict[PurePosixPath, set[str | None]] = {}
    for file in map(PurePosixPath, files):
        if found := WEIGHTS.fullmatch(file.name):
            parts.setdefault(file.parent, set()).add(found[1])
    lone = {name for names in parts.values() if None not in names for name in names if name}
    return [name for name in KNOWN if name in lone] + sorted(lone.difference(KNOWN))


def files_here(name: str, revision: str | None) -> list[str]:
    """Returns the files of a folder, or of a model in the cache.

    Raises:
        OSError: If there is neither.
    """
    folder = Path(name)
    if not folder.is_dir():
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]


def files_on_hub(name: str, revision: str | None, *, patience: float) -> list[str]:
    """Asks the hub once for the files of a model.

    Args:
        name: Owner and model.
        revision: Branch, tag or commit; None for the main one.
        patience: Seconds until the hub must have answered.

    Raises:
        Exception: Of whatever type the library raises, if it cannot be asked or has no such model.
    """
    found = HfApi().model_info(name, revision=revision, timeout=patience)
    return [file.rfilename for file in found.siblings or []]
