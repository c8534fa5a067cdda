"""What must be read with the figures of a run, and its settings spelt out."""

from collections.abc import Iterable
from typing import Any

from benchmarks.metrics.catalogue import FIGURES
from benchmarks.results.columns import (
    PATCHES,
    TITLES,
    baselines,
    figure_name,
    row_title,
    stands_beside_real,
)
from benchmarks.results.fingerprint import differences
from benchmarks.results.records import Results
from benchmarks.tables.columns import DAGGER, failed

__all__ = ["flattened", "listed", "notes", "shape_name"]

SMALL = 500  # canvases; below it, intervals are wide and the bias of the Frechet distance is large


def notes(results: Results) -> list[str]:
    """Returns what must be read with the figures, a sentence or two each."""
    network = results.features["name"]
    found = [
        f"N = {results.num_samples:,} {_measured(results)}; {_reference(results)}; "
        + (f"{_steps(results)}; " if results.made_here else "")
        + f"device: {results.environment.get('device', 'not recorded')}.",
        *_brackets(results),
    ]
    if results.patches is not None:
        found.append(
            f"{TITLES[PATCHES]} are squares that the denoiser makes by itself, its plain FID in "
            "the column of FID+: what the denoiser is worth before any strategy."
        )
    if results.drift_distance is not None and _has(results, "colour_drift"):
        found.append(f"Drift is over {results.drift_distance} px, black and white being 2 apart.")
    if any(row.budget is not None for row in results.rows):
        found.append(
            "A number after @ is a budget: pixels the network may evaluate for each pixel of the "
            "canvas."
        )
    if any(row.cost and row.cost.backward_passes for row in results.rows):
        found.append("∇ counts backward passes through the network.")
    if results.num_samples < SMALL:
        found.append(
            f"N = {results.num_samples:,} is small (below {SMALL}): intervals are wide, and "
            "rows whose intervals overlap are not told apart."
        )
    if network != "inception" and results.num_reference:
        found.append(
            f"Figures by {network}, such as {figure_name(results)}, are not comparable to FID+ "
            "(inception), nor to published figures."
        )
    return [*found, *_unfair(results), *failed(results.failures)]


def shape_name(results: Results) -> str:
    """Returns what the canvases are called: loops where they wrap."""
    canvas = results.settings.get("canvas") or {}
    wraps = canvas.get("wrap_height", False), canvas.get("wrap_width", False)
    names = {
        (False, False): "canvases",
        (False, True): "loops",
        (True, False): "loops from top to bottom",
        (True, True): "tori",
    }
    return names[wraps]


def flattened(settings: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Spells nested settings out, a line each.

    >>> flattened({"solver": {"num_steps": 18, "churn": None}, "canvas": [32, 192]})
    {'solver.num_steps': '18', 'solver.churn': 'none', 'canvas': '32, 192'}
    """
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = _spelt(value)
    return found


def listed(names: Iterable[str]) -> str:
    """Joins names as in a sentence.

    >>> listed(["seams", "drift", "wrap"])
    'seams, drift and wrap'
    """
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _measured(results: Results) -> str:
    height, width = results.canvas
    if not results.made_here:
        return f"images of {height} x {width} px in each row"
    return f"{shape_name(results)} of {height} x {width} px for each strategy"


def _reference(results: Results) -> str:
    if not results.num_reference:
        beside = any(row.real for row in results.rows)
        return "real images of the same size" if beside else "no real images to compare with"
    return f"{results.num_reference:,} reference crops; {figure_name(results)}"


def _has(results: Results, name: str) -> bool:
    return any(name in row.figures for row in [*baselines(results), *results.rows])


def _brackets(results: Results) -> list[str]:
    beside = [
        figure.title.lower() if name != "consistency" else figure.title
        for name, figure in FIGURES.items()
        if stands_beside_real(results, name) and _has(results, name)
    ]
    found = [
        *(["the 95 % interval of FID+"] if _has(results, "fid_plus") else []),
        *([f"for {listed(beside)} the figure of real crops"] if beside else []),
        *(["the quartiles of the seconds for one canvas alone"] if results.made_here else []),
    ]
    return [f"In brackets: {'; '.join(found)}."] if found else []


def _unfair(results: Results) -> list[str]:
    """Says of every row with a dagger what sets it apart."""
    if not results.rows:
        return []
    first, *others = results.rows
    found = []
    for row in others:
        apart = differences(first.fingerprint, row.fingerprint)
        if apart:
            said = ", ".join(
                f"{name} {_spelt(here)}, not {_spelt(there)}"
                for name, (there, here) in apart.items()
            )
            found.append(
                f"{DAGGER} {row_title(row)} must not be compared with {row_title(first)}: {said}."
            )
    return found


def _steps(results: Results) -> str:
    """Names the steps of the strategies; they may differ in a comparison at equal cost."""
    settings = [flattened(row.settings) for row in results.rows]
    found = {
        int(value)
        for entries in settings
        for key, value in entries.items()
        if key.split(".")[-1] == "num_steps" and value.isdecimal()
    }
    if not found:
        return "steps not recorded"
    least, most = min(found), max(found)
    return f"{least} steps" if least == most else f"{least} to {most} steps, by strategy"


def _spelt(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_spelt, value)) or "none"
    return "none" if value == {} else str(value)
