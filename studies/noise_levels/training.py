"""One training of the study, and the denoiser that comes of it."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

__all__ = ["SAMPLERS", "Training", "code_hash"]

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "studies" / "noise_levels.yaml"
# Every sampler by a short name, with its own settings. All but `shared` cut samples into the same
# regions. `controlled_wide` draws the ends of the range by variability alone.
SAMPLERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "shared": ("shared.Shared",),
        "independent": ("independent.Independent",),
        "mean_beta": ("mean_beta.MeanBeta",),
        "ltg": ("ltg.LogitNormalTruncatedGaussian",),
        "controlled": ("controlled.Controlled",),
        "controlled_wide": ("controlled.Controlled", "max_variability=1.0", "waiting_share=0.0"),
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """One network trained with one sampler of levels.

    Args:
        sampler: Its short name.
        data: Class path of the data, and its settings.
        steps: Optimizer steps.
        seed: Seeds the weights and all noise.
        folder: Where checkpoints and the exported denoiser go.
    """

    sampler: str
    data: tuple[str, ...]
    steps: int
    seed: int
    folder: Path

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}.")

    @property
    def denoiser(self) -> Path:
        """The exported weights."""
        return self.folder / f"{self.sampler}.safetensors"

    @property
    def command(self) -> list[str]:
        """The words after `python -m lightning_modules`; a training that was begun goes on."""
        path, *own = SAMPLERS[self.sampler]
        levels = [f"--model.noise_levels=sampling.noise_levels.{path}"]
        levels += [f"--model.noise_levels.{setting}" for setting in own]
        levels += ["--model.noise_levels.p_mean=-0.8", "--model.noise_levels.p_std=1.4"]
        if self.sampler != "shared":
            levels.append("--model.noise_levels.region_multiple=4")
        keep = "lightning.pytorch.callbacks.ModelCheckpoint"
        checkpoints = self.folder / self.sampler
        words = [
            "fit",
            f"--config={CONFIG}",
            f"--seed_everything={self.seed}",
            f"--model.seed={self.seed}",
            f"--trainer.max_steps={self.steps}",
            f"--data.patches_per_epoch={64 * self._epoch}",
            "--trainer.logger=lightning.pytorch.loggers.CSVLogger",
            f"--trainer.logger.save_dir={self.folder}",
            f"--trainer.logger.name={self.sampler}",
            f"--trainer.callbacks+={keep}",
            f"--trainer.callbacks.dirpath={checkpoints}",
            "--trainer.callbacks.save_last=true",
            "--trainer.callbacks.save_on_train_epoch_end=true",
            *levels,
            *self.data,
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
        if self.denoiser.is_file():
            return
        run("lightning_modules", *self.command)
        last = self.folder / self.sampler / "last.ckpt"
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


def code_hash() -> str:
    """Returns a hash of what a training depends on: samplers, network, loss, configuration."""
    folders = ("sampling/noise_levels", "denoisers", "lightning_modules", "studies/noise_levels")
    files = [path for folder in folders for path in (ROOT / folder).glob("*.py")]
    digest = hashlib.sha256()
    for path in sorted([*files, CONFIG]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def run(module: str, *words: str) -> None:
    """Runs a module of the project in a process of its own.

    Raises:
        RuntimeError: If it fails.
    """
    command = [sys.executable, "-m", module, *words]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status:
        raise RuntimeError(f"python -m {module} ended with status {status}; see above.")
