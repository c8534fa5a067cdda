"""What a run of the harness leaves behind: every figure with what made it, as JSON."""

import dataclasses
import json
from pathlib import Path
from typing import Any

__all__ = ["Cost", "Estimate", "Results", "Row", "Spread", "plain", "write_json"]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Spread:
    """Repeated timings, in seconds: their median and quartiles."""

    median: float
    lower: float
    upper: float
    repeats: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one canvas costs, in units that no machine changes and in this machine's.

    Args:
        network_calls: Calls of the network for one canvas alone.
        patch_evaluations: Windows evaluated for it, halves counted as windows of their own.
        pixels_per_pixel: Pixels the network evaluated for each pixel of the canvas.
        gradient_passes: Backward passes through the network.
        latency: Seconds for one canvas alone, after warm-up.
        seconds_per_canvas: Seconds a canvas in batches, over the whole run.
        network_share: Share of that time spent inside the network, in [0, 1].
        peak_memory_mib: Peak memory of the device, or of the process on a CPU, in MiB.
    """

    network_calls: int
    patch_evaluations: int
    pixels_per_pixel: float
    gradient_passes: int
    latency: Spread
    seconds_per_canvas: float
    network_share: float
    peak_memory_mib: float


@dataclasses.dataclass(frozen=True)
class Row:
    """One strategy's figures; the row of real images has no strategy settings and no cost.

    Args:
        strategy: Short name, dotted path, or `real`.
        parallel: Whether all windows are denoised at once; None for real images.
        border_columns: Columns before which its windows begin or end, in pixels.
        settings: Every setting of the strategy, its solver's included.
        fid_plus: Frechet distance of one square crop a canvas to real crops.
        seam_ratio: Mean step across window borders over the mean step elsewhere.
        seam_ratio_real: The same figure at the same places of real long crops.
        colour_drift: RMS change of the mean colour over `drift_distance` px, in [-1, 1] units.
        cost: What a canvas costs; None for real images.
        canvases: Files of sample canvases, relative to the run's folder.
    """

    strategy: str
    parallel: bool | None
    border_columns: list[int]
    settings: dict[str, Any]
    fid_plus: Estimate
    seam_ratio: float | None
    seam_ratio_real: float | None
    colour_drift: float | None
    cost: Cost | None
    canvases: list[str]


@dataclasses.dataclass
class Results:
    """A whole run.

    Args:
        name: The run's name.
        created: When it was begun, ISO 8601, UTC.
        command: The command that makes it again.
        settings: Every setting, defaults included.
        environment: Device, threads, library versions, commit.
        denoiser: Weights file, hash, size, provenance.
        data: The data's own description.
        features: Name, fingerprint and width of the feature network.
        num_samples: Canvases of each strategy.
        num_reference: Real crops that they are compared with.
        canvas: Height and width, in pixels.
        drift_distance: Pixels over which colour drift is measured; None on canvases too short.
        real: Figures of other crops of the same held-out images: a floor that no strategy, which
            knows none of these images, can be expected to reach.
        rows: One for each finished strategy.
        failures: Why a strategy has no row, by its name.
    """

    name: str
    created: str
    command: str
    settings: dict[str, Any]
    environment: dict[str, Any]
    denoiser: dict[str, Any]
    data: dict[str, Any]
    features: dict[str, Any]
    num_samples: int
    num_reference: int
    canvas: tuple[int, int]
    drift_distance: int | None
    real: Row | None = None
    rows: list[Row] = dataclasses.field(default_factory=list)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Writes the run as JSON; a reader never sees half a file."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Reads what `write` wrote."""
        content = json.loads(path.read_text())
        content["canvas"] = tuple(content["canvas"])
        content["real"] = content["real"] and row_from(content["real"])
        content["rows"] = [row_from(row) for row in content["rows"]]
        return cls(**content)


def row_from(content: dict[str, Any]) -> Row:
    """Rebuilds a row from its JSON."""
    cost = content["cost"]
    if cost is not None:
        cost = Cost(**cost | {"latency": Spread(**cost["latency"])})
    return Row(**content | {"fid_plus": Estimate(**content["fid_plus"]), "cost": cost})


def plain(value: Any) -> Any:
    """Returns a dataclass as JSON values, every nested one with its class."""
    if dataclasses.is_dataclass(value):
        fields = {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
        return {"class": f"{type(value).__module__}.{type(value).__qualname__}"} | fields
    return value


def write_json(path: Path, content: Any) -> None:
    """Writes JSON in one stroke: to a neighbour first, which then takes the file's place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(path.name + ".part")
    neighbour.write_text(json.dumps(content, indent=2, allow_nan=False, default=str) + "\n")
    neighbour.replace(path)
