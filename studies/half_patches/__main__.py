"""`python -m studies.half_patches`: every way to ask for half a patch, against what is right."""

import sys
from collections.abc import Iterator
from pathlib import Path

from jsonargparse import auto_cli

from benchmarks.report.contact_sheet import contact_sheet
from patchcanvas.files import whole
from studies.half_patches.canvases import perfect_canvases, pictured
from studies.half_patches.measuring import Measuring
from studies.half_patches.table import canvas_table, excess_table, perfect_table
from studies.half_patches.training import study_hash
from studies.harness import said
from studies.training import ROOT, differs

__all__ = ["study"]

SHIPPED = tuple(
    ROOT / "checkpoints" / f"{name}.safetensors" for name in ("landscapes", "landscapes_controlled")
)


def study(
    steps: int = 500,
    num_crops: int = 512,
    levels: tuple[float, ...] = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0),
    num_samples: int = 32,
    num_reference: int = 2000,
    num_steps: int = 18,
    checkpoints: tuple[Path, ...] = SHIPPED,
    seed: int = 0,
    folder: Path = Path("results/half_patches"),
) -> int:
    """Trains networks with halves and without, asks them for halves in every way, writes tables.

    Trainings and canvases that are finished are kept: the same command goes on where it stopped.

    Args:
        steps: Optimizer steps of each of four trainings, of 64 patches each.
        num_crops: Half-patches whose estimates are looked at.
        levels: Their noise levels.
        num_samples: Canvases of each row.
        num_reference: Real crops that FID+ compares with.
        num_steps: Steps of Heun's method, with as much churn.
        checkpoints: Denoisers of landscapes, trained on halves, that are asked too; the last makes
            canvases.
        seed: Seeds weights and noise.
        folder: Where everything goes.
    """
    if num_crops < 2 or not levels or min(levels) <= 0:
        print(
            f"error: num_crops must be at least 2, and levels positive, got {num_crops} and "
            f"{levels}.",
            file=sys.stderr,
        )
        return 2
    missing = [str(path) for path in checkpoints if not path.is_file()]
    if missing:
        print(f"error: checkpoints must be files, got {', '.join(missing)}.", file=sys.stderr)
        return 2
    folder = folder.resolve() / f"{steps}-{seed}"
    other = differs(folder / "settings.json", {"code": study_hash()})
    if other:
        print(f"error: {folder} holds a study of {other}: give another folder.", file=sys.stderr)
        return 2
    try:
        measuring = Measuring(
            steps=steps,
            seed=seed,
            num_crops=num_crops,
            levels=levels,
            num_samples=num_samples,
            num_reference=num_reference,
            num_steps=num_steps,
            # The harness runs in the project's folder, wherever this was called.
            checkpoints=tuple(path.resolve() for path in checkpoints),
            folder=folder,
        )
        page = ""
        for caption, table in parts(measuring):
            page += f"{caption}\n\n{table}\n\n"
            said(f"{caption}\n\n{table}")
            with whole(folder / "table.md") as file:
                file.write_text(page)
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print((folder / "table.md").read_text())
    return 0


def parts(measuring: Measuring) -> Iterator[tuple[str, str]]:
    """Carries out the study, and gives each of its tables with its caption as it is done."""
    crops = f"{measuring.num_crops} half-patches, seed {measuring.seed}"
    trained = f"{measuring.steps} steps of 64 patches"
    yield (
        "Canvases of a perfect denoiser (benchmarks.oracle, its default fields):",
        perfect_table(perfect_canvases()),
    )
    yield (
        "A Gaussian field: squared distance from the exact estimate, in percent of the least "
        f"squared error ({crops}; networks of {trained}):",
        excess_table(measuring.fields(), measuring.levels),
    )
    yield (
        "Landscapes: squared error above that of the network with halves at its own size, in "
        f"percent, of checkpoints above their own ({crops}; networks of {trained}):",
        excess_table(measuring.landscapes(), measuring.levels),
    )
    found = measuring.canvases()
    for denoiser in sorted({name for name, _ in found}):
        if rows := pictured(found, denoiser):
            contact_sheet(rows, measuring.folder / f"{denoiser}.png")
    yield (
        f"Canvases of landscapes (DiffCollage, N = {measuring.num_samples}, {measuring.num_steps} "
        f"steps of Heun's method, seed {measuring.seed}):",
        canvas_table(found),
    )


if __name__ == "__main__":
    sys.exit(auto_cli(study))
