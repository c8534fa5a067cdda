"""What is measured and how: every setting of an evaluation, and its command line."""

import dataclasses
import difflib
import json
import os
import re
from pathlib import Path
from typing import Literal

from benchmarks.experiment.settings import ExperimentSettings
from datamodules.image_file import MAX_MEGAPIXELS
from patchcanvas.cli.command_line import Command, read_settings

__all__ = ["METRICS", "EvaluationSettings", "read_command"]

SETTING = re.compile(r"--|-h$|[A-Za-z_][\w.]*=")
# What may be asked for, and the metric of `benchmarks.metrics.suite` that gives it.
METRICS = {
    "fid_plus": "frechet",
    "kid": "kernel",
    "precision": "manifold",
    "recall": "manifold",
    "seam_ratio": "seams",
    "wrap_error": "wrap",
    "drift": "drift",
    "correlation_gap": "correlation",
    "repetition": "repetition",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings(ExperimentSettings):
    """Folders of images, and what they are measured by.

    Args:
        images: Folders of the images to measure, with their subfolders, a row of the table each;
            the words without `=` but the last are short for it. All images must have one size.
        reference: Folder of real images to compare with; the last word without `=` is short for
            it, where there are several. Without one only seams, wraps, drift and repetition are
            measured.
        long_reference: Folder of real images at least as large as those to measure, for what real
            ones have of seams, drift and repetition; by default the reference.
        metrics: Names of figures, with commas between: fid_plus, kid, precision, recall,
            seam_ratio, wrap_error, drift, correlation_gap, repetition; or `all` that can be had.
        features: Network behind FID+, KID+, precision, recall and repetition: `inception` is the
            field's, and needs a download or features_weights; `random_conv` needs no weights, and
            its figures are comparable with nothing else.
        features_weights: Local file with the weights of `inception`.
        side: Side of the squares that FID+ compares, one at random of every image, in pixels; by
            default the shorter side of the images, so that square images are compared whole (FID).
        num_samples: Images of each folder that are measured, drawn at random where there are more;
            by default all.
        num_reference: Squares of the reference; by default one of every image, or up to 2,000 where
            images have room for several side by side.
        resize: Shorter side that real images are brought to before they are cut, by Lanczos'
            filter, in pixels; none is enlarged. By default they are cut as they are.
        seams: Columns before which a seam may lie, in brackets with commas between, in pixels.
        seam_rows: Rows before which a seam may lie.
        period: Distance of columns at which seams may lie, in pixels; in place of `seams`.
        offset: First of these columns; by default one period.
        wrap_width: Whether right edges are to continue at the left, so that this is measured too.
        wrap_height: Whether bottom edges are to continue at the top.
        strip: Width of the strips whose mean colours drift compares, four strips apart, in pixels;
            by default the side of the squares, or a fifth of the width where that is less.
        start: Column from which the curves of drift and contrast are measured.
        seed: Seeds the places of all squares, the choice among images, and the resampling.
        batch_size: Images in memory at a time.
        device: Where features are computed: `auto` (CUDA, else MPS, else CPU), cpu, cuda, cuda:N
            or mps.
        allow_shared: Whether images of the reference may be among those to measure.
        max_megapixels: Larger images are refused, in millions of pixels.
        output: A copy of the record (JSON), beside that in the folder in `results`.
        cache: Folder that keeps features of references; by default that of the user's cache.
        name: Name of the evaluation; by default made of the folders' names.
    """

    images: list[Path] = dataclasses.field(default_factory=list)
    reference: Path | None = None
    long_reference: Path | None = None
    metrics: str = "all"
    features: Literal["inception", "random_conv"] = "inception"
    features_weights: Path | None = None
    side: int | None = None
    num_samples: int | None = None
    num_reference: int | None = None
    resize: int | None = None
    seams: list[int] = dataclasses.field(default_factory=list)
    seam_rows: list[int] = dataclasses.field(default_factory=list)
    period: int | None = None
    offset: int | None = None
    wrap_width: bool = False
    wrap_height: bool = False
    strip: int | None = None
    start: int = 0
    seed: int = 0
    batch_size: int = 16
    device: str = "auto"
    allow_shared: bool = False
    max_megapixels: float = MAX_MEGAPIXELS
    output: Path | None = None
    cache: Path | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError("images must be a folder: patchcanvas evaluate IMAGES REFERENCE.")
        for name, least in (
            ("side", 1),
            ("num_samples", 3),  # an interval leaves one out, and a covariance needs two
            ("num_reference", 2),
            ("resize", 1),
            ("period", 1),
            ("offset", 0),
            ("strip", 1),
            ("start", 0),
            ("batch_size", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}.")
        if not self.max_megapixels > 0:
            raise ValueError(f"max_megapixels must be above 0, got {self.max_megapixels}.")
        if self.period is not None and self.seams:
            raise ValueError("seams and period say the same thing: give one of them.")
        if self.offset is not None and self.period is None:
            raise ValueError("offset is where the columns of a period begin: give period=… too.")
        if self.output is not None and self.output.suffix != ".json":
            raise ValueError(f"output must be a file that ends in .json, got {self.output}.")
        for name in self.asked:
            if name not in METRICS:
                near = difflib.get_close_matches(name, METRICS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(METRICS)}."
                raise ValueError(f"metrics must be names of figures, got {name!r}; {hint}")

    @property
    def asked(self) -> list[str]:
        """The figures that are asked for by name; none where all are."""
        return [] if self.metrics == "all" else self.metrics.split(",")

    @property
    def cache_folder(self) -> Path:
        """Where features of references are kept."""
        own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(own, "patchcanvas", "features") if self.cache is None else self.cache


def read_command(arguments: list[str]) -> Command:
    """Reads the command line; `key=value` and `--key=value` are the same thing.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name.
        SystemExit: After printing the help, if that is asked for.
    """
    return read_settings(
        with_folders_named(arguments),
        EvaluationSettings,
        prog="patchcanvas evaluate",
        description="Measures folders of images, made by whatever program, beside a folder of real "
        "ones. Folders are the words without =, the reference last; write settings as key=value, "
        "for example: generated/ reference/ period=64 metrics=fid_plus,seam_ratio.",
    )


def with_folders_named(arguments: list[str]) -> list[str]:
    """Returns the words with `images=` and `reference=` before folders that stand alone.

    >>> with_folders_named(["a", "b", "real", "--seed", "3"])
    ['images=["a", "b"]', 'reference=real', '--seed=3']
    >>> with_folders_named(["a", "reference=real"])
    ['images=["a"]', 'reference=real']
    """
    words: list[str] = []
    folders: list[str] = []
    for word in arguments:
        if words and words[-1].startswith("--") and not re.search("=|^--help$", words[-1]):
            words[-1] += f"={word}"
        elif SETTING.match(word) and not Path(word).is_dir():
            words.append(word)
        else:
            folders.append(word)
    keys = [word.removeprefix("--").partition("=") for word in words]
    for place, (key, _, value) in enumerate(keys):
        if key == "images" and not value.startswith("["):
            words[place] = f"images={json.dumps([value])}"
    given = {key for key, _, _ in keys}
    if len(folders) > ("images" not in given) and "reference" not in given:
        words.insert(0, f"reference={folders.pop()}")
    if folders:
        if "images" in given:
            raise ValueError(f"images is given as images=… and as {folders[0]!r}: give one.")
        words.insert(0, f"images={json.dumps(folders)}")
    return words
