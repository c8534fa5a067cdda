"""Every setting of the harness, with its unit and its default."""

import dataclasses
from pathlib import Path

from benchmarks.comparison.loggers import LoggerName
from benchmarks.experiment.settings import ReferenceSettings, StrategySettings
from datamodules.landscapes import Landscapes
from datamodules.nothing import Nothing
from datamodules.patches import PatchData
from patchcanvas.cli.settings import (
    DEFAULT_CONTEXT,
    DEFAULT_SIZE,
    CachedRunSettings,
    validate_minimum,
)
from patchcanvas.context.settings import ContextSettings
from patchcanvas.model import CanvasSize

__all__ = ["Settings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(ReferenceSettings, CachedRunSettings, StrategySettings):
    """A comparison of strategies on one denoiser.

    Args:
        data: Real images to compare with: `landscapes` (procedural), `photos` with
            data.root=FOLDER, or the dotted path of a class of your own. `none` leaves out the
            figures that need them.
        canvas: Size of the canvases, in pixels.
        context: What the denoiser is told; `context=seed_image` is short for
            context.mode=seed_image.
        num_samples: Canvases of each strategy; 500 or more for figures worth quoting.
        batch_size: Canvases generated at a time, in each process; halved when memory runs out.
        budget: Pixels that the network may evaluate for each pixel of the canvas, several with
            commas between in brackets; each strategy gets, once for each of them, as many solver
            steps as stay within it, in place of solver.num_steps. Null for equal steps.
        clip: Network of open_clip behind the consistency of distant crops, for example ViT-B-32;
            null leaves that figure out.
        clip_weights: Its weights: a local file, or a name that open_clip can download. For names of
            weights that were trained with QuickGELU the model of that activation is taken; for a
            file of such weights name it: `clip=ViT-B-32-quickgelu`.
        devices: Processes on each node, each with a device of its own.
        num_nodes: Nodes; start the command on each by torchrun or SLURM.
        repeats: Timed runs of one canvas, after one warm-up run.
        pictures: Canvases of each strategy written as PNG.
        plain_fid: Whether to measure squares that the denoiser makes by itself (the plain FID).
        loggers: Where figures go beside the folder: tensorboard, csv, wandb, mlflow.
        latency: Folder of a finished `python -m benchmarks.latency`, to be shown in the report.
        name: Name of the run; by default made of the data and the strategy.
    """

    data: PatchData = dataclasses.field(default_factory=Landscapes)
    canvas: CanvasSize = DEFAULT_SIZE
    context: ContextSettings = DEFAULT_CONTEXT
    num_samples: int = 64
    batch_size: int = 16
    budget: list[float] | None = None
    clip: str | None = None
    clip_weights: str | None = None
    devices: int = 1
    num_nodes: int = 1
    repeats: int = 3
    pictures: int = 4
    plain_fid: bool = True
    loggers: list[LoggerName] = dataclasses.field(default_factory=lambda: ["tensorboard"])
    latency: Path | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        validate_minimum(
            self,
            ("num_samples", 3, "an interval leaves one canvas out, and a covariance needs two"),
            ("num_reference", 2, "a covariance needs two crops"),
            ("batch_size", 1, "there is nothing to generate otherwise"),
            ("repeats", 1, "there is no median of nothing"),
            ("pictures", 1, "the contact sheet needs one"),
            ("devices", 1, "someone must do the work"),
            ("num_nodes", 1, "someone must do the work"),
        )
        if self.budget is not None and (not self.budget or min(self.budget) <= 0):
            raise ValueError(f"budget must be above 0, and at least one, got {self.budget}.")
        if (self.clip is None) != (self.clip_weights is None):
            raise ValueError(
                "clip and clip_weights go together, got "
                f"clip={self.clip} and clip_weights={self.clip_weights}."
            )

    @property
    def real(self) -> PatchData | None:
        """Real images to compare with; None where there are none."""
        return None if isinstance(self.data, Nothing) else self.data
