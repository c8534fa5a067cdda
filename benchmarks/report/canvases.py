"""The canvases of a run as the page shows them: every file once, bit by bit, and in groups."""

import base64
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from benchmarks.results.columns import PATCHES, row_title
from benchmarks.results.records import Results, Row
from datamodules.image_file import opened

__all__ = ["LARGEST", "Gallery", "Group", "Strip", "gallery"]

LARGEST = 48 * 2**20  # bytes of files; a third more on the page, as text
WIDE, HIGH = 480, 128  # pixels of the page up to which a small canvas is enlarged
LONG = 16  # widths over heights above which a canvas is scrolled, not shrunk


@dataclasses.dataclass(frozen=True)
class Strip:
    """One canvas on the page.

    Args:
        title: Whose canvas it is.
        sample: Its number.
        uri: The file itself, as a data URI.
        size: Width and height in pixels.
        enlarged: Pixels of the page for a pixel of the canvas, a whole number.
        wraps: Whether its left and right edges meet, and its top and bottom.
        edges: Columns before which windows begin or end.
    """

    title: str
    sample: int
    uri: str
    size: tuple[int, int]
    enlarged: int
    wraps: tuple[bool, bool]
    edges: list[int]

    @property
    def is_long(self) -> bool:
        """Whether it would be but a thread if it were shrunk to the page."""
        return self.size[0] > LONG * self.size[1]


@dataclasses.dataclass(frozen=True)
class Group:
    """Sample k of every row; all strategies began it from the same noise."""

    sample: int
    strips: list[Strip]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """All canvases of a run.

    Args:
        groups: Those that are shown.
        missing: Files that are not there or are no pictures.
        too_many: Files that are there, but would make the page too large.
    """

    groups: list[Group]
    missing: list[str]
    too_many: list[str]

    @property
    def strips(self) -> list[Strip]:
        """All canvases, group by group."""
        return [strip for group in self.groups for strip in group.strips]


def gallery(results: Results, folder: Path, *, largest: int = LARGEST) -> Gallery:
    """Reads the canvases that the rows of a run name.

    Args:
        results: The run.
        folder: Its folder.
        largest: Bytes of files that are taken; the first samples of all rows come first.
    """
    found, missing, too_many = Gallery([], [], []), [], []
    for sample, pairs in _by_sample(results):
        strips = []
        for row, name in pairs:
            content = _picture(folder / name)
            if content is None:
                missing.append(name)
            elif len(content) > largest:
                too_many.append(name)
            else:
                largest -= len(content)
                strips.append(_strip(results, row, sample, content))
        if strips:
            found.groups.append(Group(sample, strips))
    return dataclasses.replace(found, missing=missing, too_many=too_many)


def _by_sample(results: Results) -> Iterator[tuple[int, list[tuple[Row, str]]]]:
    """Yields the files of sample k, those of strategies first."""
    rows = [*results.rows, *(row for row in (results.patches, results.real) if row is not None)]
    for sample in range(max((len(row.canvases) for row in rows), default=0)):
        yield sample, [(r, r.canvases[sample]) for r in rows if sample < len(r.canvases)]


def _picture(path: Path) -> bytes | None:
    """Returns a picture as a PNG file: as it is, if it is one; None if it is no picture."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    try:
        with opened(content) as image:
            image.load()
            return content if image.format == "PNG" else _as_png(image)
    except (UnidentifiedImageError, OSError, SyntaxError):
        return None


def _as_png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.convert("RGB").save(content, "PNG")
    return content.getvalue()


def _strip(results: Results, row: Row, sample: int, content: bytes) -> Strip:
    with opened(content) as image:
        width, height = image.size
    canvas = results.settings.get("canvas") or {}
    made = row.parallel is not None  # real crops and plain patches have ends, whatever is asked for
    return Strip(
        title=PATCHES if row.strategy == PATCHES else row_title(row),
        sample=sample,
        uri=f"data:image/png;base64,{base64.b64encode(content).decode()}",
        size=(width, height),
        enlarged=max(1, min(WIDE // results.canvas[1], HIGH // results.canvas[0])),
        wraps=(
            made and bool(canvas.get("wrap_width")),
            made and bool(canvas.get("wrap_height")),
        ),
        edges=[column for column in row.edge_columns if 0 < column < width],
    )
