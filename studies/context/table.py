"""The ablation's figures, as a table and as JSON."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.metrics.estimates import Estimate
from benchmarks.tables.columns import ABSENT, columns_of, fixed, markdown
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
        loss_untold: The same with no more told than where windows lie.
        gates: Of the attention to tokens, by block; none without a backbone.
        figures: Of each strategy, by the harness's names.
        completion: Errors on views of training and on unseen ones.
        responses: How far canvases move with the tokens of other images, and of other words.
    """

    name: str
    loss: float
    loss_untold: float
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
        losses = f"loss {self.loss:.4f}, with no more told than places {self.loss_untold:.4f}"
        return ", ".join([f"{self.name}: {losses}", *first])


NETWORKS: dict[str, Callable[[Line], str]] = {
    "configuration": lambda line: f"`{line.name}`",
    "loss": lambda line: f"{line.loss:.4f}",
    "untold": lambda line: f"{line.loss_untold:.4f}",
    "mean gate": lambda line: (
        fixed(statistics.fmean(line.gates.values()), 3) if line.gates else ABSENT
    ),
    "completion, training": lambda line: f"{line.completion['train'].pixels:.4f}",
    "completion, unseen": lambda line: f"{line.completion['test'].pixels:.4f}",
    "response to images": lambda line: fixed(line.responses.get("images"), 4),
    "response to words": lambda line: fixed(line.responses.get("words"), 4),
}


def tables(lines: list[Line], caption: str) -> str:
    """Returns the tables, the caption above them."""
    parts = [caption]
    for strategy in STRATEGIES:
        figures = cells(FIGURES, lambda line, strategy=strategy: line.figures[strategy])
        shown = {"configuration": NETWORKS["configuration"], **figures}
        parts += [f"`{strategy}`:", markdown(columns_of(lines, shown))]
    parts += ["The networks:", markdown(columns_of(lines, NETWORKS))]
    return "\n\n".join(parts) + "\n"


def plain_line(line: Line) -> dict[str, Any]:
    """Returns a line as plain values."""
    return dataclasses.asdict(line)
