"""What a command line asks the comparison for."""

import dataclasses
from typing import Any

from benchmarks.comparison.settings import Settings
from patchcanvas.cli.command_line import read, with_defaults_of_pretrained
from strategies.base import Strategy

__all__ = ["Plan", "parse"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a command line asks the harness for.

    Args:
        settings: The settings of the comparison.
        strategies: The strategies to run, by name, in order.
        record: All settings as plain values; equal records make equal results.
    """

    settings: Settings
    strategies: dict[str, Strategy]
    record: dict[str, Any]


def parse(arguments: list[str]) -> Plan:
    """Reads a command line of `benchmarks.run`; `key=value` and `--key=value` are the same thing.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name.
        SystemExit: After printing the help, if that is asked for.
    """
    command = read(
        with_defaults_of_pretrained(arguments),
        Settings,
        prog="python -m benchmarks.run",
        description="Runs strategies on one shared denoiser and compares what comes out. "
        "Write settings as key=value, for example: strategy=diffcollage num_samples=500 "
        "solver.num_steps=40.",
    )
    settings = command.settings
    strategies = {name: command.build(name, solver=settings.solver) for name in command.classes}
    return Plan(settings, strategies, command.record)
