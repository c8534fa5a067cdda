"""The tables: a row a strategy, in Markdown, and what must be read with them."""

from collections.abc import Callable
from functools import partial

from benchmarks.inpainting.records import CompletionResults, CompletionRow
from benchmarks.tables.columns import (
    ABSENT,
    DOWN,
    PLUS_MINUS,
    UP,
    columns_of,
    failed,
    fixed,
    markdown,
    page,
    short,
)

__all__ = ["COLUMNS", "COST", "circumstances", "document", "figure"]

TITLES = {
    "half": "The left half is known",
    "box": "All but a box in the middle is known",
    "random_50": "Half of the pixels are known, at random",
    "random_90": "10 % of the pixels are known, at random",
}


def figure(name: str, digits: int) -> Callable[[CompletionRow], str]:
    """Returns how a row's figure is written: with its standard error, rounded alike."""
    return partial(_figure, name=name, digits=digits)


def _figure(row: CompletionRow, *, name: str, digits: int) -> str:
    found = row.figures.get(name)
    if found is None:
        return ABSENT
    return f"{fixed(found.value, digits)} {PLUS_MINUS} {fixed(found.error, digits)}"


def _of_strategies(render: Callable[[CompletionRow], str]) -> Callable[[CompletionRow], str]:
    return lambda row: render(row) if row.steps else ABSENT


COST = {
    "steps": _of_strategies(lambda row: f"{row.steps}"),
    "evaluations": _of_strategies(lambda row: f"{row.evaluations:g}"),
    "gradients": _of_strategies(lambda row: f"{row.gradients:g}"),
    "s an image": _of_strategies(lambda row: f"{row.seconds:.2f}"),
}
COLUMNS = {
    "strategy": lambda row: short(row.name),
    f"PSNR, dB {UP}": figure("psnr", 2),
    "diversity (1)": figure("diversity", 2),
    f"FID {DOWN}": figure("fid", 3),
    **COST,
}


def document(results: CompletionResults) -> str:
    """Returns the tables of all masks, and what must be read with them."""
    sections = {
        TITLES[mask]: markdown(
            columns_of([row for row in results.rows if row.mask == mask], COLUMNS)
        )
        for mask in dict.fromkeys(row.mask for row in results.rows)
    }
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
        *failed(results.failures),
    ]
    return page(sections, notes)


def circumstances(results: CompletionResults) -> str:
    """Returns what figures of this run rest on, in a few sentences."""
    settings, environment = results.settings, results.environment
    height, width = results.canvas
    solver = settings["solver"]["class_path"].rpartition(".")[2]
    return (
        f"{settings['num_samples']} held-out images of {height} x {width} px, seed "
        f"{settings['seed']}; {solver}, within {settings['budget']:g} evaluated pixels for each "
        f"pixel, a backward pass counted as {settings['gradient_weight']:g}; "
        f"{settings['runtime']['precision']}; denoiser {results.denoiser['file']} "
        f"({results.denoiser['weights_sha256'][:12]}). FID ({results.features['name']}): of whole "
        f"completions, given pixels included, to {settings['num_reference']:,} other crops; "
        f"comparable at this number of images only. {environment['device']}, "
        f"{environment['threads']} threads, torch {environment['versions']['torch']}; "
        f"{results.created[:10]}."
    )
