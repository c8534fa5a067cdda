"""Training of the shared patch denoiser.

References:
    [EDM] Karras, Aittala, Aila, Laine, 2022. arXiv:2206.00364
    [DC] Zhang et al., DiffCollage, 2023. arXiv:2303.17076
"""

import functools
import logging
import math
import uuid
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from jaxtyping import Bool, Float, UInt8
from lightning.pytorch.trainer.states import TrainerFn
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from typing_extensions import override

from denoisers.checkpoint import images_trained_on, start_from
from denoisers.conditions import Conditions
from denoisers.contract import Image, Mask, Sigma
from denoisers.precond import EDMPrecond
from lightning_modules.averaging import updates_of
from lightning_modules.checkpoint_file import validate_callbacks
from lightning_modules.context import ContextTraining, cut, places
from lightning_modules.errors import TrainingError
from lightning_modules.held_out import held_out_maps
from lightning_modules.likelihood import Likelihood, LikelihoodSums
from lightning_modules.precision import exact_pixels, in_float32
from lightning_modules.provenance import Stopwatch, provenance
from sampling.images import to_uint8
from sampling.noise import CanvasNoise, seed_of
from sampling.noise_levels.base import Levels, NoiseLevels
from sampling.noise_levels.controlled import Controlled
from sampling.solvers import Heun, Solver

__all__ = ["DenoiserTraining", "mean_of_noisy"]

LOG = logging.getLogger(__name__)
MEASURING = ["likelihood", "initial_weights", "val_sigmas", "predict_solver", "context"]

OptimizerFactory = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
Axis = Literal["height", "width"]
Windows = Float[Tensor, "batch channels rows columns"]


