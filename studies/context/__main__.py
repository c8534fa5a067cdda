"""`python -m studies.context`: the ablation of Trio Diffusion, trained, sampled and tabulated."""

import json
import sys
from pathlib import Path

from jsonargparse import auto_cli

from backbones.stand_ins import save_clip, save_dino
from benchmarks.report.contact_sheet import contact_sheet
from patchcanvas.files import whole
from studies.context.configurations import CONFIGURATIONS, Scale, Training, study_hash
from studies.context.measuring import Measuring
from studies.context.table import STRATEGIES, plain_line, tables
from studies.harness import pictured, said
from studies.training import differs

__all__ = ["study"]

STAND_INS = {"clip": save_clip, "dino": save_dino}


def study(
    configurations: tuple[str, ...] = tuple(CONFIGURATIONS),
    scale: Scale = "small",
    root: Path | None = None,
    clip: str | None = None,
    dino: str | None = None,
    steps: int = 1000,
    views: tuple[int, int] = (300, 1000),
    num_samples: int = 64,
    num_reference: int = 1000,
    num_steps: int = 18,
    completions: int = 128,
    guidance: float = 1.0,
    canvas_width: int | None = None,
    prompts: tuple[str, ...] = ("blue", "red", "cat"),
    seed: int = 0,
    device: str = "auto",
    folder: Path = Path("results/context"),
) -> int:
    """Trains every configuration, samples from it, measures it, and writes one table.

    What is finished is kept: the same command goes on where it stopped.

    Args:
        configurations: Which configurations.
        scale: `small` trains 0.9 M parameters on scenes of 64 x 192 px, minutes each on a CPU
            core; `full` is the size of Trio Diffusion and needs GPUs and photographs.
        root: Folder of photographs; None for procedural landscapes.
        clip: Weights of CLIP ViT-B/32: a folder, or a name on the hub. None for a small random
            stand-in of the same class.
        dino: Weights of DINOv2 ViT-B/14, likewise.
        steps: Optimizer steps of each training, of 64 windows each.
        views: Views in training, and of the configurations with more data.
        num_samples: Canvases of each strategy.
        num_reference: Real crops that FID+ compares with.
        num_steps: Steps of Heun's method, with as much churn.
        completions: Blocks that are completed, of training and of unseen views each.
        guidance: Scale of classifier-free guidance of the canvases.
        canvas_width: Width of the canvases, in pixels; None for that of a view, as their height is.
        prompts: Words whose responses are compared, at least two.
        seed: Seeds weights and noise.
        device: Where canvases and completions are made: as `benchmarks.run` has it.
        folder: Where everything goes, in a folder for the data.
    """
    refusal = _refusal(configurations, scale, root, prompts)
    if not refusal and completions > min(views):
        refusal = f"completions must be at most the views of training, {views}, got {completions}."
    if refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    root = None if root is None else root.resolve()
    clip, dino = _whole_path(clip), _whole_path(dino)
    data = "landscapes" if root is None else "photos"
    folder = folder.resolve() / f"{data}-{scale}-{steps}-{seed}"
    settings = {
        "root": str(root),
        "clip": str(clip),
        "dino": str(dino),
        "views": str(views),
        "code": study_hash(scale),
    }
    other = differs(folder / "settings.json", settings)
    if other:
        print(f"error: {folder} holds a study of {other}: give another folder.", file=sys.stderr)
        return 2
    weights = {
        name: _stand_in(folder, name) if given is None else given
        for name, given in (("clip", clip), ("dino", dino))
    }
    measuring = Measuring(
        root=root,
        num_samples=num_samples,
        num_reference=num_reference,
        num_steps=num_steps,
        completions=completions,
        guidance=guidance,
        canvas_width=canvas_width,
        prompts=tuple(prompts),
        device=device,
    )
    caption = (
        f"{data}, {steps} steps of 64 windows, N = {num_samples} canvases, {num_steps} steps "
        f"of Heun's method, guidance {guidance:g}, {num_reference} real crops, {completions} "
        f"completions, {views[0]} or {views[1]} views, seed {seed}; "
        f"CLIP: {clip or 'random stand-in'}, DINOv2: {dino or 'random stand-in'}"
    )
    lines, runs = [], {}
    for name in configurations:
        training = Training(
            name=name,
            steps=steps,
            seed=seed,
            folder=folder,
            scale=scale,
            views=views,
            weights=weights,
            data=_training_flags(root),
        )
        try:
            training.carry_out()
            runs[name] = measuring.canvases(training)
            lines.append(measuring.line(training, runs[name]))
            said(lines[-1].line)
        except (RuntimeError, ValueError, OSError) as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            return 1
        with whole(folder / "table.md") as part:
            part.write_text(tables(lines, caption))
        with whole(folder / "table.json") as part:
            part.write_text(json.dumps([plain_line(one) for one in lines], indent=2) + "\n")
    for strategy in STRATEGIES:
        contact_sheet(pictured(runs, strategy), folder / f"{strategy}.png", max_samples=2)
    print((folder / "table.md").read_text())
    return 0


def _whole_path(weights: str | None) -> str | None:
    """Returns the path of a folder that is here; names on the hub as they are.

    Trainings run in the project's folder, wherever this was called.
    """
    return str(Path(weights).resolve()) if weights and Path(weights).is_dir() else weights


def _stand_in(folder: Path, name: str) -> str:
    """Returns a folder of random weights, which is made if it is not there."""
    path = folder / f"stand_in_{name}"
    if not path.is_dir():
        # Under its name once it is whole.
        part = folder / f"{path.name}.part"
        STAND_INS[name](part)
        part.rename(path)
    return str(path)


def _refusal(
    configurations: tuple[str, ...], scale: Scale, root: Path | None, prompts: tuple[str, ...]
) -> str:
    """Returns why a study cannot begin; nothing if it can."""
    unknown = sorted(set(configurations) - set(CONFIGURATIONS))
    if unknown or not configurations:
        return f"configurations must be among {', '.join(CONFIGURATIONS)}, got {configurations}."
    if root is not None and not root.is_dir():
        return f"root must be a folder of photographs, got {root}."
    if scale == "full" and root is None:
        return "--scale full needs photographs: give their folder as --root."
    if len(prompts) < 2:
        return f"prompts must be at least two, to be compared, got {prompts}."
    return ""


def _training_flags(root: Path | None) -> tuple[str, ...]:
    if root is None:
        return ()
    return ("--data=datamodules.photos.Photos", f"--data.root={root}")


if __name__ == "__main__":
    sys.exit(auto_cli(study))
