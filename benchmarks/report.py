"""The report of a run: one HTML file that needs nothing beside it, not even a connection."""

import base64
import dataclasses
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import LogFormatter
from matplotlib.transforms import Bbox
from PIL import Image
from torch import Tensor
from typing_extensions import override

from benchmarks.contact_sheet import REAL, draw_sheet
from benchmarks.records import Results, Row
from benchmarks.table import (
    body,
    columns,
    flattened,
    metric_name,
    notes,
    rounded,
    with_interval,
)

__all__ = ["quality_against_cost", "write_report"]

Images = list[UInt8[Tensor, "3 _ _"]]

TEMPLATE = Path(__file__).with_name("report.html.j2")

WIDEST = 1200  # pixels; a wider canvas is embedded reduced, or the file would grow past 100 MB
COMFORTABLE = 520  # pixels on the page that a small canvas is enlarged to

BLUE = "#1f5fa8"
MARKERS = {True: "o", False: "s"}  # by whether a strategy is parallel

# Where a label may stand, seen from its point, the best place first: (x, y) in points.
PLACES = [
    (right * across, up)
    for across in (9, 16, 28)
    for up in (0, 8, -8, 16, -16, 26, -26, 40, -40, 54, -54, 68, -68)
    for right in (1, -1)
]


@dataclasses.dataclass(frozen=True)
class Sample:
    """A canvas as the page shows it.

    Args:
        uri: The image itself, as a data URI.
        alt: What it is, in words.
        width: Pixels of the page, if there is room.
    """

    uri: str
    alt: str
    width: int


@dataclasses.dataclass(frozen=True)
class Section:
    """One strategy's canvases, with what has no place in the table."""

    title: str
    line: str
    samples: list[Sample]
    missing: list[str]


