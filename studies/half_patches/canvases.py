"""What the ways to ask for halves do to whole canvases of DiffCollage."""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from jaxtyping import UInt8
from torch import Tensor

from benchmarks.oracle.plan import planned, read_command
from benchmarks.oracle.records import OracleRow
from studies.half_patches.estimates import Asked, Way
from studies.harness import Run, measured

__all__ = ["network_canvases", "perfect_canvases", "pictured"]

STRATEGY = "diffcollage"


def perfect_canvases() -> dict[Asked, OracleRow]:
    """Returns the oracle's rows of its default fields, under the exact denoiser.

    By the field's name and the way; there is no error in them but the way's and DiffCollage's own.
    """
    rows = {}
    for way in get_args(Way):
        command = read_command([f"strategy={STRATEGY}", f"{STRATEGY}.variables={way}"])
        for job in planned(command):
            (trial,) = job.trials
            rows[job.case.name, way] = trial.measured()
    return dict(sorted(rows.items(), key=lambda row: row[0][0]))


def network_canvases(denoiser: Path, way: Way, folder: Path, *words: str) -> Run:
    """Returns the harness's run of a denoiser, which is carried out unless it is there.

    Args:
        denoiser: Its weights.
        way: How it is asked for halves.
        folder: Where runs go.
        words: More settings of `benchmarks.run`.
    """
    return measured(
        folder,
        f"{denoiser.stem}-{way}",
        [STRATEGY],
        f"denoiser={denoiser}",
        f"{STRATEGY}.variables={way}",
        "plain_fid=false",
        "repeats=1",
        *words,
    )


def pictured(
    found: Mapping[Asked, Run], denoiser: str
) -> dict[str, UInt8[Tensor, "_ 3 height width"]]:
    """Returns the canvases that were drawn under a denoiser, by the way it was asked."""
    drawn = {way: run.pictures(STRATEGY) for (name, way), run in found.items() if name == denoiser}
    return {way: images for way, images in drawn.items() if images is not None}
