"""What studies train: one network by the command line, kept, exported; it goes on if stopped."""

import abc
import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["ROOT", "StudyTraining", "code_hash", "differs", "run"]

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyTraining(abc.ABC):
    """One training of a study.

    Args:
        name: Of what it tries; its checkpoints and its denoiser are called so.
        steps: Optimizer steps.
        seed: Seeds the weights and all noise.
        folder: Where checkpoints and the exported denoiser go.
    """

    name: str
    steps: int
    seed: int
    folder: Path

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}.")

    @property
    @abc.abstractmethod
    def config(self) -> Path:
        """The configuration that all trainings of the study share."""

    @property
    @abc.abstractmethod
    def own(self) -> list[str]:
        """The flags that make this training what it is."""

    @property
    def denoiser(self) -> Path:
        """The exported weights."""
        return self.folder / f"{self.name}.safetensors"

    @property
    def command(self) -> list[str]:
        """The words after `python -m lightning_modules`; a training that was begun goes on."""
        checkpoints = self.folder / self.name
        words = [
            "fit",
            f"--config={self.config}",
            f"--seed_everything={self.seed}",
            f"--model.seed={self.seed}",
            f"--trainer.max_steps={self.steps}",
            f"--data.patches_per_epoch={64 * self._epoch}",
            "--trainer.logger=lightning.pytorch.loggers.CSVLogger",
            f"--trainer.logger.save_dir={self.folder}",
            f"--trainer.logger.name={self.name}",
            "--trainer.callbacks+=lightning_modules.checkpoints.Checkpoints",
            f"--trainer.callbacks.dirpath={checkpoints}",
            "--trainer.callbacks.save_on_train_epoch_end=true",
            *self.own,
        ]
        last = checkpoints / "last.ckpt"
        return [*words, f"--ckpt_path={last}"] if last.is_file() else words

    @property
    def _epoch(self) -> int:
        """Steps between validations, each followed by a checkpoint: a divisor of all."""
        return next(epoch for epoch in range(250, 0, -1) if self.steps % epoch == 0)

    def carry_out(self) -> None:
        """Trains and exports, unless the exported denoiser is there.

        Raises:
            RuntimeError: If a command fails; what it wrote is kept.
        """
        # The description is written last: an export that was stopped halfway has none.
        if self.denoiser.is_file() and self.denoiser.with_suffix(".json").is_file():
            return
        run("lightning_modules", *self.command)
        last = self.folder / self.name / "last.ckpt"
        run("lightning_modules.export", str(last), str(self.denoiser))

    def losses(self) -> dict[str, float]:
        """Returns the validation losses of the last step.

        Raises:
            ValueError: If the denoiser was exported from another number of steps.
        """
        provenance = json.loads(self.denoiser.with_suffix(".json").read_text())["provenance"]
        if provenance["steps"] != self.steps or provenance["losses_step"] != self.steps:
            raise ValueError(
                f"{self.denoiser} must be of {self.steps} steps and validated after the last one, "
                f"got {provenance['steps']} and {provenance['losses_step']}; remove it, or name "
                "another folder."
            )
        return provenance["losses"]


def code_hash(folders: Iterable[str], *files: Path) -> str:
    """Returns a hash of what trainings depend on: all code of some folders, and some files."""
    paths = [path for folder in folders for path in (ROOT / folder).glob("*.py")]
    digest = hashlib.sha256()
    for path in sorted([*paths, *files]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def differs(path: Path, settings: dict[str, str]) -> str:
    """Returns what of a study that was begun is not as now; keeps the settings of a new one."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=2) + "\n")
        return ""
    begun = json.loads(path.read_text())
    return ", ".join(f"another {name}" for name in settings if begun.get(name) != settings[name])


def run(module: str, *words: str) -> None:
    """Runs a module of the project in a process of its own.

    Raises:
        RuntimeError: If it fails.
    """
    command = [sys.executable, "-m", module, *words]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status:
        raise RuntimeError(f"python -m {module} ended with status {status}; see above.")
