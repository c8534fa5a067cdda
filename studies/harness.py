"""Runs of the harness that studies are made of: begun once, found again afterwards."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from benchmarks.pictures import read_picture
from benchmarks.records import Results
from studies.training import run

__all__ = ["Run", "finished", "measured", "table"]


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
        name: Of the run; it must say all that `words` say.
        strategies: What is compared.
        words: Its other settings.

    Raises:
        RuntimeError: If it fails.
    """
    found = finished(folder, name, strategies)
    if found is None:
        chosen = f"strategy={','.join(strategies)}"
        run("benchmarks.run", chosen, f"results={folder}", f"name={name}", *words)
        found = finished(folder, name, strategies)
    assert found is not None, "the harness has ended well without a row for every strategy"
    return found


def finished(folder: Path, name: str, strategies: Sequence[str]) -> Run | None:
    """Returns the newest run of that name that has a row for every strategy; None if none has."""
    for path in sorted(folder.glob(f"*-{name}/results.json"), reverse=True):
        found = Results.read(path)
        if {row.strategy.partition("@")[0] for row in found.rows} >= set(strategies):
            return Run(path.parent, found)
    return None


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Returns the lines of a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
