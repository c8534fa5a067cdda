"""What a comparison leaves behind for readers: its page, its table, its contact sheet."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks.experiment.pictures import Canvases, read_pictures, write_pictures
from benchmarks.latency.records import LatencyResults
from benchmarks.report.contact_sheet import contact_sheet
from benchmarks.report.page import write_report
from benchmarks.results.records import Results
from benchmarks.results.table import comparison, markdown

__all__ = ["publish", "validate_latency"]


def validate_latency(latency: Path | None) -> None:
    """Checks that the run whose plot goes on the page is there.

    Raises:
        FileNotFoundError: If it is not.
    """
    if latency is not None and not (latency / LatencyResults.FILE).is_file():
        raise FileNotFoundError(
            f"latency must be the folder of a run of benchmarks.latency, with a "
            f"{LatencyResults.FILE}, got {latency}."
        )


def publish(
    results: Results,
    folder: Path,
    *,
    shown: dict[str, Canvases],
    latency: Path | None,
    drawn: Callable[[Path], None],
) -> None:
    """Writes the pages of a run and its contact sheet; prints its table.

    Args:
        results: The record.
        folder: Where it lies, and the pictures that it names.
        shown: What the first samples were conditioned on, by what it is.
        latency: Folder of a run of benchmarks.latency, for the page.
        drawn: Is told of the contact sheet.
    """
    rows = [*results.rows, *([results.real] if results.real else [])]
    pictures = {row.strategy: read_pictures(folder, row.canvases) for row in rows if row.canvases}
    if pictures:
        for name, images in shown.items():
            write_pictures(folder, name, images)
        edges = {row.strategy: row.edge_columns for row in rows}
        sheet = folder / "contact_sheet.png"
        contact_sheet(shown | pictures, sheet, edges=edges)
        drawn(sheet)
    (folder / "table.md").write_text(markdown(results))
    write_report(results, folder, latency=latency)
    Console().print(comparison(results))
