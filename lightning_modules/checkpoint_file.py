"""Training checkpoints on disk: which one is meant, and what it holds, or why it cannot be used."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from lightning_modules.errors import TrainingError

__all__ = [
    "newest",
    "numbered",
    "read_checkpoint",
    "validate_callbacks",
    "validate_training_folder",
]

NEEDED = (
    "state_dict",
    "hyper_parameters",
    "global_step",
    "pytorch-lightning_version",
    "provenance",
)
NEEDED_TO_GO_ON = ("optimizer_states", "lr_schedulers", "loops")
# Callbacks whose state is not: how long to train and how often to save may change in between.
NOT_NEEDED = {"Timer", "ModelCheckpoint", "Checkpoints"}


def read_checkpoint(path: str | Path, *, to_go_on: bool = False) -> dict[str, Any]:
    """Returns what a training checkpoint holds, its tensors mapped from the file.

    Args:
        path: The file.
        to_go_on: Whether a training goes on with it, for which weights alone do not do.

    Raises:
        TrainingError: If there is no such file, or it is damaged or no training checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        kind = "a folder: name a .ckpt file in it" if path.is_dir() else "not there"
        raise TrainingError(f"a training checkpoint must be a file, but {path} is {kind}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # the archive, the pickle in it and the tensors: any type at all
        raise TrainingError(
            f"{path} is damaged, cut off or no training checkpoint ({_brief(error)}); "
            f"{_instead_of(path)}."
        ) from error
    needed = (*NEEDED, *NEEDED_TO_GO_ON) if to_go_on else NEEDED
    missing = [key for key in needed if not isinstance(content, dict) or key not in content]
    if missing:
        raise TrainingError(
            f"{path} is no whole training checkpoint of fit: it holds no {missing[0]}; "
            f"{_instead_of(path)}."
        )
    return content


def validate_training_folder(folder: Path, resumed: str | Path | None) -> None:
    """Checks that a folder holds no checkpoints but those of the training that goes on.

    Raises:
        TrainingError: If it does.
    """
    last = newest(numbered(folder))
    if last is None or (resumed is not None and _are_of_one_training(last, Path(resumed))):
        return
    raise TrainingError(
        f"{folder} holds another training ({last.name} is the newest): go on with that one by "
        f"--ckpt_path {shlex.quote(str(last))}, or give this one another folder "
        "(--trainer.default_root_dir DIR, or the dirpath that is set)."
    )


def validate_callbacks(checkpoint: dict[str, Any], callbacks: Iterable[Callback]) -> None:
    """Checks that every callback whose state a checkpoint holds is there to take it up.

    Without weight averaging a run would go on from averaged weights with the moments of others.

    Raises:
        TrainingError: If one is missing; it names them all.
    """
    present = {kind.__qualname__ for each in callbacks for kind in type(each).__mro__}
    # A state's key is the name of its class, after which settings may stand in braces.
    saved = {key.partition("{")[0] for key in checkpoint.get("callbacks", {})}
    missing = sorted(saved - present - NOT_NEEDED)
    if missing:
        raise TrainingError(
            f"the training that goes on had {', '.join(missing)}, whose state the checkpoint "
            "holds, but trainer.callbacks has not: give the configuration it was begun with."
        )


def _are_of_one_training(last: Path, resumed: Path) -> bool:
    """Whether two checkpoints lie together, or say that they are of the same training."""
    if last.resolve().parent == resumed.resolve().parent:
        return True
    try:
        names = [read_checkpoint(path).get("training") for path in (last, resumed)]
    except TrainingError:
        return False
    return names[0] is not None and names[0] == names[1]


def numbered(folder: Path, pattern: str = "*.ckpt") -> list[Path]:
    """Returns the checkpoints in a folder, which need not exist."""
    return sorted(folder.glob(pattern))


def newest(paths: Iterable[Path]) -> Path | None:
    """Returns the file that was written last; None of none."""
    return max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)


def _instead_of(path: Path) -> str:
    others = [other for other in numbered(path.parent) if other.resolve() != path.resolve()]
    other = newest(others)
    return f"beside it is {other.name}" if other else "there is no other beside it: train anew"


def _brief(error: Exception) -> str:
    said, *_ = re.split(r"\.\s|\n", str(error).strip())
    return f"{type(error).__name__}: {said[:100]}".removesuffix(": ")
