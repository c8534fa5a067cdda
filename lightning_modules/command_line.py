"""LightningCLI, which refuses what cannot be done and says how a training ended.

Not in `__main__`: processes that are spawned could not be sent its classes.
"""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from typing_extensions import override

from lightning_modules.checkpoint_file import read_checkpoint
from lightning_modules.denoising import DenoiserTraining
from lightning_modules.errors import TrainingError
from lightning_modules.quiet import quieten
from lightning_modules.resuming import (
    checkpoint_of,
    take_own_callbacks,
    validate_folders,
    validate_model,
)
from lightning_modules.serving import Parser, Served, served

__all__ = ["TrainingCLI", "main"]


class TrainingCLI(LightningCLI):
    """LightningCLI that refuses what cannot be done before anything is built, in one sentence."""

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        super().parse_arguments(parser, args)
        subcommand = self.config.get("subcommand")
        if subcommand is None:
            return
        config = self.config[subcommand]
        take_own_callbacks(config)
        path = checkpoint_of(config)
        if path is not None:
            content = read_checkpoint(path, to_go_on=subcommand == "fit")
            validate_model(parser, self.config, subcommand, content)
            config["ckpt_path"] = str(path)
            if config.model.initial_weights is not None:
                print(
                    f"model.initial_weights is where a training begins: this one is at {path}, and "
                    "they are not read again.",
                    file=sys.stderr,
                )
                config.model.initial_weights = None
        if subcommand == "fit":
            validate_folders(config, path)

    @override
    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
            self.datamodule = served(self.datamodule)
        except (ImportError, MisconfigurationException, OSError, ValueError) as error:
            # The parser wraps what the constructor of an optional argument says.
            wrapped = str(error).startswith("Does not validate against any of the Union")
            raise TrainingError(str(error.__cause__ if wrapped else error)) from error


def main(args: list[str] | None = None, *, run: bool = True) -> LightningCLI:
    """Runs LightningCLI; every flag of Lightning's Trainer is available.

    Args:
        args: The command line; None for the one of the process.
        run: Whether `args` begin with a subcommand to run; otherwise all is built and left there.

    Raises:
        SystemExit: With status 2 if the training cannot begin or go on, 130 if it was stopped by
            Ctrl-C, 143 if by SIGTERM; what was trained is saved first.
    """
    quieten()
    interrupt = Interrupt()
    # Handlers belong to the main thread.
    handled = run and threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, interrupt) if handled else None
    try:
        return TrainingCLI(
            DenoiserTraining,
            Served,
            subclass_mode_data=True,
            parser_class=Parser,
            # The sampler deals the stream out to the devices itself (datamodules/patches.py).
            trainer_defaults={"use_distributed_sampler": False},
            args=args,
            run=run,
            save_config_callback=ConfigOfTraining,
            save_config_kwargs={"overwrite": True},
        )
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        print("interrupted.", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    except SIGTERMException as stopped:
        # Lightning's has no status of its own, which is that of success.
        raise SystemExit(128 + interrupt.signal) from stopped
    finally:
        if handled:
            signal.signal(signal.SIGINT, before)


class ConfigOfTraining(SaveConfigCallback):
    """Keeps the configuration of a training beside what it logs; measuring it leaves that alone.

    Without a logger both would write to one folder, and Lightning refuses the second.
    """

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            super().setup(trainer, pl_module, stage)


class Interrupt:
    """Answers the first Ctrl-C as Lightning answers SIGTERM, when a step is done; not the second.

    Lightning would leave the step where it stands, with weights and moments that do not match.
    """

    def __init__(self) -> None:
        self.signal = signal.SIGTERM
        self.process = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        # A worker serves on until the step is done; other ranks are told by the first.
        if os.getpid() != self.process or int(os.environ.get("LOCAL_RANK", 0)):
            return
        trains = callable(signal.getsignal(signal.SIGTERM))  # once the Trainer has begun
        if self.signal == signal.SIGINT or not trains:
            raise KeyboardInterrupt
        self.signal = signal.SIGINT
        print("stopping after this step; once more to stop at once.", file=sys.stderr)
        signal.raise_signal(signal.SIGTERM)
