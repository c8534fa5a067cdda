"""The ablation's figures, as a table and as JSON."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from benchmarks.metrics.estimates import Estimate
from benchmarks.tables.columns import by_rows, fixed, markdown
from studies.context.completion import Completion
from studies.harness import cells

__all__ = ["Line", "plain_line", "tables"]

STRATEGIES = ("lshape_repaint", "diffcollage")
# Figures of a strategy's row in the harness's table, with the heads of their columns.
FIGURES = {
    "fid_plus": "FID+",
    "seam_ratio": "seams",
    "palette_distance": "palette",
    "sky_at_top": "sky at top",
    "layout_correlation": "layout",
    "correlation_gap": "autocorrelation",
}


@dataclasses.dataclass(frozen=True)
class Line:
    """What one configuration became.

    Args:
        name: Of the configuration.
        loss: Validation loss, everything told.
        loss_unconditional: The same with no more told than where windows lie.
        gates: Of the attention to tokens, by block; none without a backbone.
        figures: Of each strategy, by the harness's names.
        completion: Errors on views of training and on unseen ones.
        responses: How far canvases move with the tokens of other images, and of other words.
    """

    name: str
    loss: float
    loss_unconditional: float
    gates: Mapping[str, float]
    figures: Mapping[str, Mapping[str, Estimate]]
    completion: Mapping[str, Completion]
    responses: Mapping[str, float]

    @property
    def line(self) -> str:
        """Its first figures on one line, for logs."""
        first = (
            f"{strategy} FID+ {figures['fid_plus'].value:.3g}"
            for strategy, figures in self.figures.items()
            if "fid_plus" in figures
        )
        losses = (
            f"loss {self.loss:.4f}, with no more told than places {self.loss_unconditional:.4f}"
        )
        return ", ".join([f"{self.name}: {losses}", *first])


def tables(lines: list[Line], caption: str) -> str:
    """Returns the tables, the caption above them."""
    parts = [caption]
    for strategy in STRATEGIES:
        head = ["configuration", *FIGURES.values()]
        rows = [[f"`{line.name}`", *cells(line.figures[strategy], FIGURES)] for line in lines]
        parts += [f"`{strategy}`:", markdown(by_rows(head, rows))]
    head = [
        "configuration",
        "loss",
        "unconditional",
        "mean gate",
        "completion, training",
        "completion, unseen",
        "response to images",
        "response to words",
    ]
    rows = [[f"`{line.name}`", *_of_network(line)] for line in lines]
    return "\n\n".join([*parts, "The networks:", markdown(by_rows(head, rows))]) + "\n"


def plain_line(line: Line) -> dict[str, Any]:
    """Returns a line as plain values."""
    return dataclasses.asdict(line)


def _of_network(line: Line) -> list[str]:
    gates = list(line.gates.values())
    errors = [f"{line.completion[split].pixels:.4f}" for split in ("train", "test")]
    moved = [fixed(line.responses.get(kind), 4) for kind in ("images", "words")]
    mean_gate = fixed(sum(gates) / len(gates) if gates else None, 3)
    return [f"{line.loss:.4f}", f"{line.loss_unconditional:.4f}", mean_gate, *errors, *moved]
