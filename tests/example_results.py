"""Results of a run that never was, for the tests of tables and of the page."""

import dataclasses
from pathlib import Path

import torch
from PIL import Image

from benchmarks.metrics.estimates import Curve, Estimate, Spread
from benchmarks.results.records import Cost, Results, Row

HEIGHT, WIDTH = 32, 96
FAILURE = "ValueError: overlap must be a multiple of 8, got 20."
DISTANCES = [0, 8, 16, 24]


def cost(seconds: float, pixels: float = 96.25) -> Cost:
    latency = Spread(seconds, 0.9 * seconds, 1.2 * seconds, repeats=5)
    return Cost(70, 1735, pixels, 333, latency, seconds / 3, 0.934, 812.4)


def figures(fid: float, seams: float = 1.37, drift: float = 0.158) -> dict[str, Estimate]:
    return {
        "fid_plus": Estimate(fid, fid - 1.25, fid + 1.5),
        "kid": Estimate(fid / 1000, fid / 1000 - 0.0004, fid / 1000 + 0.0005),
        "recall": Estimate(1 / fid, 0.98 / fid, 1.02 / fid),
        "seam_ratio": Estimate(seams, seams - 0.02, seams + 0.02),
        "colour_drift": Estimate(drift, drift - 0.004, drift + 0.004),
    }


def curve(slope: float) -> Curve:
    values = [slope * distance for distance in DISTANCES]
    return Curve(DISTANCES, values, [x - 0.01 for x in values], [x + 0.01 for x in values])


def row(name: str, fid: float, **changes) -> Row:
    whole = Row(
        strategy=name,
        parallel=True,
        edge_columns=[32, 64],
        settings={"solver": {"num_steps": 18, "churn": None}, "window": 32},
        fingerprint={"features": "random_conv", "num_samples": 64, "strategy": name},
        figures=figures(fid),
        real={
            "seam_ratio": Estimate(1.02, 1.01, 1.03),
            "colour_drift": Estimate(0.127, 0.12, 0.13),
        },
        curves={"drift": curve(0.01 * fid), "autocorrelation": curve(-0.02)},
        real_curves={"drift": curve(0.001)},
        cost=cost(0.783),
        canvases=[],
    )
    return dataclasses.replace(whole, **changes)


def baseline(name: str, fid: float) -> Row:
    names = ("fid_plus", "kid", "colour_drift") if name == "real" else ("fid_plus",)
    return row(
        name,
        fid,
        parallel=None,
        edge_columns=[],
        settings={},
        figures={key: figures(fid)[key] for key in names},
        real={},
        curves={},
        real_curves={},
        cost=None,
    )


def results_of(rows: list[Row], **changes) -> Results:
    whole = Results(
        name="landscapes-96",
        created="2025-01-01T12:00:00+00:00",
        command="python -m benchmarks.run strategy=all 'data.root=<b>my photos</b>'",
        settings={"num_samples": 64, "canvas": {"height": HEIGHT, "width": WIDTH}},
        environment={"device": "an abacus", "torch": "2.15.0"},
        denoiser={"file": "weights.safetensors", "provenance": "see https://example.org/weights"},
        data={"name": "landscapes"},
        features={"name": "random_conv", "fingerprint": "f00d", "dimensions": 146},
        num_samples=64,
        num_reference=4096,
        canvas=(HEIGHT, WIDTH),
        drift_distance=64,
        real=baseline("real", 4.31),
        patches=baseline("patches", 5.02),
        rows=rows,
        failures={"reconstruction": FAILURE},
    )
    return dataclasses.replace(whole, **changes)


def usual() -> Results:
    """Two strategies with everything, and one of somebody's own that has neither cost nor seams."""
    bare = {"fid_plus": figures(15.5)["fid_plus"]}
    own = row("my.<i>Own</i>", 15.5, cost=None, figures=bare, curves={}, real_curves={})
    return results_of([row("naive", 41.2), row("diffcollage", 12.6, cost=cost(1.9, 40.0)), own])


def canvases(number: int, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.randint(0, 256, (number, 3, height, width), dtype=torch.uint8)


def with_canvases(results: Results, folder: Path, number: int = 2, **size: int) -> None:
    """Writes canvases of all rows with a cost and of real images, and names them in the rows."""
    for each in [*results.rows, results.real]:
        each.canvases.extend(f"{each.strategy[:4]}_{index}.png" for index in range(number))
        if each.cost is None and each is not results.real:
            continue
        for name, canvas in zip(each.canvases, canvases(number, **size), strict=True):
            Image.fromarray(canvas.permute(1, 2, 0).numpy()).save(folder / name)
