"""The filter itself: folds, one classifier for each, and a score for every image."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from datamodules.invariance.classifier import Network, probabilities, trained
from datamodules.invariance.images import Facts
from datamodules.split import hashed

__all__ = ["CrossFit", "fold_of"]

Thumbnails = UInt8[Tensor, "images 3 size size"]
FEWEST = 10  # images to train on: one of them is watched


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossFit:
    """How images are scored by models that never saw them.

    Args:
        folds: Parts the images are dealt into; the images of one are scored by a model trained on
            all the others. More folds cost more time and train on more images.
        network: `small` for thumbnails; `resnet18` or `resnet50`, untrained, for a GPU.
        share: Width of a patch as a share of its image: 0.5 looks at the two halves.
        epochs: Passes over the images, at most; the best one counts.
        batch_size: Images a step, two patches each.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        seed: Seeds the folds, the networks and the order of the images.
    """

    folds: int = 2
    network: Network = "small"
    share: float = 0.5
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("folds", 2), ("epochs", 1), ("batch_size", 1), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}.")
        if not 0 < self.share <= 0.5:
            raise ValueError(f"share must be in (0, 0.5], got {self.share}.")

    def found(
        self,
        thumbnails: Thumbnails,
        facts: list[Facts],
        *,
        fabric: L.Fabric,
        folder: Path,
        after_epoch: Callable[[int], None] = lambda fold: None,
    ) -> tuple[list[int], Float[Tensor, "images 2"]]:
        """Returns the fold of every image, and p_left and p_right from the model of its fold.

        Each fold's figures are kept in `folder` when they are known, and found there by a later
        run with the same settings and images.

        Raises:
            ValueError: If a model would have fewer than ten images to train on.
        """
        folds = torch.tensor([fold_of(fact.sha256, self.folds, self.seed) for fact in facts])
        self._validate_folds(folds)
        key = self._key(facts, thumbnails.shape[-1])
        found = torch.full((len(facts), 2), torch.nan, dtype=torch.float64)
        for fold in range(self.folds):
            inside = folds == fold
            file = folder / f"fold{fold}.json"
            known = _loaded(file, key)
            if known is None:
                model = trained(
                    thumbnails[~inside],
                    network=self.network,
                    width=self.width(thumbnails.shape[-1]),
                    epochs=self.epochs,
                    batch_size=self.batch_size,
                    learning_rate=self.learning_rate,
                    weight_decay=self.weight_decay,
                    seed=self.seed + fold,
                    fabric=fabric,
                    after_epoch=functools.partial(after_epoch, fold),
                )
                width = self.width(thumbnails.shape[-1])
                known = probabilities(model, thumbnails[inside], width, self.batch_size, fabric)
                _save(file, {"key": key, "p": known.tolist()})
            found[inside] = known
        return folds.tolist(), found

    def width(self, size: int) -> int:
        """Width of a patch of a thumbnail, in pixels."""
        return max(1, round(size * self.share))

    def _validate_folds(self, folds: Tensor) -> None:
        others = [int((folds != fold).sum()) for fold in range(self.folds)]
        if min(others) < FEWEST:
            raise ValueError(
                f"every model needs {FEWEST} images to train on, but one would have {min(others)} "
                f"of {len(folds)}; add images or set more folds than {self.folds}."
            )

    def _key(self, facts: list[Facts], size: int) -> str:
        """Names the settings and images that a fold's figures belong to."""
        images = [(fact.path, fact.sha256) for fact in facts]
        text = json.dumps([dataclasses.asdict(self), size, images], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def fold_of(content: str, folds: int, seed: int) -> int:
    """The fold of an image, by its content alone: copies share it, others do not move it."""
    return hashed("fold", seed, content) % folds


def _save(file: Path, contents: dict[str, Any]) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(contents))
    partial.replace(file)


def _loaded(file: Path, key: str) -> Float[Tensor, "some 2"] | None:
    if not file.is_file():
        return None
    saved = json.loads(file.read_text())
    return torch.tensor(saved["p"], dtype=torch.float64) if saved["key"] == key else None
