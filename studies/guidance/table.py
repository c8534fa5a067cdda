"""The tables of the guidance benchmark, in Markdown, and what must be read with them."""

from benchmarks.inpainting.records import CompletionResults, CompletionRow
from benchmarks.inpainting.table import COST, circumstances, figure
from benchmarks.metrics.texture import TEXTURES
from benchmarks.tables.columns import DOWN, UP, columns_of, failed, markdown, page
from studies.guidance.figures import signed, unsigned

__all__ = ["document"]


def _name(row: CompletionRow) -> str:
    return row.name


SECTIONS = {
    "Quality": {
        "guidance": _name,
        f"PSNR, dB {UP}": figure("psnr", 2),
        f"FID {DOWN}": figure("fid", 3),
        "colour": figure(unsigned("colour"), 1),
        "colour spread": figure(unsigned("colour spread"), 1),
        **COST,
    },
    "Texture: log2 of generated over given half (0; above it sharper, below it smoother)": {
        "guidance": _name,
        **{name: figure(signed(name), 2) for name in TEXTURES},
    },
    "Texture: its absolute value, image by image (as that of real halves)": {
        "guidance": _name,
        **{name: figure(unsigned(name), 2) for name in TEXTURES},
    },
}


def document(results: CompletionResults) -> str:
    """Returns the tables, and what must be read with them."""
    tables = {title: markdown(columns_of(results.rows, cells)) for title, cells in SECTIONS.items()}
    notes = [
        circumstances(results),
        "The left half is given, the right one is made; `real` compares the right half of the "
        "photograph itself. Gradient: energy of differences of neighbours; fine, medium, coarse: "
        "variance in the three finest octaves; contrast: mean deviation in squares of 4 x 4 px, "
        "which is an amplitude: its ratios are half as large. Colour: distance of mean colours; "
        "colour spread: distance of their covariances; both in grey levels of 255.",
        *failed(results.failures),
    ]
    return page(tables, notes)