class PlainLog(LogFormatter):
    """Labels the ticks that its parent would, but never as 1e+00."""

    @override
    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def write_report(results: Results, folder: Path) -> Path:
    """Writes `report.html` into the folder of a run and returns its path.

    The canvases that the rows name are read from there and embedded; canvas k of every row must
    be of the same noise. Those that are not there are named in their place.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(TEMPLATE.name).render(**_content(results, folder))
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def quality_against_cost(results: Results) -> Figure | None:
    """Draws FID+ with its interval against seconds a canvas; None if no row has a cost.

    Shapes tell parallel strategies from sequential ones; names stand beside their points.
    """
    rows = [row for row in results.rows if row.cost is not None and row.cost.latency.median > 0]
    if not rows:
        return None
    drawing = Figure(figsize=(6.6, 4.2), dpi=100, layout="constrained")
    FigureCanvasAgg(drawing)  # measures the labels
    axes = drawing.add_subplot()
    axes.set_xscale("log")
    # Explicit, since a single strategy timed once spans nothing that a margin could widen.
    ends = [row.cost.latency for row in rows]
    axes.set_xlim(min(end.lower for end in ends) / 1.6, max(end.upper for end in ends) * 1.6)
    for row in rows:
        _draw_point(axes, row)
    if results.real is not None:
        _draw_real(axes, results.real)
    axes.margins(y=0.12)
    axes.set_xlabel("seconds for one canvas: median and quartiles, log scale")
    axes.set_ylabel(f"{metric_name(results)}, 95 % interval  (lower is better)")
    _finish_axes(axes, rows)
    _place_labels(drawing, axes, rows)
    return drawing


def _content(results: Results, folder: Path) -> dict[str, Any]:
    """Returns what the template shows."""
    shown = columns(results)
    rows = [*results.rows, *([results.real] if results.real else [])]
    loaded = [_load(row, folder) for row in rows]
    drawing = quality_against_cost(results)
    return {
        "results": results,
        "metric": metric_name(results),
        "columns": shown,
        "body": body(results, shown),
        "notes": notes(results),
        "figure": drawing and _svg(drawing),
        "without_cost": [row.strategy for row in results.rows if row.cost is None],
        "sheet": _sheet(rows, loaded),
        "sections": [
            _section(results, row, folder, images) for row, images in zip(rows, loaded, strict=True)
        ],
        "facts": _facts(results),
    }


def _facts(results: Results) -> dict[str, dict[str, str]]:
    """Returns the tables at the end: everything that made the figures what they are."""
    facts = {
        "Settings": results.settings,
        "Environment": results.environment,
        "Denoiser": results.denoiser,
        "Data": results.data,
        "Features": results.features,
    }
    facts |= {f"Settings of {row.strategy}": row.settings for row in results.rows}
    return {title: flattened(content) for title, content in facts.items()}


def _load(row: Row, folder: Path) -> Images:
    """Reads the canvases of a row that are there."""
    images = [Image.open(folder / name) for name in row.canvases if (folder / name).is_file()]
    arrays = [np.array(image.convert("RGB")) for image in images]
    return [torch.from_numpy(array).permute(2, 0, 1) for array in arrays]


def _sheet(rows: list[Row], loaded: list[Images]) -> str | None:
    canvases = {
        row.strategy: torch.stack(images)
        for row, images in zip(rows, loaded, strict=True)
        if images
    }
    borders = {row.strategy: row.border_columns for row in rows}
    return _png(draw_sheet(canvases, borders=borders)) if canvases else None


def _section(results: Results, row: Row, folder: Path, images: Images) -> Section:
    title = "real images" if row.strategy == REAL else row.strategy
    samples = [_sample(image, f"{title}, canvas {number}") for number, image in enumerate(images)]
    missing = [name for name in row.canvases if not (folder / name).is_file()]
    return Section(title, _summary(results, row), samples, missing)


def _summary(results: Results, row: Row) -> str:
    fid = row.fid_plus
    parts = [f"{metric_name(results)} {with_interval(fid.value, fid.low, fid.high)}"]
    if row.cost is not None:
        parts.append(f"{rounded(row.cost.seconds_per_canvas)} s a canvas in batches")
        parts.append(f"latency over {row.cost.latency.repeats} repeats")
    return "; ".join(parts)


def _sample(canvas: UInt8[Tensor, "3 height width"], alt: str) -> Sample:
    image = Image.fromarray(canvas.permute(1, 2, 0).numpy())
    if image.width > WIDEST:
        image.thumbnail((WIDEST, WIDEST))
        return Sample(_jpeg(image), alt, image.width)
    return Sample(_png(image), alt, image.width * max(1, COMFORTABLE // image.width))


def _draw_point(axes: Axes, row: Row) -> None:
    """Draws one strategy; its quartiles and its interval are the bars.

    An interval by resampling need not contain its figure, so that bars have centres of their own.
    """
    latency, fid = row.cost.latency, row.fid_plus
    bars = {"fmt": "none", "color": BLUE, "elinewidth": 1.3, "capsize": 2.5}
    across, up = (latency.upper - latency.lower) / 2, (fid.high - fid.low) / 2
    axes.errorbar(latency.median, fid.low + up, yerr=up, **bars)
    axes.errorbar(latency.lower + across, fid.value, xerr=across, **bars)
    face = BLUE if row.parallel else "white"
    axes.plot(latency.median, fid.value, MARKERS[row.parallel], color=BLUE, mfc=face, ms=6.5)


def _draw_real(axes: Axes, real: Row) -> None:
    fid = real.fid_plus
    axes.axhspan(fid.low, fid.high, color="0.88", zorder=0)
    axes.axhline(fid.value, color="0.35", linestyle="--", linewidth=1, zorder=0)
    axes.annotate(
        "real images",
        (1, fid.value),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-5, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color="0.35",
    )


def _finish_axes(axes: Axes, rows: list[Row]) -> None:
    """Takes a log scale for FID+ where it spans more than a decade; seconds as plain numbers."""
    values = [row.fid_plus.value for row in rows]
    positive = min(row.fid_plus.low for row in rows) > 0
    if positive and max(values) > 10 * min(values):
        axes.set_yscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(PlainLog(minor_thresholds=(1.0, 0.4)))
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _place_labels(drawing: Figure, axes: Axes, rows: list[Row]) -> None:
    """Writes every name at the first place beside its point that nothing else takes."""
    drawing.draw_without_rendering()
    taken = [_extent(text) for text in axes.texts]
    taken += [box for row in rows for box in _bars(axes, row)]
    for row in sorted(rows, key=lambda row: row.fid_plus.value):
        label = _label(axes, row)
        for place in PLACES:
            label.set_position(place)
            label.set_ha("left" if place[0] > 0 else "right")
            box = _extent(label)
            if _inside(box, axes) and not any(box.overlaps(other) for other in taken):
                break
        taken.append(_extent(label))


def _label(axes: Axes, row: Row) -> Annotation:
    """Returns the name of a row with a hairline to its point."""
    return axes.annotate(
        row.strategy.rpartition(".")[2].replace("$", r"\$"),
        (row.cost.latency.median, row.fid_plus.value),
        xytext=(9, 0),
        textcoords="offset points",
        va="center",
        arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.7, "shrinkB": 5},
    )


def _extent(label: Annotation) -> Bbox:
    """Returns what the words cover, in pixels of the drawing; the hairline is left out."""
    label.update_positions(label.figure.canvas.get_renderer())
    return Text.get_window_extent(label)


def _bars(axes: Axes, row: Row) -> list[Bbox]:
    """Returns what the point and its two bars cover, in pixels of the drawing."""
    fid, latency = row.fid_plus, row.cost.latency
    up = [(latency.median, fid.low), (latency.median, fid.high)]
    across = [(latency.lower, fid.value), (latency.upper, fid.value)]
    ends = [axes.transData.transform(bar) for bar in (up, across)]
    return [Bbox.from_extents(*bar.min(0) - 6, *bar.max(0) + 6) for bar in ends]


def _inside(box: Bbox, axes: Axes) -> bool:
    frame = axes.get_window_extent()
    return all(frame.contains(x, y) for x, y in (box.min, box.max))


def _svg(drawing: Figure) -> str:
    """Returns the drawing as a data URI, the same for the same figures."""
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "patchcanvas"}):
        drawing.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return _data_uri("image/svg+xml", content.getvalue())


def _png(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return _data_uri("image/png", content.getvalue())


def _jpeg(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=90)
    return _data_uri("image/jpeg", content.getvalue())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
