"""Which checkpoint a command line goes on from, and whether it asks for the same training."""

from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint

from lightning_modules.averaging import EMA
from lightning_modules.checkpoint_file import newest, numbered, validate_training_folder
from lightning_modules.checkpoints import Checkpoints
from lightning_modules.errors import TrainingError

__all__ = [
    "checkpoint_of",
    "take_own_callbacks",
    "validate_folders",
    "validate_model",
]

# Of Lightning's own a shorter training, an interruption or a second run may lose weights.
OWN = {ModelCheckpoint: Checkpoints, EMAWeightAveraging: EMA}
HPC = "hpc_ckpt_*.ckpt"
SHOWN = 3  # settings that differ, of which the first are named


def take_own_callbacks(config: Namespace) -> None:
    """Puts the project's callbacks in the place of Lightning's, whose settings they take.

    Where none would save the training, one is added, as Lightning would.
    """
    for callback in _callbacks(config):
        own = OWN.get(_kind(callback))
        if own is not None:
            callback.class_path = _path(own)
    trainer = config.trainer
    wanted = trainer.enable_checkpointing is not False and not trainer.barebones
    if wanted and not any(issubclass(_kind(each), ModelCheckpoint) for each in _callbacks(config)):
        added = Namespace(class_path=_path(Checkpoints), init_args=Namespace())
        trainer.callbacks = [*_callbacks(config), added]


def _kind(callback: Namespace) -> type:
    """Returns the class of a callback, of those that a function makes their common one."""
    named = resolve_name(callback.class_path)
    return named if isinstance(named, type) else Callback


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _callbacks(config: Namespace) -> list[Namespace]:
    callbacks = config.trainer.callbacks or []
    return callbacks if isinstance(callbacks, list) else [callbacks]


def checkpoint_of(config: Namespace) -> Path | None:
    """Returns the checkpoint that a command goes on from or measures; None for fresh weights.

    `last` is the newest `last.ckpt`, `hpc` the newest that a cluster's signal left behind; what
    begins with `registry` is left to Lightning.

    Raises:
        TrainingError: If `last` or `hpc` is asked for and there is none, or `best`, which only the
            process that trained knows.
    """
    given = config.get("ckpt_path")
    if given is None and SLURMEnvironment.detect() and _left_by_cluster(config):
        given = "hpc"  # as Lightning does when a job is queued again
    if given is None or str(given).split(":")[0] == "registry":
        return None
    if given == "best":
        raise TrainingError(
            "--ckpt_path best is known to the process that trains alone: give the file."
        )
    if given not in ("last", "hpc"):
        return Path(given)
    if given == "hpc":
        folders, pattern = [_root(config)], HPC
        found = newest(_left_by_cluster(config))
    else:
        folders, pattern = list(_folders(config)), "last*.ckpt"
        found = newest(path for folder in folders for path in numbered(folder, pattern))
    if found is None:
        where = ", ".join(map(str, folders)) or "any folder that the configuration names"
        raise TrainingError(
            f"--ckpt_path {given} needs a checkpoint, but there is no {pattern} in {where}: leave "
            "--ckpt_path out to begin, or give the file."
        )
    return found


def validate_folders(config: Namespace, resumed: Path | None) -> None:
    """Checks that no folder of a new training holds another one's checkpoints.

    Raises:
        TrainingError: If one does.
    """
    if not config.trainer.fast_dev_run:
        for folder in _folders(config):
            validate_training_folder(folder, resumed)


def validate_model(
    parser: ArgumentParser, config: Namespace, subcommand: str, checkpoint: dict[str, Any]
) -> None:
    """Checks that a command asks for the model of a checkpoint, whose own settings would win.

    Raises:
        TrainingError: If a setting differs; it names the first ones.
    """
    saved = {subcommand: {"model": dict(checkpoint["hyper_parameters"])}}
    saved[subcommand]["model"].pop("_instantiator", None)
    asked, trained = (
        _flat(parser, each) for each in (config, parser.parse_object(saved, config.clone()))
    )
    differ = [
        f"{key}={asked.get(key)} (trained with {trained.get(key)})"
        for key in sorted(asked.keys() | trained.keys())
        if asked.get(key) != trained.get(key)
    ]
    if not differ:
        return
    more = f" and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
    raise TrainingError(
        "the model of --ckpt_path keeps the settings it was trained with, but others are asked "
        f"for: {', '.join(differ[:SHOWN])}{more}. Leave them out; or to train its weights further "
        "with these, export them and give --model.initial_weights FILE in place of --ckpt_path."
    )


def _root(config: Namespace) -> Path:
    return Path(config.trainer.default_root_dir or ".")


def _left_by_cluster(config: Namespace) -> list[Path]:
    """Returns what a signal of the cluster had saved before the job was queued again."""
    return numbered(_root(config), HPC)


def _folders(config: Namespace) -> Iterator[Path]:
    """Where the configured callbacks save, as far as that is known before a logger is made."""
    for callback in _callbacks(config):
        kind = _kind(callback)
        if not issubclass(kind, ModelCheckpoint):
            continue
        folder = callback.get("init_args", Namespace()).get("dirpath")
        root = config.trainer.default_root_dir
        if folder is None and issubclass(kind, Checkpoints) and root is not None:
            folder = Path(root, "checkpoints")
        if folder is not None:
            yield Path(folder).expanduser()


def _flat(parser: ArgumentParser, config: Namespace) -> dict[str, Any]:
    """Returns the model's settings as plain values, by dotted names."""
    dumped = yaml.safe_load(parser.dump(config, skip_validation=True, skip_none=False))
    return dict(_leaves("model", dumped[config.subcommand]["model"]))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(f"{name}.{key}", each)
    else:
        yield name, value
