"""`python -m lightning_modules fit|validate|test|predict --config configs/landscapes.yaml`."""

import sys
from pathlib import Path

from lightning.pytorch.cli import LightningCLI
from typing_extensions import override

from datamodules.patches import PatchData
from lightning_modules.denoising import DenoiserTraining

__all__ = ["TrainingCLI", "main"]

LIGHTNINGS_OWN = ("best", "last", "hpc", "registry")  # names that are no files


class TrainingCLI(LightningCLI):
    """LightningCLI that says in one sentence why something cannot be built."""

    @override
    def before_instantiate_classes(self) -> None:
        given = self.config.get(self.subcommand, {}).get("ckpt_path") if self.subcommand else None
        own = given is None or str(given).split(":")[0] in LIGHTNINGS_OWN
        if not own and not Path(given).is_file():
            print(f"error: no training checkpoint at {given}.", file=sys.stderr)
            raise SystemExit(2)

    @override
    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (OSError, ValueError) as error:
            # The parser wraps what the constructor of an optional argument says.
            wrapped = str(error).startswith("Does not validate against any of the Union")
            print(f"error: {error.__cause__ if wrapped else error}", file=sys.stderr)
            raise SystemExit(2) from error


def main(args: list[str] | None = None, *, run: bool = True) -> LightningCLI:
    """Runs LightningCLI; every flag of Lightning's Trainer is available.

    Args:
        args: The command line; None for the one of the process.
        run: Whether `args` begin with a subcommand to run; otherwise all is built and left there.
    """
    return TrainingCLI(
        DenoiserTraining,
        PatchData,
        subclass_mode_data=True,
        # The sampler deals the stream out to the devices itself (datamodules/patches.py).
        trainer_defaults={"use_distributed_sampler": False},
        args=args,
        run=run,
    )


if __name__ == "__main__":
    main()
