"""The report of a run: one HTML file that needs nothing beside it, not even a connection."""

import base64
import dataclasses
import hashlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

from benchmarks.latency.picture import seconds_against_width
from benchmarks.latency.records import LatencyResults
from benchmarks.metrics.catalogue import CURVES, FIGURES
from benchmarks.report.canvases import gallery
from benchmarks.report.plots import (
    Unit,
    base_name,
    curve_against_distance,
    drawable,
    quality_against_cost,
    svg,
)
from benchmarks.report.words import paragraphs
from benchmarks.results.columns import (
    baselines,
    columns,
    comparable,
    figure_name,
    lines,
    row_title,
)
from benchmarks.results.notes import flattened, notes
from benchmarks.results.records import Results
from patchcanvas.plotting import Look, look
from patchcanvas.records import read_record

__all__ = ["write_report"]

TEMPLATE = Path(__file__).with_name("page.html.j2")
STYLE, SCRIPT = TEMPLATE.with_name("page.css"), TEMPLATE.with_name("page.js")
LATENCY = "latency"  # the folder in a run's own that is looked into by itself
COST_TITLES: dict[Unit, str] = {
    "pixels": "its evaluated pixels",
    "seconds": "its seconds for one canvas",
}


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot as the page shows it.

    Args:
        title: Its heading; may be empty.
        uri: The drawing, as a data URI.
        alt: What it shows, in words.
        caption: How to read it.
    """

    title: str
    uri: str
    alt: str
    caption: str = ""


def write_report(
    results: Results,
    folder: Path,
    *,
    latency: Path | None = None,
    output: Path | None = None,
) -> Path:
    """Writes the page of a run and returns its path.

    The canvases that the rows name are read from the run's folder and embedded; canvas k of every
    row must be of the same noise. Those that are not there are named in their place.

    Args:
        results: The run.
        folder: Its folder.
        latency: Folder of a run of `benchmarks.latency` whose plot is shown; by default the folder
            `latency` in that of the run, if there is one.
        output: The page; by default `report.html` in the folder.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(TEMPLATE.name).render(**_content(results, folder, latency))
    path = folder / "report.html" if output is None else output
    path.write_text(page, encoding="utf-8")
    return path


def _content(results: Results, folder: Path, latency: Path | None) -> dict[str, Any]:
    """Returns what the template shows."""
    shown = columns(results)
    script = SCRIPT.read_text(encoding="utf-8")
    return {
        "results": results,
        "columns": shown,
        "lines": lines(results),
        "notes": notes(results),
        "guide": {
            figure_name(results, name): FIGURES[name]
            for name in (column.name for column in shown)
            if name in FIGURES
        },
        "paragraphs": paragraphs(results),
        "costs": list(_cost_plots(results)),
        "not_drawn": _not_drawn(results),
        "curves": list(_curve_plots(results)),
        "keys": _keys(results),
        "latency": _own_latency_plot(folder) if latency is None else _latency_plot(latency),
        "gallery": gallery(results, folder),
        "facts": _facts(results),
        "row_facts": _row_facts(results),
        "commands": _commands(folder, latency),
        "style": STYLE.read_text(encoding="utf-8"),
        "script": script,
        "script_hash": _hash_for_browsers(script),
    }


def _commands(folder: Path, latency: Path | None) -> dict[str, str]:
    """Returns what makes the page and its tables again from the run's record."""
    words = ["python", "-m", "benchmarks.report", _from_here(folder)]
    page = [*words, f"latency={_from_here(latency)}"] if latency else words
    return {
        "page": shlex.join(page),
        "markdown": shlex.join([*words, "--markdown"]),
        "latex": shlex.join([*words, "--latex"]),
    }


def _from_here(path: Path) -> str:
    """Returns a path as it is typed in the folder where this runs."""
    here, there = Path.cwd(), path.resolve()
    return str(there.relative_to(here)) if there.is_relative_to(here) else str(path)


def _cost_plots(results: Results) -> Iterator[Plot]:
    for unit, title in COST_TITLES.items():
        drawing = quality_against_cost(results, unit=unit)
        if drawing is not None:
            alt = (
                f"{figure_name(results)} of every strategy against {title}, with the Pareto front; "
                "the same figures as in the table"
            )
            yield Plot("", svg(drawing), alt)


def _curve_plots(results: Results) -> Iterator[Plot]:
    for name, curve in CURVES.items():
        drawing = curve_against_distance(results, name)
        if drawing is not None:
            alt = f"{curve.title} of every strategy and of real images against distance"
            yield Plot(curve.title, svg(drawing), alt, curve.meaning)


def _latency_plot(folder: Path) -> dict[str, Any]:
    """Returns the plot of another benchmark's run, with the command that made it.

    Raises:
        OSError: If the folder has no record.
        ValueError: If its record is damaged, or has no finished timing.
    """
    path = folder / LatencyResults.FILE
    record = read_record(LatencyResults, path)
    if not record.finished:
        raise ValueError(f"{path} has no finished timing yet; wait for it.")
    alt = "Seconds for one canvas of every strategy against the width of the canvas"
    drawing = svg(seconds_against_width(record))
    return {"plot": Plot("", drawing, alt), "command": record.command, "missing": ""}


def _own_latency_plot(folder: Path) -> dict[str, Any] | None:
    """Returns the plot of the run in a run's own folder, or why it cannot be drawn."""
    if not (folder / LATENCY).is_dir():
        return None
    try:
        return _latency_plot(folder / LATENCY)
    except (ValueError, OSError) as error:
        # The page of a run must not fail because of another run.
        return {"plot": None, "command": "", "missing": str(error)}


def _not_drawn(results: Results) -> dict[str, str]:
    """Returns why rows are not in the plots of costs, by name."""
    drawn = {row.strategy for row in drawable(results)}
    fair = {row.strategy for row in comparable(results)}
    return {
        row.strategy: "it has no cost or no FID+" if row.strategy in fair else "another protocol"
        for row in results.rows
        if row.strategy not in drawn
    }


def _keys(results: Results) -> dict[str, Look]:
    """Returns the legend of the curves."""
    shown = [row for row in comparable(results) if row.curves and row.parallel is not None]
    return {name: look(name) for name in map(base_name, shown)}


def _facts(results: Results) -> dict[str, dict[str, str]]:
    """Returns the tables at the end: everything that made the figures what they are."""
    facts = {
        "Settings": results.settings,
        "Environment": results.environment,
        "Denoiser": results.denoiser,
        "Data": results.data,
        "Features": results.features,
        "Seconds": results.seconds,
    }
    return {title: flattened(content) for title, content in facts.items()}


def _row_facts(results: Results) -> dict[str, dict[str, str]]:
    """Returns what single rows rest on, by their titles."""
    return {
        row_title(row): flattened(row.settings) | flattened(row.fingerprint, "fingerprint.")
        for row in [*baselines(results), *results.rows]
    }


def _hash_for_browsers(script: str) -> str:
    """Returns the hash by which a browser knows the one script that it may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
