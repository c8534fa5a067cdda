"""Data sets as Lightning is served them.

The data itself knows nothing of Lightning, which takes seconds to import: who measures canvases, or
makes them, does not wait for it.
"""

from typing import Any

import lightning as L
from lightning.pytorch.cli import LightningArgumentParser
from torch.utils.data import DataLoader
from typing_extensions import override

from datamodules.patches import PatchData

__all__ = ["Parser", "Served", "served"]


class Parser(LightningArgumentParser):
    """Lightning's parser, whose `data` is of this project."""

    @override
    def add_lightning_class_args(
        self, lightning_class: Any, nested_key: str, *rest: Any, **how: Any
    ) -> Any:
        if lightning_class is not Served:
            return super().add_lightning_class_args(lightning_class, nested_key, *rest, **how)
        return self.add_subclass_arguments(PatchData, nested_key, fail_untyped=False, required=True)


class Served(L.LightningDataModule):
    """Serves a data set, and is asked for whatever else it has.

    Args:
        data: The data set.
    """

    def __init__(self, data: PatchData) -> None:
        super().__init__()
        self.data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return served, (self.data,)

    @override
    def setup(self, stage: str) -> None:
        self.data.trainer = self.trainer

    @override
    def train_dataloader(self) -> DataLoader:
        return self.data.train_dataloader()

    @override
    def val_dataloader(self) -> DataLoader:
        return self.data.val_dataloader()

    @override
    def test_dataloader(self) -> DataLoader:
        return self.data.test_dataloader()

    @override
    def predict_dataloader(self) -> DataLoader:
        return self.data.predict_dataloader()

    @override
    def state_dict(self) -> dict[str, int]:
        return self.data.state_dict()

    @override
    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.data.load_state_dict(state_dict)


def served(data: PatchData) -> Served:
    """Returns what serves a data set; checkpoints keep its state by the name of its class."""
    return type(type(data).__qualname__, (Served,), {})(data)
