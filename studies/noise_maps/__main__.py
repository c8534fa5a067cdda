"""`python -m studies.noise_maps`: what training shows a denoiser, and what sampling does."""

import sys
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli
from torch import Tensor

from benchmarks.tables.columns import by_rows, markdown
from patchcanvas.files import whole
from sampling.noise_levels.base import NoiseLevels
from sampling.noise_levels.controlled import Controlled
from sampling.noise_levels.independent import Independent
from sampling.noise_levels.ltg import LogitNormalTruncatedGaussian
from sampling.noise_levels.mean_beta import MeanBeta
from sampling.noise_levels.mixed import Mixed
from sampling.noise_levels.shared import Shared
from studies.noise_maps.figures import figures_of, seen_share, trained_maps
from studies.noise_maps.picture import draw
from studies.noise_maps.visited import CONVEYOR, SCHEDULES, visited_maps

__all__ = ["compare"]


def samplers(p_mean: float, p_std: float, region_multiple: int) -> dict[str, NoiseLevels]:
    """Returns every sampler of training levels, by its short name."""
    ordinary: dict[str, Any] = {"p_mean": p_mean, "p_std": p_std}
    regions = ordinary | {"region_multiple": region_multiple}
    return {
        "shared": Shared(**ordinary),
        "independent": Independent(**regions),
        "mean_beta": MeanBeta(**regions),
        "ltg": LogitNormalTruncatedGaussian(**regions),
        "controlled": Controlled(**regions),
        "mixed": Mixed(**regions),
    }


def compare(
    output: Path = Path("results/noise_maps.png"),
    count: int = 4096,
    num_steps: int = 18,
    p_mean: float = -0.8,
    p_std: float = 1.4,
    region_multiple: int = 4,
) -> int:
    """Draws both, and prints how far apart they are.

    Args:
        output: The picture; the table goes beside it, as .md.
        count: Samples of each sampler of training levels.
        num_steps: Steps of Heun's method.
        p_mean: Mean of ln(sigma) in ordinary training.
        p_std: Standard deviation of ln(sigma) in ordinary training.
        region_multiple: Sides of regions are multiples of this, in pixels.
    """
    if min(count, num_steps - 1) < 1:
        print(f"error: need count >= 1 and num_steps >= 2, got {count} and {num_steps}.")
        return 2
    try:
        chosen = samplers(p_mean, p_std, region_multiple)
    except ValueError as error:
        print(f"error: {error}")
        return 2
    output.parent.mkdir(parents=True, exist_ok=True)
    trained = {name: trained_maps(levels, count) for name, levels in chosen.items()}
    visited: dict[str, Tensor] = {
        name: figures_of(chosen["shared"], visited_maps(name, num_steps=num_steps))
        for name in (*SCHEDULES, CONVEYOR)
    }
    draw(trained, visited, output)
    table = shares(trained, visited)
    with whole(output.with_suffix(".md")) as part:
        part.write_text(table)
    print(table)
    return 0


def shares(trained: dict[str, Tensor], visited: dict[str, Tensor]) -> str:
    """Returns which share of every schedule's maps each sampler shows, in percent."""
    rows = [
        [f"`{name}`", *(f"{100 * seen_share(one, maps):.0f}" for one in visited.values())]
        for name, maps in trained.items()
    ]
    return markdown(by_rows(["sampler", *visited], rows)) + "\n"


if __name__ == "__main__":
    sys.exit(auto_cli(compare))
