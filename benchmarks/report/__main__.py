"""`python -m benchmarks.report FOLDER`: the page of a run again, or its table for a paper."""

import argparse
import re
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.report.page import write_report
from benchmarks.results.records import Results
from benchmarks.results.table import latex, markdown
from patchcanvas.records import read_record

__all__ = ["main", "read_results"]


def main(arguments: list[str] | None = None) -> int:
    """Writes the page of a finished or running run, or prints its table.

    Returns:
        0 when it is written, 2 when something could not be read or written.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = _parser().parse_args([_spelt_out(word) for word in arguments])
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        results, folder = read_results(chosen.folder)
        if chosen.markdown or chosen.latex:
            table = markdown(results) if chosen.markdown else latex(results)
            _put(table, chosen.output)
        elif not results.made_here:
            raise ValueError(
                f"{chosen.folder} is an evaluation of images made elsewhere, which has a table and "
                "no page: say --markdown or --latex."
            )
        else:
            path = write_report(results, folder, latency=chosen.latency, output=chosen.output)
            console.print(f"report: {path}", markup=False)
    except (ValueError, OSError) as error:
        console.print(f"error: {' '.join(str(error).split())}", markup=False)
        return 2
    return 0


def read_results(path: Path) -> tuple[Results, Path]:
    """Reads the record of a run, and says which folder it lies in.

    Args:
        path: The run's folder, or the record itself.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged, or no run of this version.
    """
    record = path / Results.FILE if path.is_dir() else path
    if not record.is_file():
        raise FileNotFoundError(
            f"the folder of a run holds a {Results.FILE}, but there is no {record}; give a "
            "folder that benchmarks.run wrote, such as one below results/."
        )
    return read_record(Results, record), record.parent


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report",
        description="Writes the page of a run of benchmarks.run again from its record, finished "
        "or not, or prints its table. Settings are written key=value or --key=value.",
    )
    parser.add_argument("folder", type=Path, help="Folder of a run.")
    parser.add_argument(
        "--latency",
        type=Path,
        metavar="FOLDER",
        help="Folder of a run of benchmarks.latency, whose plot is shown on the page; by default "
        "the folder `latency` in that of the run.",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="Print the table in Markdown.")
    form.add_argument("--latex", action="store_true", help="Print the table in LaTeX.")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="Where the page goes instead of report.html in the folder, or the table instead of "
        "the terminal.",
    )
    return parser


def _spelt_out(word: str) -> str:
    """Returns `--key=value` for `key=value`."""
    return f"--{word}" if re.match(r"(latency|output)=", word) else word


def _put(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
