"""`python -m studies.schedules`: the bias of AsyncPatch's schedules at equal evaluations.

Every schedule gets as many steps as a budget of evaluated pixels allows (`patchcanvas.budget`), so
that one which takes more steps for each level of its noise schedule has fewer levels. With the
exact denoiser every path is exact in the limit of many steps: what is left is the error of finite
steps and, of what changes the estimate, a bias that no budget removes. Canvases grow from nothing.

    python -m studies.schedules budget=16,32,64,128 fields=line line.length=4

`budget` are pixels evaluated for each pixel of the canvas. All other settings are those of the
oracle; those of `async_patch` hold for every schedule that does not choose otherwise itself.
"""

import dataclasses
import math
import sys
from typing import Any

from rich.console import Console

from benchmarks.oracle.measure import Trial
from benchmarks.oracle.plan import planned, read_command
from benchmarks.tables.columns import ABSENT, by_rows, markdown
from patchcanvas.budget import steps_within
from patchcanvas.cli.entry import carried_out
from strategies.async_patch import AsyncPatch
from strategies.base import Strategy

__all__ = ["SCHEDULES", "Cell", "Sweep", "main", "measured"]

BUDGETS = "16,32,64,128"
SCHEDULES: dict[str, dict[str, Any]] = {
    "joint": {"schedule": "joint"},
    "joint, look_ahead 0.5": {"schedule": "joint", "look_ahead": 0.5},
    "joint, look_ahead 1": {"schedule": "joint", "look_ahead": 1.0},
    "wavefront": {"schedule": "wavefront"},
    "sequential": {"schedule": "sequential"},
    "uncertainty, stretch 1.5": {"schedule": "uncertainty", "stretch": 1.5},
    "uncertainty, stretch 2": {"schedule": "uncertainty", "stretch": 2.0},
    "uncertainty, stretch 2, lag 1": {"schedule": "uncertainty", "stretch": 2.0, "lag": 1.0},
    "dual_loop": {"schedule": "dual_loop"},
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """A schedule at a budget.

    Args:
        w2: Relative squared 2-Wasserstein distance to the true field, per pixel.
        error: Its standard error; None where it is exact.
        floor: W2^2 of as many true samples; None where it is exact.
        evaluations: Pixels evaluated for each pixel of the canvas, counted at the denoiser.
        steps: Of the solver.
    """

    w2: float
    error: float | None
    floor: float | None
    evaluations: float
    steps: int

    def __str__(self) -> str:
        error = "" if self.error is None else f" ± {self.error:.1e} (floor {self.floor:.1e})"
        return f"{self.w2:.1e}{error} ({self.steps} steps, {self.evaluations:.1f})"


def measured(trial: Trial, budget: float) -> Cell:
    """Returns what a strategy makes of its field with as many steps as a budget allows.

    Raises:
        ValueError: If even the fewest steps exceed the budget.
    """

    def make(steps: int) -> Strategy:
        solver = dataclasses.replace(trial.strategy.solver, num_steps=steps)
        return dataclasses.replace(trial.strategy, solver=solver)

    steps = steps_within(make, trial.denoiser, trial.case.canvas, budget)
    row = Trial(trial.case, trial.name, make(steps), trial.settings).measured()
    return Cell(
        w2=row.w2,
        error=row.sampling.standard_errors["w2"] if row.sampling else None,
        floor=row.sampling.floor if row.sampling else None,
        evaluations=row.evaluations.nfe_per_pixel,
        steps=steps,
    )


@dataclasses.dataclass(frozen=True)
class Sweep:
    """All schedules at all budgets.

    Args:
        budgets: Pixels evaluated for each pixel of the canvas.
        trials: One for each field.
    """

    budgets: list[float]
    trials: list[Trial]

    @classmethod
    def prepare(cls, arguments: list[str]) -> "Sweep":
        """Reads the command line.

        Raises:
            ValueError: If something is wrong.
        """
        written = [part.removeprefix("--") for part in arguments]
        asked = [part for part in written if part.startswith("budget=")]
        _, _, value = (asked or [f"budget={BUDGETS}"])[-1].partition("=")
        try:
            budgets = [float(number) for number in value.strip("[]").split(",")]
        except ValueError as error:
            raise ValueError(f"budget must be numbers with commas between, got {value}.") from error
        if not all(0 < budget < math.inf for budget in budgets):
            raise ValueError(f"budget must be finite numbers above 0, got {value}.")
        rest = [part for part in written if part not in asked]
        command = read_command(["strategy=async_patch", "true_start=false", *rest])
        if list(command.classes.values()) != [AsyncPatch]:
            names = ", ".join(command.classes)
            raise ValueError(
                f"strategy must be async_patch, whose schedules these are, got {names}."
            )
        return cls(budgets, [trial for job in planned(command) for trial in job.trials])

    def execute(self, console: Console) -> int:
        """Prints a Markdown table for each field; every row is told of as it is done."""
        heads = [f"{budget:g} NFE/px" for budget in self.budgets]
        for trial in self.trials:
            rows = []
            for name, options in SCHEDULES.items():
                cells = [self._cell(trial, options, budget) for budget in self.budgets]
                console.print(f"{name}: {'; '.join(cells)}", markup=False)
                rows.append([name, *cells])
            table = markdown(by_rows(["schedule", *heads], rows))
            print(f"\n{trial.case.name}\n\n{table}", flush=True)
        return 0

    def _cell(self, trial: Trial, options: dict[str, Any], budget: float) -> str:
        strategy = dataclasses.replace(trial.strategy, **options)
        try:
            return str(measured(Trial(trial.case, trial.name, strategy, trial.settings), budget))
        except ValueError as error:
            if "budget must be at least" not in str(error):
                raise
            return ABSENT


def main(arguments: list[str] | None = None) -> int:
    """Runs the sweep; returns 0 when it is through, 2 when nothing could be begun."""
    return carried_out(Sweep.prepare, arguments)


if __name__ == "__main__":
    sys.exit(main())