class DenoiserTraining(L.LightningModule):
    """Trains one denoiser for every strategy: full patches, half patches and noise maps.

    All randomness of a step is a function of (seed, epoch, batch, rank), so a run that resumes
    draws what the uninterrupted run would have drawn.

    Args:
        network: The raw network F, with `multiple` and `in_channels`.
        patch_size: Side of the training patches, in pixels.
        sigma_data: Standard deviation of the data, for images in [-1, 1].
        noise_levels: Which levels to train on.
        variance_weight: Factor of the negative log-likelihood of the network's own variance, if
            it has a `variance_head`; small, so that the estimate comes first.
        initial_weights: An exported denoiser to start from, whose network may lack the
            `level_channel` and the `variance_head`; None for fresh weights.
        half_share: Share of the batches cropped to half-patches, in [0, 1] ([DC] Algorithm 6).
        half_axes: The axes that are halved, one at a time, chosen at random.
        optimizer: Makes the optimizer from the parameters.
        warmup_steps: Optimizer steps over which the learning rate rises from 0.
        final_lr_share: Where the cosine ends, as a share of the peak learning rate.
        val_sigmas: Levels at which the validation loss is reported, one band each.
        likelihood: How `test` bounds the likelihood of its images.
        predict_solver: Solver of `predict`.
        context: What the network is told beside the noisy image; None for an unconditional one.
        seed: Seeds the noise of training, validation and prediction.
    """

    def __init__(
        self,
        network: nn.Module,
        patch_size: int = 32,
        sigma_data: float = 0.5,
        noise_levels: NoiseLevels = Controlled(),  # noqa: B008 (frozen)
        variance_weight: float = 0.05,
        initial_weights: Path | None = None,
        half_share: float = 0.5,
        half_axes: Sequence[Axis] = ("height", "width"),
        optimizer: OptimizerFactory = torch.optim.AdamW,
        warmup_steps: int = 200,
        final_lr_share: float = 0.01,
        val_sigmas: Sequence[float] = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
        likelihood: Likelihood = Likelihood(),  # noqa: B008 (frozen)
        predict_solver: Solver = Heun(num_steps=40),  # noqa: B008 (frozen)
        context: ContextTraining | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= half_share <= 1 or (half_share and not half_axes):
            raise ValueError(
                f"half_share must be in [0, 1] and half_axes not empty, got {half_share}, "
                f"{list(half_axes)}."
            )
        for height, width in trained_sizes(patch_size, half_axes if half_share else ()):
            noise_levels.validate_fit(height, width)
        with warnings.catch_warnings():
            # The network is not ignored, whatever Lightning recommends: the checkpoint alone must
            # rebuild it. How a stage measures and where training began are no part of it: what a
            # checkpoint holds overrides the command line, and must not ask for files.
            warnings.filterwarnings("ignore", "Attribute 'network' is an instance of `nn.Module`")
            self.save_hyperparameters(ignore=MEASURING)
        self.denoiser = EDMPrecond(
            network, patch_size, sigma_data, takes_noise_maps=noise_levels.makes_maps
        )
        if context is not None:
            features = getattr(network, "token_features", 0)
            context.validate_fit(self.denoiser.takes, features, patch_size)
            self.denoiser.conditioning = context.description
        # Names of the images that the weights were shown before this run.
        self.trained_before: frozenset[str] = frozenset()
        if initial_weights is not None:
            start_from(self.denoiser, initial_weights)
            self.trained_before = images_trained_on(initial_weights)
        self.noise_levels = noise_levels
        self.variance_weight = variance_weight
        self.half_share = half_share
        self.half_axes = tuple(half_axes)
        self.optimizer: OptimizerFactory = _Shared(optimizer)
        self.warmup_steps = warmup_steps
        self.final_lr_share = final_lr_share
        self.val_sigmas = tuple(val_sigmas)
        self.likelihood = likelihood
        self.predict_solver = predict_solver
        self.context = context
        self.seed = seed
        self.training_name = uuid.uuid4().hex  # by which its checkpoints know each other
        self.stopwatch = Stopwatch()
        self.losses_step: int | None = None
        self._done = 0.0

    @override
    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        served = getattr(data, "patch_size", self.denoiser.patch_size)
        if served != self.denoiser.patch_size:
            raise TrainingError(
                f"model.patch_size and data.patch_size must be the same, got "
                f"{self.denoiser.patch_size} and {served}."
            )
        if stage == "fit" and self.trainer.precision == "16-true":
            raise TrainingError(
                "trainer.precision must be another than 16-true, in which gradients and moments "
                "leave the range: 16-mixed scales them, bf16-true has the range."
            )
        if self.context is None and self.denoiser.takes and stage != "predict":
            raise TrainingError(
                "the network takes contexts, so model.context must say which it is shown."
            )
        if self.context is not None:
            if data is None:
                raise TrainingError("model.context cuts windows from views: give it a datamodule.")
            data.serve(*self.context.view, distinct=self.context.views)
        if stage == "test":
            self._hold_out()

    def _hold_out(self) -> None:
        """Takes images that the weights were shown out of what is tested."""
        data = getattr(self.trainer, "datamodule", None)
        if data is None or not self.trained_before:
            return
        try:
            left_out = data.leave_out(self.trained_before)
        except ValueError as error:
            raise TrainingError(f"every test image was trained on ({error})") from error
        if left_out:
            LOG.warning(f"{left_out} test images were trained on and are left out.")

    @override
    def on_fit_start(self) -> None:
        self.stopwatch.resume(self.stopwatch.before)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["provenance"] = provenance(self.trainer, self.stopwatch, self.losses_step)
        checkpoint["training"] = self.training_name
        checkpoint["conditioning"] = self.denoiser.conditioning
        shown = getattr(getattr(self.trainer, "datamodule", None), "trained_on", frozenset[str]())
        checkpoint["trained_on"] = sorted(self.trained_before | shown)
        if self.context is not None:
            checkpoint["progress"] = self._progress

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            validate_callbacks(checkpoint, self.trainer.callbacks)
        if updates_of(checkpoint) == 0:
            # An average that never began is the untrained network (Lightning's own averaging).
            checkpoint["state_dict"] = checkpoint["current_model_state"]
        self.training_name = checkpoint.get("training", self.training_name)
        self.trained_before = frozenset(checkpoint.get("trained_on", ()))
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.TESTING:
            self._hold_out()
        self.stopwatch.resume(float(checkpoint["provenance"]["seconds"]))
        self._done = float(checkpoint.get("progress", 0.0))
        if self.context is None:
            self.denoiser.conditioning = checkpoint.get("conditioning", checkpoint.get("told_by"))

    @override
    @in_float32
    def training_step(self, batch: Image, batch_idx: int) -> Tensor:
        place = (self.current_epoch, batch_idx, self.global_rank)
        generator = self._generator("train", *place)
        # Dropout knows no generator but the global one.
        torch.manual_seed(seed_of(self.seed, "dropout", *place))
        x0, conditions, known = self._shown(exact_pixels(batch), generator)
        levels = self._levels(x0, known, generator)
        sigma, weight = levels.sigma.to(x0), levels.weight.to(x0)
        eps = torch.randn(x0.shape, generator=generator).to(x0)
        squared, nll = self.denoiser.losses(x0, sigma, eps, conditions)
        # What is known has nothing to teach, whatever its level.
        learnt = sigma if known is None else torch.where(known, 0.0, sigma)
        loss = mean_of_noisy(weight * squared.where(learnt > 0, 0.0), learnt)
        self.log("train/loss", loss, prog_bar=True)
        if nll is None:
            return loss
        nll = mean_of_noisy(weight * nll.where(learnt > 0, 0.0), learnt)
        self.log("train/variance_nll", nll)
        return loss + self.variance_weight * nll

    @override
    @in_float32
    def validation_step(self, batch: Image, batch_idx: int) -> None:
        self._log_bands("val", exact_pixels(batch), batch_idx)

    def _shown(
        self, batch: Image, generator: Generator
    ) -> tuple[Windows, Conditions | None, Bool[Tensor, "batch 1 rows columns"] | None]:
        """Returns what is to be denoised, what the network is told, and which pixels are known."""
        if self.context is None:
            return self._halved(batch, generator), None, None
        size = self._window(generator)
        example = self.context.examples(batch, size, self._progress, generator)
        return self.context.noised(example, generator), example.conditions, example.known

    def _levels(self, x0: Image, known: Mask | None, generator: Generator) -> Levels:
        """Returns the levels to train on; known quadrants are clean, or noised like the rest."""
        if known is None or self.context is None:
            return self.noise_levels.draw(len(x0), *x0.shape[-2:], generator=generator)
        levels = self.noise_levels.shared(len(x0), generator)
        chance = float(torch.rand((), generator=generator))
        if not self.noise_levels.makes_maps or chance >= self.context.clean_share:
            return levels
        return Levels(torch.where(known.cpu(), 0.0, levels.sigma), levels.weight)

    @property
    def _progress(self) -> float:
        """How much of training is done, or was when what is evaluated was saved."""
        if self.trainer.state.fn != TrainerFn.FITTING:
            return self._done
        return min(1.0, self.trainer.global_step / self.trainer.estimated_stepping_batches)

    @override
    def on_train_batch_end(self, *args: Any) -> None:
        gates = getattr(self.denoiser.network, "gates", {})
        if gates and self.trainer.global_step % self.trainer.log_every_n_steps == 0:
            values = {f"gate/{name}": gate.detach() for name, gate in gates.items()}
            self.log_dict(values | {"gate/mean": torch.stack(list(values.values())).mean()})

    @override
    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.losses_step = self.trainer.global_step

    @override
    def on_test_epoch_start(self) -> None:
        if "place" in self.denoiser.takes:
            raise TrainingError(
                "the likelihood of patches is that of an unconditional model, but this "
                "network must be told where a patch lies: test one with position none."
            )
        self.likelihood_sums = LikelihoodSums(self.likelihood, self.denoiser)

    @override
    @in_float32
    def test_step(self, batch: Image, batch_idx: int) -> None:
        batch = exact_pixels(batch)
        self._log_bands("test", batch, batch_idx)
        generator = self._generator("likelihood", batch_idx, self.global_rank)
        if self.context is not None:
            size = (self.denoiser.patch_size,) * 2
            view = batch.shape[-2], batch.shape[-1]
            batch = cut(batch, places(len(batch), view, size, generator), size)
        self.likelihood_sums.update(batch, generator)

    @override
    def on_test_epoch_end(self) -> None:
        for name, value in self.likelihood_sums.summary(self._added_up).items():
            self.log(f"test/{name}", value)

    @override
    @in_float32
    def predict_step(self, batch: Tensor, batch_idx: int) -> UInt8[Tensor, "batch 3 size size"]:
        """Returns one patch for each sample number in `batch`."""
        noise = CanvasNoise(self.seed, batch.tolist(), device=self.device)
        size = self.denoiser.patch_size
        eps = noise.draw("start", 0, (self.denoiser.channels, size, size))
        placed = "place" in self.denoiser.takes
        conditions = Conditions(place=self._middle(len(batch))) if placed else None
        alone = functools.partial(self.denoiser, context=conditions)
        return to_uint8(self.predict_solver(alone, eps, noise.stream("churn")))

    def _middle(self, count: int) -> Float[Tensor, "{count} 4"]:
        """Returns the place of a patch in the middle of a view, as often as asked for."""
        conditioning = self.denoiser.conditioning
        if conditioning is None:
            raise TrainingError(
                "the network is told where windows lie, so ckpt_path or model.context must say in "
                "views of which size."
            )
        shares = [self.denoiser.patch_size / side for side in conditioning["view"]]
        return torch.tensor([[-shares[0], -shares[1], *shares]]).expand(count, -1)

    @override
    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(list(self.parameters()))
        total = self.trainer.estimated_stepping_batches
        if not math.isfinite(total):
            raise TrainingError(
                "the cosine needs to know where it ends: set trainer.max_steps or max_epochs."
            )
        schedule = LambdaLR(optimizer, lambda step: self._lr_share(step, int(total)))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _lr_share(self, step: int, total: int) -> float:
        """Share of the peak learning rate at `step`: a linear rise, then half a cosine."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
        cosine = (1 + math.cos(math.pi * min(1.0, progress))) / 2
        return self.final_lr_share + (1 - self.final_lr_share) * cosine

    def _halved(
        self, x0: Image, generator: Generator
    ) -> Float[Tensor, "batch channels cropped_height cropped_width"]:
        """Crops a share of the batches to a random half ([DC] Algorithm 6)."""
        size = self._window(generator)
        for axis, side in ((2, size[0]), (3, size[1])):
            if side < x0.shape[axis]:
                start = int(torch.randint(side + 1, (), generator=generator))
                x0 = x0.narrow(axis, start, side)
        return x0

    def _window(self, generator: Generator) -> tuple[int, int]:
        """Returns height and width of a batch: a patch, or for a share of them half of one."""
        height = width = self.denoiser.patch_size
        if torch.rand((), generator=generator) >= self.half_share:
            return height, width
        choice = int(torch.randint(len(self.half_axes), (), generator=generator))
        halves = {"height": (height // 2, width), "width": (height, width // 2)}
        return halves[self.half_axes[choice]]

    def _log_bands(self, stage: str, batch: Image, batch_idx: int) -> None:
        """Logs the loss at every validation level, with the same noise at every call."""
        generator = self._generator(stage, batch_idx, self.global_rank)
        if self.context is None:
            self._log_losses(stage, batch, None, generator)
            return
        size = (self.denoiser.patch_size,) * 2
        windows = self._generator(stage, "windows", batch_idx, self.global_rank)
        example = self.context.held_out.examples(batch, size, self._progress, windows)
        self._log_losses(stage, example.x0, example.conditions, generator)
        # The same windows, levels and noise, told no more than where they lie.
        alone = Conditions(place=example.conditions.place, plan=example.conditions.plan)
        generator = self._generator(stage, batch_idx, self.global_rank)
        losses = self._band_losses(example.x0, alone, generator)
        self.log(f"{stage}/loss_unconditional", torch.stack(losses).mean(), sync_dist=True)

    def _band_losses(
        self, x0: Image, conditions: Conditions | None, generator: Generator
    ) -> list[Tensor]:
        losses = []
        for level in self.val_sigmas:
            eps = torch.randn(x0.shape, generator=generator).to(x0)
            sigma = x0.new_full((1, 1, 1, 1), level)
            losses.append(self.denoiser.loss(x0, sigma, eps, conditions).mean())
        return losses

    def _log_losses(
        self, stage: str, x0: Image, conditions: Conditions | None, generator: Generator
    ) -> None:
        losses = self._band_losses(x0, conditions, generator)
        for level, loss in zip(self.val_sigmas, losses, strict=True):
            self.log(f"{stage}/loss_sigma_{level:g}", loss, sync_dist=True)
        self.log(f"{stage}/loss", torch.stack(losses).mean(), prog_bar=True, sync_dist=True)
        if self.denoiser.takes_noise_maps:
            self._log_maps(stage, x0, conditions, generator)

    def _log_maps(
        self, stage: str, x0: Image, conditions: Conditions | None, generator: Generator
    ) -> None:
        """Logs the loss on maps of each kind, and their mean."""
        losses = []
        height, width = x0.shape[-2:]
        kinds = held_out_maps(self.noise_levels, height, width, self.val_sigmas)
        for kind, maps in kinds.items():
            errors = []
            for sigma in maps.to(x0):
                eps = torch.randn(x0.shape, generator=generator).to(x0)
                errors.append(mean_of_noisy(self.denoiser.loss(x0, sigma, eps, conditions), sigma))
            losses.append(torch.stack(errors).mean())
            self.log(f"{stage}/loss_maps_{kind}", losses[-1], sync_dist=True)
        self.log(f"{stage}/loss_maps", torch.stack(losses).mean(), sync_dist=True)

    def _added_up(self, sums: Tensor) -> Tensor:
        """Adds up over processes."""
        if self.trainer.world_size == 1:
            return sums
        return self.trainer.strategy.reduce(sums.to(self.device), reduce_op="sum").cpu()

    def _generator(self, *parts: int | str) -> Generator:
        return Generator().manual_seed(seed_of(self.seed, *parts))


class _Shared:
    """A function that copies of a module share, and that other processes can be sent.

    Weight averaging copies the module; through the command line's factory of optimizers it would
    reach the trainer, which cannot be copied under DDP.
    """

    def __init__(self, function: OptimizerFactory) -> None:
        self.function = function

    def __call__(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return self.function(parameters)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Shared":
        return self


def trained_sizes(patch_size: int, half_axes: Sequence[Axis]) -> list[tuple[int, int]]:
    """Returns height and width of everything that training shows: patches, and halves of them."""
    half = {"height": (patch_size // 2, patch_size), "width": (patch_size, patch_size // 2)}
    return [(patch_size, patch_size), *(half[axis] for axis in half_axes)]


def mean_of_noisy(error: Float[Tensor, "batch _ height width"], sigma: Sigma) -> Tensor:
    """Returns the mean over the noisy pixels of all samples: clean ones carry no error.

    A sample of few noisy pixels counts for few: what is given has nothing to teach, and the mean of
    a handful of pixels would be all noise.
    """
    noisy_share = (sigma > 0).float().mean().clamp(min=1e-3)
    return error.mean() / noisy_share
