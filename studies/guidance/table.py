"""The tables of the guidance benchmark, in Markdown, and what must be read with them."""

from benchmarks.inpainting.records import CompletionResults
from benchmarks.inpainting.table import (
    COST,
    DOWN,
    UP,
    Column,
    circumstances,
    failures,
    figure_column,
    markdown,
)
from benchmarks.metrics.texture import TEXTURES
from studies.guidance.figures import signed, unsigned

__all__ = ["document"]

NAME = Column("guidance", lambda row: row.name)
QUALITY = (
    NAME,
    figure_column(f"PSNR, dB {UP}", "psnr", 2),
    figure_column(f"FID {DOWN}", "fid", 3),
    figure_column("colour", unsigned("colour"), 1),
    figure_column("colour spread", unsigned("colour spread"), 1),
    *COST,
)
RATIOS = (NAME, *(figure_column(name, signed(name), 2) for name in TEXTURES))
DISTANCES = (NAME, *(figure_column(name, unsigned(name), 2) for name in TEXTURES))


def document(results: CompletionResults) -> str:
    """Returns the tables, and what must be read with them."""
    rows = results.rows
    parts = [
        "### Quality",
        markdown(QUALITY, rows),
        "### Texture: log2 of generated over given half (0; above it sharper, below it smoother)",
        markdown(RATIOS, rows),
        "### Texture: its absolute value, image by image (as that of real halves)",
        markdown(DISTANCES, rows),
        circumstances(results),
        "The left half is given, the right one is made; `real` compares the right half of the "
        "photograph itself. Gradient: energy of differences of neighbours; fine, medium, coarse: "
        "variance in the three finest octaves; contrast: mean deviation in squares of 4 x 4 px, "
        "which is an amplitude: its ratios are half as large. Colour: distance of mean colours; "
        "colour spread: distance of their covariances; both in grey levels of 255.",
        *failures(results),
    ]
    return "\n\n".join(parts) + "\n"
