"""The study's figures: read from what training and the harness left, and set in a table."""

import dataclasses

from benchmarks.metrics.estimates import Estimate
from benchmarks.results.records import Results
from benchmarks.tables.columns import ABSENT, by_rows, fixed, markdown

__all__ = ["Line", "line_of", "table"]


@dataclasses.dataclass(frozen=True)
class Line:
    """What one sampler made of the network.

    Args:
        sampler: Its short name.
        losses: Validation losses by name, without their stage.
        patches: Plain FID of the squares that the denoiser makes by itself, which the harness keeps
            under the name of FID+.
        naive: FID+ of `naive`.
        async_patch: FID+ of `async_patch`; None for a denoiser that takes no maps.
    """

    sampler: str
    losses: dict[str, float]
    patches: Estimate
    naive: Estimate
    async_patch: Estimate | None

    @property
    def line(self) -> str:
        """Its first figures on one line, for logs."""
        figures = {"patches": self.patches, "naive": self.naive, "async_patch": self.async_patch}
        found = [f"{name} {figure.value:.3g}" for name, figure in figures.items() if figure]
        return f"{self.sampler}: loss {self.losses['loss']:.4f}, FID {', '.join(found)}"


def line_of(sampler: str, losses: dict[str, float], results: Results) -> Line:
    """Returns a sampler's line."""
    rows = {row.strategy: row.figures["fid_plus"] for row in results.rows}
    assert results.patches is not None
    return Line(
        sampler=sampler,
        losses={name.removeprefix("val/"): loss for name, loss in losses.items()},
        patches=results.patches.figures["fid_plus"],
        naive=rows["naive"],
        async_patch=rows.get("async_patch"),
    )


def table(lines: list[Line], caption: str) -> str:
    """Returns the table, the caption above it."""
    losses = ("one level", "outpainting", "wavefront", "independent")
    head = ["sampler", *losses, "FID", "naive", "async"]
    return f"{caption}\n\n{markdown(by_rows(head, map(_row, lines)))}\n"


def _row(line: Line) -> list[str]:
    kinds = ("loss", "loss_maps_outpainting", "loss_maps_wavefront", "loss_maps_independent")
    losses = [fixed(line.losses.get(kind), 4) for kind in kinds]
    return [
        f"`{line.sampler}`",
        *losses,
        *map(_interval, (line.patches, line.naive, line.async_patch)),
    ]


def _interval(figure: Estimate | None) -> str:
    if figure is None:
        return ABSENT
    return f"{figure.value:.2f} ({figure.low:.2f}-{figure.high:.2f})"
