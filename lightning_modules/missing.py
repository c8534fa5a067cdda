"""What a training had beside its network, and a run that goes on with it has not."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch.callbacks import Callback

from lightning_modules.errors import TrainingError

__all__ = ["refuse_missing_callbacks"]

# How long to train and how often to save may change in between.
NOT_NEEDED = {"Timer", "ModelCheckpoint", "Checkpoints"}


def refuse_missing_callbacks(checkpoint: dict[str, Any], callbacks: Iterable[Callback]) -> None:
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
