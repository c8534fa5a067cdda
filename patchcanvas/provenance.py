"""What a picture was made from, written into its PNG, so that it can be made again."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from datamodules.image_file import opened
from denoisers.checkpoint import sha256_of
from patchcanvas.context.settings import ContextSettings
from patchcanvas.environment import describe_environment
from patchcanvas.records import changes, from_json, plain
from patchcanvas.sources import MAKING, sha256_of_sources
from patchcanvas.window_batch import WindowBatch
from strategies.base import Strategy

__all__ = [
    "CHUNK",
    "KNOWN",
    "SEEDS",
    "Provenance",
    "described_denoiser",
    "described_strategy",
    "hashes_of_regions",
    "surroundings",
    "together",
]

# The keyword of the PNG's text.
CHUNK = "patchcanvas"
# What goes in, beside an image and its mask.
SEEDS = "seed images"
KNOWN = "known pixels"
# Of the environment, what a last bit may depend on; no times, so that equal commands make equal
# files.
QUOTED = ("device", "python", "versions", "commit")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a picture was made from, as plain values.

    Args:
        program: The module that made it.
        command: The words after its name.
        row: What it is called in a comparison: the strategy, with `@` and a budget if it has one.
        sample: Its number.
        together: First and last number of the samples that were made with it, where its last bit
            may depend on them; None where it does not.
        seed: Seed of the noise.
        strategy: Every setting of the strategy, its solver's included.
        settings: Every setting of the command, defaults included.
        conditioning: What the denoiser was told.
        denoiser: The denoiser, with the hash of its weights.
        inputs: SHA-256 of what else went in, by name: image and mask, `SEEDS`, masks of regions.
        environment: Device, versions, commit, and a hash of the code.
        format: Of this record; another one has other fields.
    """

    format: Literal[2] = 2
    program: str
    command: list[str]
    row: str
    sample: int
    together: list[int] | None
    seed: int
    strategy: dict[str, Any]
    settings: dict[str, Any]
    conditioning: dict[str, Any]
    denoiser: dict[str, Any]
    inputs: dict[str, str]
    environment: dict[str, Any]

    @property
    def text(self) -> str:
        """The record as it stands in a PNG: JSON, in ASCII."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False, default=str)

    @classmethod
    def read(cls, path: Path) -> "Provenance":
        """Reads the record of a PNG.

        Raises:
            OSError: If there is no such file.
            ValueError: If it is no image, carries no record, or one that cannot be read.
        """
        text = text_of(path)
        if text is None:
            raise ValueError(
                f"{path} must carry a record of how it was made (PNG text {CHUNK!r}), but carries "
                "none: it was not made here, or what it was copied by has left the record out."
            )
        try:
            return from_json(cls, text, "its record", mend="take the version that made it")
        except ValueError as error:
            raise ValueError(f"{path} cannot be made again: {error}") from error

    def plainly(self) -> dict[str, Any]:
        """Returns all of it as it comes back from a file."""
        return json.loads(self.text)

    def differences(self, other: "Provenance", name: str) -> dict[str, tuple[Any, Any]]:
        """Returns what two records differ in under one of their names, nested ones with dots."""
        return changes(self.plainly()[name], other.plainly()[name])


def text_of(path: Path) -> str | None:
    """Returns the text of a PNG that holds its record; None if it has none.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is no image.
    """
    if path.is_dir():
        raise ValueError(f"a picture must be a PNG file, but {path} is a folder: name one in it.")
    if not path.is_file():
        raise FileNotFoundError(f"a picture must be a PNG file, but there is no {path}.")
    try:
        with opened(path) as picture:
            text = getattr(picture, "text", {}).get(CHUNK)
    except Exception as error:  # decoders raise whatever they like
        raise ValueError(f"a picture must be a PNG file, but {path} is none ({error}).") from error
    return text if isinstance(text, str) else None


def surroundings(
    device: torch.device, strategy: Strategy, environment: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Returns what the bits of a picture may depend on beside what was asked for.

    Args:
        device: Where it is made.
        strategy: What makes it.
        environment: Where the run takes place, if that is known already.
    """
    environment = environment or describe_environment(device)
    sources = sha256_of_sources([type(strategy.core)], MAKING)
    return {name: environment[name] for name in QUOTED} | {"sources": sources}


def described_denoiser(description: dict[str, Any]) -> dict[str, Any]:
    """Returns which denoiser it is, without the story of its training."""
    return {name: value for name, value in description.items() if name != "provenance"}


def hashes_of_regions(context: ContextSettings) -> dict[str, str]:
    """Returns the SHA-256 of the masks of regions with prompts of their own, by name."""
    return {
        f"mask of {region.prompt!r}": sha256_of(region.mask)
        for region in context.regions or []
        if region.mask is not None
    }


def together(window_batch: WindowBatch, indices: Sequence[int]) -> list[int] | None:
    """Returns the samples that a sample's last bit may depend on: none where calls are exact."""
    return [indices[0], indices[-1]] if window_batch == "auto" else None


def described_strategy(strategy: Strategy) -> dict[str, Any]:
    """Returns every setting of what orders and weighs the windows."""
    return plain(strategy.core)
