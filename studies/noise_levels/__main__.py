"""`python -m studies.noise_levels`: one network, one budget, every sampler of training levels."""

import sys
from pathlib import Path
from typing import Literal

from jsonargparse import auto_cli

from patchcanvas.files import whole
from studies.harness import measured, said
from studies.noise_levels.table import line_of, table
from studies.noise_levels.training import SAMPLERS, Training, study_hash
from studies.training import differs

__all__ = ["study"]


def study(
    data: Literal["landscapes", "photos"] = "landscapes",
    root: Path | None = None,
    samplers: tuple[str, ...] = tuple(SAMPLERS),
    steps: int = 1000,
    num_samples: int = 96,
    num_steps: int = 18,
    seed: int = 0,
    folder: Path = Path("results/noise_levels"),
) -> int:
    """Trains a network with every sampler, compares what comes out, and writes a table.

    What is finished is kept: the same command goes on where it stopped.

    Args:
        data: What to train on and to compare with.
        root: Folder of the photographs.
        samplers: Which samplers of training levels.
        steps: Optimizer steps of each training, of 64 patches each.
        num_samples: Canvases of each strategy.
        num_steps: Steps of Heun's method, with as much churn.
        seed: Seeds weights and noise.
        folder: Where everything goes, in a folder for the data.
    """
    unknown = sorted(set(samplers) - set(SAMPLERS))
    if unknown or not samplers:
        print(f"error: samplers must be among {', '.join(SAMPLERS)}, got {samplers}.")
        return 2
    if data == "photos" and (root is None or not root.is_dir()):
        print(f"error: root must be a folder of photographs for data=photos, got {root}.")
        return 2
    root = None if root is None else root.resolve()
    folder = folder.resolve() / f"{data}-{steps}-{seed}"
    other = differs(folder / "settings.json", {"root": str(root), "code": study_hash()})
    if other:
        print(f"error: {folder} holds a study of {other}: give another folder.")
        return 2
    lines = []
    for sampler in samplers:
        training = Training(
            name=sampler,
            data=_training_data(data, root),
            steps=steps,
            seed=seed,
            folder=folder,
        )
        strategies = ["naive"] if sampler == "shared" else ["naive", "async_patch"]
        name = f"{sampler}-{num_samples}-{num_steps}"
        try:
            training.carry_out()
            run = measured(
                folder,
                name,
                strategies,
                f"denoiser={training.denoiser}",
                f"num_samples={num_samples}",
                "solver=heun",
                f"solver.num_steps={num_steps}",
                f"solver.churn={num_steps}",
                f"seed={seed}",
                "precision=bf16",
                *_measured_data(data, root),
            )
            losses = training.losses()
        except (RuntimeError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        lines.append(line_of(sampler, losses, run.results))
        said(lines[-1].line)
        caption = (
            f"{data}, {steps} steps of 64 patches, N = {num_samples} canvases, {num_steps} steps "
            f"of Heun's method, seed {seed}"
        )
        with whole(folder / "table.md") as part:
            part.write_text(table(lines, caption))
    print((folder / "table.md").read_text())
    return 0


def _training_data(data: str, root: Path | None) -> tuple[str, ...]:
    if data == "landscapes":
        return ()
    flags = ("--data=datamodules.photos.Photos", f"--data.root={root}", "--data.scale=0.5")
    # A few hundred photographs are soon seen often.
    return (*flags, "--model.network.dropout=0.1")


def _measured_data(data: str, root: Path | None) -> list[str]:
    return [] if data == "landscapes" else ["data=photos", f"data.root={root}", "data.scale=0.5"]


if __name__ == "__main__":
    sys.exit(auto_cli(study))
