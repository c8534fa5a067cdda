"""How a command line of the oracle becomes a plan: every strategy on every field."""

import dataclasses

from benchmarks.oracle.measure import Trial
from benchmarks.oracle.settings import Case, OracleSettings
from patchcanvas.cli.command_line import Command, read
from sampling.solvers import Solver
from strategies.sequential import SequentialStrategy

__all__ = ["Job", "planned", "read_command"]


@dataclasses.dataclass(frozen=True)
class Job:
    """A field, and the strategies on it.

    Args:
        case: The field.
        trials: The strategies, in order.
        misfits: Why some of all strategies cannot tile the canvas as asked, by name.
    """

    case: Case
    trials: list[Trial]
    misfits: dict[str, str]


def read_command(arguments: list[str]) -> Command:
    """Reads the command line.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name.
        SystemExit: After printing the help, if that is asked for.
    """
    return read(
        arguments,
        OracleSettings,
        prog="python -m benchmarks.oracle",
        description="Runs strategies on Gaussian fields with their exact denoiser, and says how "
        "far each one's canvases are from the true field: bias, with no training and no network. "
        "Write settings as key=value, for example: strategy=diffcollage line.length=[4,16] "
        "line.overlap=4.",
        presets=None,
    )


def planned(command: Command) -> list[Job]:
    """Returns every strategy on every field, built and checked before any of them runs.

    Raises:
        ValueError: If one cannot be built as asked; if one that is asked for by name, or every
            one, cannot tile a canvas.
    """
    return [_job(case, command) for case in command.settings.cases()]


def _job(case: Case, command: Command) -> Job:
    trials, misfits = [], {}
    for name in command.classes:
        windows = {"window": case.window, "overlap": case.overlap}
        if any(setting.startswith("--regions=") for setting in command.own.get(name, [])):
            windows = {}  # regions say where all windows lie
        strategy = command.build(name, solver=_solver_of(name, command), **windows)
        try:
            trials.append(Trial(case, name, strategy, command.settings))
        except ValueError as error:
            misfits[name] = str(error)
    if misfits and (command.settings.strategy != "all" or not trials):
        name, reason = next(iter(misfits.items()))
        raise ValueError(f"{name} on {case.name}: {reason}")
    return Job(case, trials, misfits)


def _solver_of(name: str, command: Command) -> Solver:
    """Returns the solver with the steps of the strategy's family."""
    settings = command.settings
    if settings.sequential_steps is None:
        return settings.solver
    if not issubclass(command.classes[name], SequentialStrategy):
        return settings.solver
    return dataclasses.replace(settings.solver, num_steps=settings.sequential_steps)
