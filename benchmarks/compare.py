"""`python -m benchmarks.compare A/results.json B/results.json`: protocol first, figures then."""

import argparse
import math
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.metrics.catalogue import FIGURES
from benchmarks.metrics.estimates import Estimate
from benchmarks.results.fingerprint import MUST_AGREE, other_definition
from benchmarks.results.records import Results, Row
from benchmarks.tables.columns import by_rows, terminal
from patchcanvas.records import changes, read_record

__all__ = ["differ", "main"]

NORMAL_QUANTILE = 1.959964  # of 97.5 %


def main(arguments: list[str] | None = None) -> int:
    """Compares two runs.

    Returns:
        0 if their figures may be compared, 1 if their protocols forbid it, 2 if a file cannot be
        read.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description="Says what differs in protocol between two runs, then what differs in figures.",
    )
    for name in ("first", "second"):
        parser.add_argument(name, type=Path, help="A results.json, or the folder that holds it.")
    chosen = parser.parse_args(arguments)
    try:
        first, second = (read(path) for path in (chosen.first, chosen.second))
    except (OSError, ValueError) as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", markup=False)
        return 2
    console = Console(soft_wrap=True, highlight=False)
    pairs = list(pairs_of(first, second))
    comparable = _print_protocol(console, first, second, pairs)
    _print_figures(console, pairs, comparable)
    return 0 if comparable else 1


def read(path: Path) -> Results:
    """Reads a results file, or that of a folder.

    Raises:
        OSError: If there is none.
        ValueError: If it is damaged.
    """
    return read_record(Results, path / Results.FILE if path.is_dir() else path)


def pairs_of(first: Results, second: Results) -> list[tuple[Row, Row]]:
    """Returns the rows that both runs have, in the order of the first."""
    left, right = (
        {row.strategy: row for row in (run.real, run.patches, *run.rows) if row is not None}
        for run in (first, second)
    )
    return [(row, right[name]) for name, row in left.items() if name in right]


def differ(first: Estimate, second: Estimate) -> bool:
    """Whether two figures differ by more than chance: beyond the 95 % interval of a difference.

    The runs are taken as independent; of one seed they are not, and differ by less than this
    allows for.

    >>> differ(Estimate(1.0, 0.9, 1.1), Estimate(1.2, 1.1, 1.3))
    True
    >>> differ(Estimate(1.0, 0.9, 1.1), Estimate(1.1, 1.0, 1.2))
    False
    """
    return abs(first.value - second.value) > math.hypot(_margin(first), _margin(second))


def _margin(estimate: Estimate) -> float:
    # The upper half: the lower end of a distance is cut off at 0.
    return estimate.high - estimate.value


def _print_protocol(
    console: Console, first: Results, second: Results, pairs: list[tuple[Row, Row]]
) -> bool:
    """Prints all that differs; returns whether figures may be compared."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for left, right in pairs:
        for name, (was, became) in changes(left.fingerprint, right.fingerprint).items():
            found.setdefault((name, str(was), str(became)), []).append(left.strategy)
    forbidden = [key for key in found if key[0].partition(".")[0] in MUST_AGREE]
    console.print(f"protocol: {first.name} ({first.created}) and {second.name} ({second.created})")
    if not found:
        console.print("  no difference.")
    lines = []
    for key in sorted(found, key=lambda key: (key not in forbidden, key)):
        name, was, became = key
        rows = "all" if len(found[key]) == len(pairs) else ", ".join(found[key])
        mark = "!" if key in forbidden else ""
        lines.append([mark, name, _shortened(was), _shortened(became), rows])
    _print_table(console, ["", "name", first.name, second.name, "rows"], lines)
    shared = {left.strategy for left, _ in pairs}
    for run in (first, second):
        own = [row.strategy for row in run.rows if row.strategy not in shared]
        if own:
            console.print(f"  only in {run.name}: {', '.join(own)}.", markup=False)
    if forbidden:
        console.print(
            "! These runs must not be compared: their figures below are of different things.",
            style="bold",
        )
    return not forbidden


def _print_figures(console: Console, pairs: list[tuple[Row, Row]], comparable: bool) -> None:
    console.print("figures" if comparable else "figures (not comparable)")
    lines, same = [], 0
    for left, right in pairs:
        for name in FIGURES:
            if name not in left.figures or name not in right.figures:
                continue
            one, other = left.figures[name], right.figures[name]
            if one == other:
                same += 1
                continue
            differing = other_definition(name, left.fingerprint, right.fingerprint)
            if not comparable:
                verdict = ""
            elif differing is not None:
                verdict = f"another {differing}: not comparable"
            else:
                verdict = "beyond chance" if differ(one, other) else "within chance"
            title, difference = FIGURES[name].title, f"{other.value - one.value:+.3g}"
            lines.append([left.strategy, title, _spelt(one), _spelt(other), difference, verdict])
    if same:
        console.print(f"  {same} figures are equal to the last bit.")
    _print_table(console, ["row", "figure", "first", "second", "difference", ""], lines)
    if not pairs:
        console.print("  the runs have no row in common.")


def _print_table(console: Console, head: list[str], lines: list[list[str]]) -> None:
    if lines:
        console.print(terminal(by_rows(head, lines, is_text=True)))


def _spelt(estimate: Estimate) -> str:
    return f"{estimate.value:.5g} [{estimate.low:.5g}, {estimate.high:.5g}]"


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:12]}…{text[-12:]}"


if __name__ == "__main__":
    sys.exit(main())
