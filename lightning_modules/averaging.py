"""The running average of the weights, which is what validation, previews and exports use."""

import functools
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EMAWeightAveraging
from typing_extensions import override

__all__ = ["EMA", "updates_of"]


class EMA(EMAWeightAveraging):
    """An exponential moving average that is the current weights until it begins.

    Lightning's own holds the untrained weights until `update_starting_at_step`, validates them and
    saves them as what was trained; and an exception in the middle of a validation leaves the
    average in the place of the weights. Neither happens here.

    Args:
        decay: What an update keeps of the average, in [0, 1).
        kwargs: Those of Lightning's: when updates begin, and how often they are made.
    """

    def __init__(self, decay: float = 0.999, **kwargs: Any) -> None:
        super().__init__(decay=decay, **kwargs)
        self._settings = {"decay": decay, **kwargs}
        self.swapped = False

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process is sent, before it begins: Lightning's holds a local function."""
        return functools.partial(EMA, **self._settings), ()

    @property
    @override
    def state_key(self) -> str:
        """That of Lightning's own, so that its checkpoints can be gone on with."""
        return EMAWeightAveraging.__qualname__

    @override
    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)
        self.swapped = self._average_model is not None

    @override
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)
        self.swapped = False

    @override
    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Puts the weights back in their place, so that they can be saved."""
        if self.swapped:
            self.on_validation_epoch_end(trainer, pl_module)

    @override
    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._follow(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    @override
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._follow(pl_module)
        super().on_train_end(trainer, pl_module)

    def _follow(self, pl_module: L.LightningModule) -> None:
        """Makes an average that was never updated the current weights."""
        if self._average_model is not None and not int(self._average_model.n_averaged):
            self._average_model.module.load_state_dict(pl_module.state_dict())


def updates_of(checkpoint: dict[str, Any]) -> int | None:
    """Returns how often the average in a training checkpoint was updated; None without one."""
    state = checkpoint.get("averaging_state")
    return None if state is None else int(state["n_averaged"])
