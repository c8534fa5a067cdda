"""Pictures of a training in progress, and patches on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from jaxtyping import UInt8
from lightning.pytorch.callbacks import BasePredictionWriter, Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torchvision.utils import make_grid, save_image
from typing_extensions import override

from lightning_modules.denoising import DenoiserTraining
from lightning_modules.precision import in_float32
from sampling.images import to_uint8
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas
from strategies.context import CanvasContext

__all__ = ["PatchWriter", "Previews"]


class Previews(Callback):
    """Logs a grid of patches and strips of the same seeds to TensorBoard after validation.

    Args:
        strategy: Makes the strips.
        num_patches: Patches of the grid.
        num_strips: Strips, one under the other.
        strip_width: Width of a strip, in pixels.
        every_n_validations: Logs after each n-th validation.
    """

    def __init__(
        self,
        strategy: Strategy,
        num_patches: int = 32,
        num_strips: int = 4,
        strip_width: int = 192,
        every_n_validations: int = 1,
    ) -> None:
        if min(num_patches, num_strips, strip_width, every_n_validations) < 1:
            raise ValueError("counts, width and every_n_validations must be at least 1.")
        self.strategy = strategy
        self.num_patches = num_patches
        self.num_strips = num_strips
        self.strip_width = strip_width
        self.every_n_validations = every_n_validations
        self.validations = 0

    @override
    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: Any,  # a DenoiserTraining
        outputs: Any,
        batch: Tensor,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        # Not at the epoch's end: by then the averaged weights have been swapped out again.
        if trainer.sanity_checking or not trainer.is_global_zero or batch_idx != 0:
            return
        self.validations += 1
        if self.validations % self.every_n_validations == 0:
            self._log(trainer, pl_module)

    def _log(self, trainer: L.Trainer, module: DenoiserTraining) -> None:
        size = module.denoiser.patch_size
        patches = self._generate(module, self.num_patches, width=size)
        strips = self._generate(module, self.num_strips, width=self.strip_width)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                step = trainer.global_step
                logger.experiment.add_image("patches", make_grid(patches, nrow=8), step)
                logger.experiment.add_image("strips", make_grid(strips, nrow=1), step)

    @torch.no_grad()
    def _generate(
        self, module: DenoiserTraining, count: int, *, width: int
    ) -> UInt8[Tensor, "count 3 height width"]:
        denoiser = module.denoiser
        canvas = Canvas(height=denoiser.patch_size, width=width, channels=denoiser.channels)
        noise = CanvasNoise(module.seed, range(count), device=module.device)
        context = CanvasContext() if denoiser.takes else None
        # Autocast for mixed precision; for a true one a type of new tensors, which is no help here.
        generate = in_float32(self.strategy.generate)
        with module.trainer.precision_plugin.forward_context():
            return to_uint8(generate(denoiser, canvas, noise, context=context)).cpu()


class PatchWriter(BasePredictionWriter):
    """Writes what `predict` returns: one PNG a sample, named by its number.

    Args:
        folder: Where the files go; None for `patches` in `trainer.default_root_dir`.
    """

    def __init__(self, folder: str | None = None) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder

    @override
    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: UInt8[Tensor, "batch 3 height width"],
        batch_indices: Sequence[int] | None,
        batch: Tensor,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        folder = Path(self.folder or Path(trainer.default_root_dir, "patches"))
        folder.mkdir(parents=True, exist_ok=True)
        for number, patch in zip(batch.tolist(), prediction, strict=True):
            save_image(patch.float() / 255, folder / f"{number:06d}.png")
