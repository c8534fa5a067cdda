"""What an evaluation found: a row a folder, as a table, as figures, as a record."""

import dataclasses
import io
from pathlib import Path

from rich.console import Console
from typing_extensions import override

from benchmarks.metrics.estimates import Estimate
from benchmarks.results.records import Results, Row
from benchmarks.results.table import comparison, markdown
from patchcanvas.records import write_record

__all__ = ["Evaluation"]

WIDTH = 160  # columns of a table in plain text
OTHER_NAMES = {"drift": "colour_drift", "fid": "fid_plus"}


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation:
    """Figures of one or several folders of images.

    The figures of a single folder are attributes: `evaluation.fid_plus.value`; those of one among
    several are `evaluation.rows[name].figures["fid_plus"]`.

    Args:
        results: The record, as `benchmarks.compare` reads it.
    """

    results: Results

    @property
    def rows(self) -> dict[str, Row]:
        """The rows, by the names of their folders."""
        return {row.strategy: row for row in self.results.rows}

    def __getattr__(self, name: str) -> Estimate:
        if name.startswith("_") or name == "results":  # asked for while a copy is being made
            raise AttributeError(name)
        if len(self.results.rows) != 1:
            raise AttributeError(
                f"{name!r} is a figure of one folder, and here are {len(self.results.rows)}: "
                f"take .rows[…].figures[{name!r}]."
            )
        (row,) = self.results.rows
        try:
            return row.figures[OTHER_NAMES.get(name, name)]
        except KeyError:
            raise AttributeError(
                f"there is no figure {name!r} here, but {', '.join(row.figures) or 'none at all'}."
            ) from None

    @override
    def __repr__(self) -> str:
        printed = io.StringIO()
        Console(file=printed, width=WIDTH).print(comparison(self.results, width=WIDTH))
        return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())

    def markdown(self) -> str:
        """Returns the table in Markdown, with what must be read with it."""
        return markdown(self.results)

    def write(self, path: str | Path) -> None:
        """Writes the record as JSON, for `python -m benchmarks.compare`."""
        write_record(Path(path), self.results)
