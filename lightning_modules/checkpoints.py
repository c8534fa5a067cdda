"""When a training is saved, and where: a folder of its own, which always holds its last step."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from typing_extensions import override

from lightning_modules.averaging import EMA
from lightning_modules.checkpoint_file import validate_training_folder

__all__ = ["Checkpoints"]


class Checkpoints(ModelCheckpoint):
    """Lightning's checkpoints, of which `last.ckpt` always is the end of this training.

    It is written whenever a numbered one is, at the end of every epoch, where every training ends,
    and when a training is stopped by SIGTERM or Ctrl-C. Lightning's own writes it with numbered
    ones alone, and beside that of an earlier training, as `last-v1.ckpt`; here a folder that holds
    another training is refused.

    Args:
        dirpath: The folder; None for `checkpoints` in `trainer.default_root_dir`, or where that is
            not set, in the folder of the logger.
        save_last: Lightning's, and without effect: `last.ckpt` is always there, and a file.
        enable_version_counter: Lightning's, and without effect: names are never counted up.
        kwargs: Those of Lightning's: how often, what is monitored, how many are kept.
    """

    def __init__(
        self,
        dirpath: str | Path | None = None,
        save_last: bool | Literal["link"] | None = True,
        enable_version_counter: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(dirpath=dirpath, save_last=True, enable_version_counter=False, **kwargs)

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self.dirpath is None and Path(trainer.default_root_dir).resolve() != Path.cwd():
            self.dirpath = os.path.realpath(Path(trainer.default_root_dir, "checkpoints"))
        super().setup(trainer, pl_module, stage)

    @override
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Not in `setup`, which is before the trainer knows where it goes on from.
        if not trainer.fast_dev_run:
            folder: Any = self.dirpath  # which `setup` has found
            validate_training_folder(Path(folder), trainer.ckpt_path)

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self._keep(trainer)

    @override
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves nothing: all is saved, and by now the average stands where the weights were.

        Lightning would save here what was not saved before, trial runs (`fast_dev_run`) included.
        """

    @override
    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Saves where the training was asked to stop; after a crash nobody knows what is whole."""
        if trainer.state.fn != TrainerFn.FITTING or _weights_are_elsewhere(trainer):
            return
        if not isinstance(exception, SIGTERMException):
            super().on_exception(trainer, pl_module, exception)  # if `save_on_exception` says so
            return
        self._keep(trainer)
        if self.last_model_path:
            _say_how_to_go_on(trainer.global_step, self.last_model_path)

    def _keep(self, trainer: L.Trainer) -> None:
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))


def _weights_are_elsewhere(trainer: L.Trainer) -> bool:
    """Whether an average stands in the place of the weights, which `EMA` alone takes back."""
    averages = [each for each in trainer.callbacks if isinstance(each, WeightAveraging)]
    return trainer.validating and any(not isinstance(each, EMA) for each in averages)


@rank_zero_only
def _say_how_to_go_on(step: int, path: str) -> None:
    print(
        f"stopped after step {step:,}; the same command with --ckpt_path "
        f"{shlex.quote(os.path.relpath(path))} goes on.",
        file=sys.stderr,
    )
