"""The command: `python -m datamodules.invariance root=FOLDER out=FILE`."""

import dataclasses
import math
import re
import sys
import warnings
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from datamodules.invariance.crossfit import CrossFit
from datamodules.invariance.images import Folder, Source, Towers, looked_at
from datamodules.invariance.scores import Scored, Scores

__all__ = ["Settings", "filtered", "main"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Which images look the same on the left as on the right.

    Args:
        root: Folder of images, with its subfolders; or the folder of LSUN's databases.
        out: The manifest to write, a .json file. What is done so far lies in OUT.parts: the same
            command goes on from there. It may be deleted afterwards.
        source: `folder`, or `lsun_tower` for the database tower_train_lmdb below root.
        threshold: Images are kept below this score; 0.95 is what the authors took for LHQ
            (universome/alis, issue 11). Changing it costs nothing once there are scores.
        size: Side of what the classifier sees of an image, in pixels.
        fit: How the classifiers are trained.
        accelerator: What they are trained on, in Lightning's words: auto, cpu, cuda, mps.
    """

    root: Path
    out: Path
    source: Literal["folder", "lsun_tower"] = "folder"
    threshold: float = 0.95
    size: int = 64
    fit: CrossFit = dataclasses.field(default_factory=CrossFit)
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        if not 0.5 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0.5, 1], got {self.threshold}.")
        if self.size < 8:
            raise ValueError(f"size must be at least 8, got {self.size}.")
        if self.out.suffix != ".json":
            raise ValueError(f"out must be a .json file, got {self.out}.")

    @property
    def recorded(self) -> dict[str, Any]:
        """What the scores depend on, and the threshold; not where files lie."""
        root: dict[str, Any] = {"root": self.root.expanduser().resolve().name}
        plain = root | {"source": self.source, "threshold": self.threshold, "size": self.size}
        return plain | dataclasses.asdict(self.fit) | {"torch": torch.__version__}


def filtered(settings: Settings, console: Console | None = None) -> Scores:
    """Scores every image and writes the manifest."""
    source: Source = Folder(settings.root)
    if settings.source == "lsun_tower":
        source = Towers(settings.root)
    parts = settings.out.with_name(settings.out.name + ".parts")
    fabric = L.Fabric(accelerator=settings.accelerator, devices=1)
    with _progress(console or Console(stderr=True)) as progress:
        looking = progress.add_task("images", total=len(source.paths))
        thumbnails, facts = looked_at(
            source,
            settings.size,
            parts,
            after=lambda count: progress.update(looking, completed=count),
        )
        usable = torch.tensor([not fact.problem for fact in facts])
        epochs = [
            progress.add_task(f"model {fold}", total=settings.fit.epochs)
            for fold in range(settings.fit.folds)
        ]
        readable = [fact for fact in facts if not fact.problem]
        folds, found = settings.fit.found(
            thumbnails[usable],
            readable,
            fabric=fabric,
            folder=parts,
            after_epoch=lambda fold: progress.advance(epochs[fold]),
        )
    scores = Scores(
        settings=settings.recorded,
        content=source.content(facts),
        images=tuple(
            Scored(
                path=fact.path,
                sha256=fact.sha256,
                bytes=fact.bytes,
                height=fact.height,
                width=fact.width,
                fold=fold,
                p_left=p_left,
                p_right=p_right,
            )
            for fact, fold, (p_left, p_right) in zip(readable, folds, found.tolist(), strict=True)
        ),
        skipped={fact.path: fact.problem for fact in facts if fact.problem},
    )
    scores.write(settings.out)
    _warn_of(scores)
    return scores


def main(arguments: list[str]) -> None:
    """Runs the command; `key=value` and `--key=value` are the same thing."""
    parser = ArgumentParser(
        prog="python -m datamodules.invariance",
        description="Scores every image by how surely its left and right sides can be told apart, "
        "and keeps those where they cannot (Skorokhodov et al. 2021, Algorithm 1, cross-fitted). "
        "Write settings as key=value, for example: root=LHQ256 out=lhq_kept.json fit.folds=5.",
    )
    parser.add_class_arguments(Settings, None)
    tokens = [
        f"--{token}" if re.match(r"[A-Za-z_][\w.]*=", token) else token for token in arguments
    ]
    given = parser.parse_args(tokens)
    fields = dataclasses.fields(Settings)
    try:
        values = parser.instantiate(given)
        settings = Settings(**{field.name: values[field.name] for field in fields})
        scores = filtered(settings)
    except (OSError, ValueError, ImportError) as error:
        parser.exit(2, f"{error}\n")
    print(_said(scores, settings.out))


def _said(scores: Scores, out: Path) -> str:
    return (
        f"{len(scores.kept)} of {len(scores.images)} images are kept (score below "
        f"{scores.threshold:g}); {len(scores.skipped)} were unreadable.\n"
        f"Of images they never saw, the models tell the side rightly for {scores.accuracy:.1%} of "
        f"the patches, log loss {scores.log_loss:.3f} (chance: 50%, {math.log(2):.3f}).\n"
        f"Manifest: {out}, hash {scores.hash[:12]}."
    )


def _warn_of(scores: Scores) -> None:
    """Warns if the models are so sure of wrong sides that a threshold means little."""
    if scores.log_loss > math.log(2) + 0.05:
        warnings.warn(
            f"the models are worse than even odds on images they never saw (log loss "
            f"{scores.log_loss:.3f}, even odds have {math.log(2):.3f}): the scores are noise; add "
            "images, or set fewer fit.epochs.",
            stacklevel=3,
        )


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:>8}"),
        BarColumn(40),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
