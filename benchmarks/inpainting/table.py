"""The tables: a row a strategy, in Markdown, and what must be read with them."""

import dataclasses
from collections.abc import Callable, Sequence

from rich.cells import cell_len

from benchmarks.inpainting.records import CompletionResults, CompletionRow, Figure

__all__ = [
    "ABSENT",
    "COST",
    "DOWN",
    "UP",
    "Column",
    "circumstances",
    "document",
    "failures",
    "figure_column",
    "markdown",
]

ABSENT = "\N{EN DASH}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
DOWN, UP = "\N{DOWNWARDS ARROW}", "\N{UPWARDS ARROW}"
TITLES = {
    "half": "The left half is known",
    "box": "All but a box in the middle is known",
    "random_50": "Half of the pixels are known, at random",
    "random_90": "10 % of the pixels are known, at random",
}


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        title: Its head.
        cell: Renders a row's entry.
    """

    title: str
    cell: Callable[[CompletionRow], str]


def figure_column(title: str, name: str, digits: int) -> Column:
    """Returns the column of a figure and its standard error."""
    return Column(title, lambda row: shown(row.figures.get(name), digits))


def shown(figure: Figure | None, digits: int) -> str:
    """Returns a figure and its standard error, rounded alike.

    >>> shown(Figure(21.037, 0.412), 2)
    '21.04 ± 0.41'
    """
    if figure is None:
        return ABSENT
    # No minus sign before a rounded 0.
    value = round(figure.value, digits) + 0.0
    return f"{value:.{digits}f} {PLUS_MINUS} {figure.error:.{digits}f}"


def _of_strategies(render: Callable[[CompletionRow], str]) -> Callable[[CompletionRow], str]:
    return lambda row: render(row) if row.steps else ABSENT


COST = (
    Column("steps", _of_strategies(lambda row: f"{row.steps}")),
    Column("evaluations", _of_strategies(lambda row: f"{row.evaluations:g}")),
    Column("gradients", _of_strategies(lambda row: f"{row.gradients:g}")),
    Column("s an image", _of_strategies(lambda row: f"{row.seconds:.2f}")),
)
COLUMNS = (
    Column("strategy", lambda row: row.name.rpartition(".")[2]),
    figure_column(f"PSNR, dB {UP}", "psnr", 2),
    figure_column("spread (1)", "spread", 2),
    figure_column(f"FID {DOWN}", "fid", 3),
    *COST,
)


def document(results: CompletionResults) -> str:
    """Returns the tables of all masks, and what must be read with them."""
    masks = dict.fromkeys(row.mask for row in results.rows)
    parts = []
    for mask in masks:
        rows = [row for row in results.rows if row.mask == mask]
        parts += [f"### {TITLES[mask]}", markdown(COLUMNS, rows)]
    notes = [
        circumstances(results),
        "PSNR: of the unknown pixels of one completion, for images of 0 to 255, mean over images "
        f"{PLUS_MINUS} standard error. A sample of the true conditional distribution has twice the "
        "mean square error of its mean, hence 3.0 dB less: a blurred completion may have more than "
        "a right one. Spread: the mean square distance of two completions over that of a "
        "completion from its photograph, in the first "
        f"{results.settings['pairs']} images; 0 if all are alike, 1 for samples of the true "
        "conditional distribution, but also for fair samples that make nothing of the known "
        "pixels: among rows near 1 the one of the higher PSNR uses more of what is given.",
        *failures(results),
    ]
    return "\n\n".join([*parts, *notes]) + "\n"


def failures(results: CompletionResults) -> list[str]:
    """Returns why rows are missing, a sentence each."""
    return [f"Failed: {name}: {' '.join(why.split())}" for name, why in results.failures.items()]


def circumstances(results: CompletionResults) -> str:
    """Returns what figures of this run rest on, in a few sentences."""
    settings, environment = results.settings, results.environment
    height, width = results.canvas
    solver = settings["solver"]["class_path"].rpartition(".")[2]
    return (
        f"{settings['num_images']} held-out images of {height} x {width} px, seed "
        f"{settings['seed']}; {solver}, within {settings['budget']:g} evaluated pixels for each "
        f"pixel, a gradient pass counted as {settings['gradient_weight']:g}; "
        f"{settings['precision']}; denoiser {results.denoiser['file']} "
        f"({results.denoiser['weights_sha256'][:12]}). FID ({results.features['name']}): of whole "
        f"completions, given pixels included, to {settings['num_reference']:,} other crops; "
        f"comparable at this number of images only. {environment['device']}, "
        f"{environment['threads']} threads, torch {environment['versions']['torch']}; "
        f"{results.created[:10]}."
    )


def markdown(columns: Sequence[Column], rows: list[CompletionRow]) -> str:
    """Returns a table in Markdown, its columns as wide as they must be."""
    lines = []
    for number, column in enumerate(columns):
        cells = [column.title, *map(column.cell, rows)]
        width = max(3, *map(cell_len, cells))
        rule = "-" * (width - 1) + (":" if number else "-")
        spaces = [" " * (width - cell_len(cell)) for cell in cells]
        padded = [
            space + cell if number else cell + space
            for cell, space in zip(cells, spaces, strict=True)
        ]
        lines.append([padded[0], rule, *padded[1:]])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in zip(*lines, strict=True))
