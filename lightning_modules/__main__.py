"""`python -m lightning_modules fit|validate|test|predict --config configs/landscapes.yaml`."""

from lightning.pytorch.cli import LightningCLI

from datamodules.patches import PatchData
from lightning_modules.denoising import DenoiserTraining


def main(args: list[str] | None = None) -> LightningCLI:
    """Runs LightningCLI; every flag of Lightning's Trainer is available."""
    return LightningCLI(
        DenoiserTraining,
        PatchData,
        subclass_mode_data=True,
        # The sampler deals the stream out to the devices itself (datamodules/patches.py).
        trainer_defaults={"use_distributed_sampler": False},
        args=args,
    )


if __name__ == "__main__":
    main()
