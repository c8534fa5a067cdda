"""Runs of the harness that studies are made of: begun once, found again afterwards."""

import dataclasses
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from benchmarks.experiment.folder import readable
from benchmarks.metrics.estimates import Estimate
from benchmarks.results.records import Results
from benchmarks.tables.columns import ABSENT
from denoisers.checkpoint import sha256_of
from patchcanvas.pictures import read_picture
from studies.training import run

__all__ = ["Run", "cells", "finished", "measured", "pictured", "said"]


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run of the harness.

    Args:
        folder: Where it lies.
        results: What it found.
    """

    folder: Path
    results: Results

    def pictures(self, name: str) -> UInt8[Tensor, "_ 3 height width"] | None:
        """Returns the pictures that go by a name, such as a row's; None if there are none."""
        files = sorted((self.folder / "canvases").glob(f"{name}-*.png"))
        return torch.stack([read_picture(file) for file in files]) if files else None


def measured(folder: Path, name: str, strategies: Sequence[str], *words: str) -> Run:
    """Returns a run of `benchmarks.run` in that folder; it is carried out unless it is there.

    Args:
        folder: Where runs go.
        name: Of the run.
        strategies: What is compared.
        words: Its other settings; a run that was asked for otherwise is not the one.

    Raises:
        RuntimeError: If it fails.
    """
    found = finished(folder, name, strategies, *words)
    if found is None:
        chosen = f"strategy={','.join(strategies)}"
        run("benchmarks.run", chosen, f"results={folder}", f"name={name}", *words)
        found = finished(folder, name, strategies, *words)
    assert found is not None, "the harness has ended well without a row for every strategy"
    return found


def finished(folder: Path, name: str, strategies: Sequence[str], *words: str) -> Run | None:
    """Returns the newest run of that name that has a row for every strategy; None if none has.

    It must have been asked for in the same words, of the same weights.
    """
    for path in sorted(folder.glob(f"*-{name}/results.json"), reverse=True):
        found = readable(Results, path, name)
        if found is None:
            continue
        rows = {row.strategy.partition("@")[0] for row in found.rows}
        if rows >= set(strategies) and _asked(found, words):
            return Run(path.parent, found)
    return None


def _asked(found: Results, words: Sequence[str]) -> bool:
    """Whether a run was asked for in these words; those that change no figure do not count.

    A denoiser is known by its weights, wherever they lie.
    """
    ignored = {*Results.IGNORED, "denoiser"}
    said = {word for word in words if word.partition("=")[0] not in ignored}
    weights = [word.removeprefix("denoiser=") for word in words if word.startswith("denoiser=")]
    same = all(
        Path(path).is_file() and sha256_of(path) == found.denoiser["weights_sha256"]
        for path in weights
    )
    return same and said <= set(shlex.split(found.command))


def pictured(runs: Mapping[str, Run], row: str) -> dict[str, Tensor]:
    """Returns what a row's canvases look like in every run, below the images that were shown."""
    shown = {
        name: images
        for run in runs.values()
        for name in ("seed images", "guide images")
        if (images := run.pictures(name)) is not None
    }
    made = {way: images for way, run in runs.items() if (images := run.pictures(row)) is not None}
    return shown | made if made else {}


def said(line: str) -> None:
    """Tells of a row that is finished, at once; tables are printed at the end."""
    print(line, file=sys.stderr, flush=True)


def cells(figures: Mapping[str, Estimate], names: Iterable[str]) -> list[str]:
    """Returns the cells of figures with their intervals; dashes where there is none."""
    return [
        f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g})" if one else ABSENT
        for one in map(figures.get, names)
    ]
