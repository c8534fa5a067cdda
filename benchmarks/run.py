"""`python -m benchmarks.run strategy=all`: one denoiser, every strategy, one table."""

import sys
from pathlib import Path

from rich.console import Console

from benchmarks.comparison.plan import parse
from benchmarks.comparison.preparation import Prepared, prepared
from benchmarks.comparison.rows import Comparison
from benchmarks.experiment.pictures import read_pictures, write_pictures
from benchmarks.experiment.processes import LostProcessError, SharedError
from benchmarks.latency.records import LatencyResults
from benchmarks.report.contact_sheet import contact_sheet
from benchmarks.report.page import write_report
from benchmarks.report.table import comparison as table
from benchmarks.report.table import markdown
from patchcanvas.cli.entry import words_of

__all__ = ["main"]

GO_ON = "what was finished is kept; mend this and give the same command."


def main(arguments: list[str] | None = None) -> int:
    """Runs the harness.

    Returns:
        0 when every strategy has its row, 1 when one failed, 2 when nothing could be begun or the
        disk gave out, 130 when interrupted. Of several processes that come to an end together only
        the first says so; the others return 0, or the launcher would end the first.
    """
    arguments = words_of(arguments)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        plan = parse(arguments)
        refuse_missing(plan.settings.latency)
        comparison = Comparison(prepared(plan, arguments))
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        console.print(f"error: {error}", markup=False)
        return 2
    processes = comparison.run.processes
    told = Console(stderr=True, soft_wrap=True, highlight=False, quiet=not processes.first)
    try:
        outcome = comparison.execute(told, publish)
    except KeyboardInterrupt:
        told.print("interrupted; the same command goes on from here.")
        return 130
    except SharedError as error:
        told.print(f"error: {error}: {GO_ON}", markup=False)
        outcome = 2
    # The others know nothing of these: they are not waited for, and notice that this one is gone.
    except (OSError, LostProcessError) as error:
        console.print(f"error: {error}: {GO_ON}", markup=False)
        return 2
    processes.close()
    return outcome if processes.first else 0


def refuse_missing(latency: Path | None) -> None:
    """Checks that the run whose plot goes on the page is there.

    Raises:
        FileNotFoundError: If it is not.
    """
    if latency is not None and not (latency / LatencyResults.FILE).is_file():
        raise FileNotFoundError(
            f"latency must be the folder of a run of benchmarks.latency, with a "
            f"{LatencyResults.FILE}, got {latency}."
        )


def publish(run: Prepared) -> None:
    """Writes the pages of a run and its contact sheet; prints its table."""
    folder, results, settings = run.experiment.path, run.results, run.plan.settings
    rows = [*results.rows, *([results.real] if results.real else [])]
    pictures = {row.strategy: read_pictures(folder, row.canvases) for row in rows if row.canvases}
    if pictures:
        shown = run.telling.pictured(min(settings.pictures, settings.num_samples))
        for name, images in shown.items():
            write_pictures(folder, name, images)
        borders = {row.strategy: row.border_columns for row in rows}
        sheet = folder / "contact_sheet.png"
        contact_sheet(shown | pictures, sheet, borders=borders)
        run.loggers.picture(sheet)
    (folder / "table.md").write_text(markdown(results))
    write_report(results, folder, latency=settings.latency)
    Console().print(table(results))


if __name__ == "__main__":
    sys.exit(main())
