"""Figures to TensorBoard, CSV, W&B or MLflow, through Lightning's loggers.

Lightning takes seconds to import: whoever only asks for the settings of a run does not wait for it.
"""

import dataclasses
import importlib.util
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.results.records import Row
from datamodules.image_file import opened

__all__ = ["LoggerName", "Loggers", "build_loggers", "validate_loggers"]

LoggerName = Literal["tensorboard", "csv", "wandb", "mlflow"]
PROJECT = "patchcanvas"

PACKAGES: dict[LoggerName, str] = {"wandb": "wandb", "mlflow": "mlflow"}  # of those that need one


@dataclasses.dataclass(frozen=True)
class Loggers:
    """Everything that a run tells, to everyone who listens.

    Args:
        loggers: Lightning's.
    """

    loggers: list[Any]

    def settings(self, settings: dict[str, Any]) -> None:
        """Tells what the run rests on."""
        self._each(lambda logger: logger.log_hyperparams(settings))

    def row(self, row: Row, *, num_samples: int) -> None:
        """Tells a row: figures at the number of samples, curves at their distances in pixels."""
        figures = {f"{name}/{row.strategy}": one.value for name, one in row.figures.items()}
        if row.cost is not None:
            figures |= {
                f"seconds_per_canvas/{row.strategy}": row.cost.latency.median,
                f"nfe_per_pixel/{row.strategy}": row.cost.nfe_per_pixel,
            }

        def tell(logger: Any) -> None:
            logger.log_metrics(figures, step=num_samples)
            for name, curve in row.curves.items():
                for distance, value in zip(curve.distances, curve.values, strict=True):
                    logger.log_metrics({f"{name} by px/{row.strategy}": value}, step=distance)

        self._each(tell)

    def picture(self, path: Path) -> None:
        """Shows the contact sheet to those who can show one."""
        from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

        def show(logger: Any) -> None:
            if isinstance(logger, TensorBoardLogger):
                with opened(path) as picture:
                    pixels = np.asarray(picture.convert("RGB"))
                logger.experiment.add_image(path.stem, pixels, dataformats="HWC")
            elif isinstance(logger, WandbLogger):
                logger.log_image(path.stem, [str(path)])
            elif isinstance(logger, MLFlowLogger):
                logger.experiment.log_artifact(logger.run_id, str(path))

        self._each(show)

    def finish(self, *, failed: bool) -> None:
        """Says that the run is over, and leaves nothing unwritten."""

        def finish(logger: Any) -> None:
            logger.save()
            logger.finalize("failed" if failed else "success")

        self._each(finish)

    def _each(self, tell: Callable[[Any], None]) -> None:
        """A listener that cannot be reached is no reason to lose a row."""
        for logger in self.loggers:
            try:
                tell(logger)
            except Exception as error:
                warnings.warn(f"{type(logger).__name__} was not told: {error}", stacklevel=3)


def build_loggers(names: list[LoggerName], folder: Path) -> Loggers:
    """Returns the loggers of these names, which write into the folder of a run.

    W&B and MLflow listen to their own environment variables too (WANDB_MODE, MLFLOW_TRACKING_URI).
    """
    return Loggers([_built(name, folder) for name in names])


def _built(name: LoggerName, folder: Path) -> Any:
    from lightning.pytorch import loggers

    if name == "wandb":
        return loggers.WandbLogger(name=folder.name, save_dir=folder, project=PROJECT)
    if name == "mlflow":
        return loggers.MLFlowLogger(
            PROJECT,
            run_name=folder.name,
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI")
            or f"sqlite:///{folder.parent.resolve() / 'mlflow.db'}",
            artifact_location=str(folder.resolve() / "mlflow"),
        )
    local = {"tensorboard": loggers.TensorBoardLogger, "csv": loggers.CSVLogger}[name]
    return local(folder, name=name, version="")


def validate_loggers(names: list[LoggerName]) -> None:
    """Checks that the packages of these loggers are installed.

    Raises:
        ValueError: If one is not.
    """
    for name in names:
        if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
            raise ValueError(
                f"loggers={name} needs the package {PACKAGES[name]}, which is not installed: "
                f"pip install {PACKAGES[name]}, or leave it out."
            )
