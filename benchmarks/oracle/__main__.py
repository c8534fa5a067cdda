"""`python -m benchmarks.oracle`: every strategy against a field whose exact answer is known."""

import dataclasses
import shlex
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.command_line import Command, described, read
from benchmarks.environment import describe_environment, sha256_of_sources
from benchmarks.folder import new_path
from benchmarks.oracle.measure import case_record, denoiser_of, drawn, measured, true_samples
from benchmarks.oracle.picture import Strips, draw
from benchmarks.oracle.records import OracleResults
from benchmarks.oracle.settings import DEFAULT_SOLVER, Case, OracleSettings
from benchmarks.oracle.table import case_table, markdown
from benchmarks.progress import progress_bars
from strategies.base import Strategy
from strategies.sequential import SequentialStrategy

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs the oracle.

    Returns:
        0 when every strategy has its rows, 1 when one failed, 2 when nothing could be begun or
        written, 130 when interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        command = read_command(arguments)
        plan = planned(command)
        folder = new_path(command.settings.results, command.settings.name)
        folder.mkdir(parents=True)
        return run(plan, command, fresh_results(arguments, command), folder, console)
    except KeyboardInterrupt:
        console.print("interrupted; what was finished is kept.")
        return 130
    except (ValueError, OSError) as error:
        console.print(f"error: {error}", markup=False)
        return 2


def read_command(arguments: list[str]) -> Command:
    """Reads the command line."""
    return read(
        arguments,
        OracleSettings,
        prog="python -m benchmarks.oracle",
        description="Runs strategies on Gaussian fields with their exact denoiser, and says how "
        "far each one's canvases are from the true field: bias, with no training and no network. "
        "Write settings as key=value, for example: strategy=diffcollage line.length=[4,16] "
        "line.overlap=4.",
        defaults={"solver": described(DEFAULT_SOLVER)},
    )


def planned(command: Command) -> list[tuple[Case, dict[str, Strategy]]]:
    """Returns the strategies of every case, built and checked before any of them runs.

    Raises:
        ValueError: If one cannot be built as asked, or cannot tile a canvas.
    """
    plan = []
    for case in command.settings.cases():
        strategies = {name: built_for(case, name, command) for name in command.classes}
        for strategy in strategies.values():
            strategy.borders(denoiser_of(case), case.canvas)
        plan.append((case, strategies))
    return plan


def built_for(case: Case, name: str, command: Command) -> Strategy:
    """Builds a strategy for a case: its windows, its overlap, and the steps of its family."""
    settings = command.settings
    solver = settings.solver
    if issubclass(command.classes[name], SequentialStrategy) and settings.sequential_steps:
        solver = dataclasses.replace(solver, num_steps=settings.sequential_steps)
    return command.build(name, solver=solver, window=case.window, overlap=case.overlap)


def run(
    plan: list[tuple[Case, dict[str, Strategy]]],
    command: Command,
    results: OracleResults,
    folder: Path,
    console: Console,
) -> int:
    """Fills the tables row by row; a finished row is on disk before the next begins."""
    console.print(f"writing to {folder}", markup=False)
    pictures = []
    with progress_bars(console) as progress:
        for case, strategies in plan:
            record = case_record(case)
            results.cases.append(record)
            samples = {"true": true_samples(case, command.settings.seed)}
            task = progress.add_task(case.name, total=len(strategies))
            for name, strategy in strategies.items():
                try:
                    record.rows.append(measured(case, name, strategy, command.settings))
                    samples[name] = drawn(case, strategy, command.settings)
                except (ValueError, torch.linalg.LinAlgError) as error:
                    # One strategy's failure must not cost the others their rows.
                    record.failures[name] = str(error)
                    (folder / f"{name}.error.txt").write_text(traceback.format_exc())
                    progress.console.print(f"{name} failed: {error}", markup=False)
                results.write(folder)
                progress.advance(task)
            pictures.append(Strips(record, samples))
    draw(pictures, folder / "oracle.png")
    pages = [markdown(record) for record in results.cases]
    (folder / "oracle.md").write_text("\n".join(pages))
    for record in results.cases:
        Console().print(case_table(record))
    console.print(f"picture: {folder / 'oracle.png'}", markup=False)
    return 1 if any(record.failures for record in results.cases) else 0


def fresh_results(arguments: list[str], command: Command) -> OracleResults:
    """Returns the record of a run that has not begun."""
    return OracleResults(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "benchmarks.oracle", *arguments]),
        settings=command.record,
        environment=describe_environment(torch.device("cpu"))
        | {"sources": sha256_of_sources(command.classes.values())},
    )


if __name__ == "__main__":
    sys.exit(main())
