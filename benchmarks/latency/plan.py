"""How a command line becomes a plan: every strategy at every width, checked before the work."""

import dataclasses

from benchmarks.latency.records import Absence
from benchmarks.latency.settings import LatencySettings
from patchcanvas.bundled import configurations
from patchcanvas.cli.command_line import Command, read
from patchcanvas.model import Model
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas

__all__ = ["PRESETS", "Plan", "planned", "read_command"]

PRESETS = configurations("latency")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be timed.

    Args:
        strategies: The strategies, by name, in order.
        canvases: The canvases, by their widths in patches, ascending.
        misfits: Points that a strategy cannot make.
    """

    strategies: dict[str, Strategy]
    canvases: dict[int, Canvas]
    misfits: list[Absence]


def read_command(arguments: list[str]) -> Command:
    """Reads the command line; `preset=NAME` and `config=NAME` are the same thing.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name.
        SystemExit: After printing the help, if that is asked for.
    """
    return read(
        arguments,
        LatencySettings,
        prog="python -m benchmarks.latency",
        description="Times one canvas against its width, for every strategy (DiffCollage, "
        "Fig. 5), and counts what it asks of the network. Write settings as key=value, for "
        "example: strategy=naive,diffcollage widths=[1,4,16] solver.num_steps=6.",
        presets=PRESETS,
    )


def planned(command: Command, model: Model) -> Plan:
    """Returns every strategy at every width, built and checked before any of them runs.

    Raises:
        ValueError: If one cannot be built as asked; if one that is asked for by name, or every
            one, cannot make a canvas of that size.
    """
    settings = command.settings
    strategies = {
        name: model.fitted(command.build(name, solver=settings.solver), settings.runtime)
        for name in command.classes
    }
    canvases = {
        width: Canvas(
            height=settings.canvas.height or model.patch,
            width=width * model.patch,
            channels=model.channels,
        )
        for width in settings.widths
    }
    misfits = [
        Absence(name, width, reason, failed=False)
        for width, canvas in canvases.items()
        for name, strategy in strategies.items()
        if (reason := _misfit(strategy, model, canvas))
    ]
    if misfits and (settings.strategy != "all" or len(misfits) == len(strategies) * len(canvases)):
        first = misfits[0]
        raise ValueError(f"{first.strategy} at a width of {first.width}: {first.reason}")
    return Plan(strategies, canvases, misfits)


def _misfit(strategy: Strategy, model: Model, canvas: Canvas) -> str | None:
    """Returns why a strategy cannot make a canvas; None if it can."""
    try:
        strategy.validate_fit(model.denoiser, canvas, CanvasNoise(0, [0]), None)
        strategy.window_edges(model.denoiser, canvas)
    except ValueError as error:
        return str(error)
    return None
