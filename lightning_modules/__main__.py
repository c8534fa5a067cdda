"""`python -m lightning_modules fit|validate|test|predict --config configs/landscapes.yaml`."""

from lightning_modules.command_line import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
