"""All that an evaluation needs before it begins, checked: what is wrong is said before any work."""

import dataclasses
import re
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.evaluation.images import ImageFolder, ReferenceCrops, room, shared, spelt
from benchmarks.evaluation.settings import METRICS, EvaluationSettings
from benchmarks.experiment.processes import Processes, launched
from benchmarks.metrics.features import FeatureNetwork, RandomConv, build_features
from benchmarks.metrics.manifold import NEIGHBOURS
from benchmarks.metrics.suite import LONG_CROPS, MetricSuite, drift_distance, inside
from benchmarks.results.records import Results
from datamodules.manifest import Manifest, scan_unsplit
from datamodules.resize import ByFactor, ToShorterSide
from patchcanvas.environment import describe_environment, resolve_device
from patchcanvas.sources import sha256_of_sources
from strategies.canvas import Canvas, WindowEdges

__all__ = ["Prepared", "RealImages"]

OF_SQUARES = frozenset({"frechet", "kernel", "manifold"})
OF_FEATURES = OF_SQUARES | {"repetition"}
MOST = 2000  # squares of a reference whose images have room for several
IN_MEMORY = 2**29  # bytes of real images that are laid beside the others
FEWEST = 16  # of them, however large they are
TAKEN = ("real", "patches")  # names of rows that are of no folder


@dataclasses.dataclass(frozen=True)
class RealImages:
    """A folder of real images, looked at.

    Args:
        root: The folder.
        manifest: What is in it.
        settings: What was asked for.
    """

    root: Path
    manifest: Manifest
    settings: EvaluationSettings

    @classmethod
    def of(cls, name: str, settings: EvaluationSettings, *, smallest: int) -> "RealImages":
        """Looks at the folder that the setting `name` names.

        Raises:
            OSError: If there is none.
            ValueError: If none of its images can be used.
        """
        root = getattr(settings, name)
        manifest = scan_unsplit(
            root,
            resize=ByFactor(1.0) if settings.resize is None else ToShorterSide(settings.resize),
            smallest=smallest,
            seed=settings.seed,
            max_megapixels=settings.max_megapixels,
            name=name,
        )
        if not manifest.photos:
            first = manifest.skipped[0]
            raise ValueError(
                f"{name} must hold an image that can be read of at least {smallest} px on its "
                f"shorter side, but none of the {len(manifest.skipped)} below {root} is "
                f"({first.path}: {first.reason})."
            )
        return cls(root, manifest, settings)

    def room(self, size: tuple[int, int]) -> int:
        """Returns how many crops of this height and width there is room for side by side."""
        return room(self.manifest, size)

    def crops(self, count: int, size: tuple[int, int]) -> ReferenceCrops:
        """Returns so many of them."""
        seed, largest = self.settings.seed, self.settings.max_megapixels
        return ReferenceCrops(
            self.root, self.manifest, count, size, seed=seed, max_megapixels=largest
        )


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An evaluation, checked and ready.

    Args:
        settings: What was asked for.
        folders: What is measured, by the names of the rows.
        edges: Where seams may be.
        squares: The reference's, which are compared with; None if nothing is.
        long: Real images that may be cut to the size of those to measure; None without any.
        processes: This one process.
        suite: The suite, but for what it knows of real images.
        results: The record, without rows.
    """

    settings: EvaluationSettings
    folders: dict[str, ImageFolder]
    edges: WindowEdges
    squares: ReferenceCrops | None
    long: RealImages | None
    processes: Processes
    suite: MetricSuite
    results: Results

    @classmethod
    def of(cls, settings: EvaluationSettings, record: dict[str, Any], command: str) -> "Prepared":
        """Checks all that can be checked before the work.

        Args:
            settings: What is asked for.
            record: The same as plain values.
            command: What makes it again.

        Raises:
            ValueError: If something does not fit.
            OSError: If a folder or file is missing.
        """
        folders = image_folders(settings)
        canvas = canvas_of(folders, settings)
        side = side_of(settings, canvas)
        reference, long = real_images(settings, side, folders)
        possible = Possible(
            canvas,
            side,
            strip=settings.strip or min(side, max(1, canvas.width // 5)),
            num_samples=len(next(iter(folders.values())).files),
            edges=edges_of(settings, canvas),
            squares=None if reference is None else squares_of(reference, side),
            long=long,
        )
        wanted = possible.wanted(settings.asked)
        processes = launched(resolve_device(settings.device), devices=1, num_nodes=1, arguments=[])
        features = features_for(wanted, settings, side, processes.device)
        suite = possible.suite(features, wanted, settings.seed)
        suite.metrics(possible.edges, starts_at=settings.start)  # refuses what does not fit
        squares = possible.squares if wanted & OF_SQUARES else None
        results = Results(
            name=name_of(settings, folders),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
            settings=record
            | {"images_sha256": {name: folder.sha256 for name, folder in folders.items()}},
            environment=describe_environment(processes.device) | {"sources": sha256_of_sources()},
            denoiser={},
            data={} if squares is None else squares.description,
            features=features.description,
            num_samples=suite.num_samples,
            num_reference=0 if squares is None else len(squares.turns),
            canvas=(canvas.height, canvas.width),
            drift_distance=drift_distance(canvas.width, suite.strip),
        )
        return cls(settings, folders, possible.edges, squares, long, processes, suite, results)


@dataclasses.dataclass(frozen=True)
class Possible:
    """What decides which figures there can be.

    Args:
        canvas: The size of the images, and which edges are to meet.
        side: Of the squares that are compared, in pixels.
        strip: Of the strips whose colours are compared, in pixels.
        num_samples: How many images there are in a row.
        edges: Where seams may be.
        squares: What squares are compared with; None without a reference.
        long: Real images that may be cut to the size of those to measure; None without any.
    """

    canvas: Canvas
    side: int
    strip: int
    num_samples: int
    edges: WindowEdges
    squares: ReferenceCrops | None
    long: RealImages | None

    def wanted(self, asked: list[str]) -> frozenset[str]:
        """Returns the metrics of the suite that give the figures asked for, or all there can be.

        Raises:
            ValueError: If one that is asked for cannot be had.
        """
        why = self._missing()
        for name in asked:
            if name in why:
                raise ValueError(f"metrics: {name} {why[name]}.")
        wanted = {METRICS[name] for name in asked or METRICS if name not in why}
        # Also without real images to lay beside it there is a curve.
        alike = set() if asked or self.canvas.width <= self.strip else {"correlation"}
        return frozenset(wanted | alike)

    def suite(self, features: FeatureNetwork, only: frozenset[str], seed: int) -> MetricSuite:
        """Returns the suite, but for what it knows of real images."""
        return MetricSuite(
            features,
            reference=None,
            canvas=self.canvas,
            num_samples=self.num_samples,
            strip=self.strip,
            seed=seed,
            long_crops=None,
            why_no_long_crops=None,
            # As in a comparison, whose squares are as large as fits.
            side=None if self.side == min(self.canvas.height, self.canvas.width) else self.side,
            only=only,
        )

    def _missing(self) -> dict[str, str]:
        """Returns why figures cannot be had, by their names."""
        height, width, side = self.canvas.height, self.canvas.width, self.side
        why: dict[str, str] = {}
        if self.squares is None:
            needs = "needs real images to compare with: give reference=FOLDER"
            why |= dict.fromkeys(("fid_plus", "kid", "precision", "recall"), needs)
        elif min(self.num_samples - 1, len(self.squares.turns)) <= NEIGHBOURS:
            needs = f"needs more than {NEIGHBOURS + 1} images and {NEIGHBOURS} of the reference"
            why |= dict.fromkeys(("precision", "recall"), needs)
        if not inside(self.edges, self.canvas):
            why["seam_ratio"] = "needs to know where seams may be: give seams=[…] or period=…"
        if not (self.canvas.wrap_width or self.canvas.wrap_height):
            why["wrap_error"] = "needs to know which edges meet: give wrap_width=true"
        if drift_distance(width, self.strip) is None:
            why["drift"] = (
                f"is over four strips of {self.strip} px, of which five must fit into {width} px: "
                "give a smaller strip"
            )
        if width <= self.strip:
            why["correlation_gap"] = f"needs images wider than a strip of {self.strip} px"
        elif self.long is None or self.long.room((height, width)) < 2:
            why["correlation_gap"] = (
                f"needs real images of at least {height} x {width} px: give long_reference=FOLDER"
            )
        if (height // side) * (width // side) < 2:
            why["repetition"] = f"needs room for two squares of {side} px"
        return why


def image_folders(settings: EvaluationSettings) -> dict[str, ImageFolder]:
    """Looks at all folders to measure, and draws as many images of each.

    Raises:
        ValueError: If images cannot be read or differ in size, or folders in number.
        OSError: If there are none.
    """
    names = row_names(settings.images)
    folders = {
        name: ImageFolder.of(path, settings.max_megapixels)
        for name, path in zip(names, settings.images, strict=True)
    }
    first = next(iter(folders))
    for name, folder in folders.items():
        if folder.size != folders[first].size:
            raise ValueError(
                f"images of one table must have one size, but those of {first} have "
                f"{spelt(folders[first].size)} and those of {name} {spelt(folder.size)}: measure "
                "them apart."
            )
        if settings.num_samples is not None and len(folder.files) < settings.num_samples:
            raise ValueError(
                f"num_samples must be at most the {len(folder.files)} images of {name}, got "
                f"{settings.num_samples}."
            )
        if folder.copies:
            warnings.warn(
                f"{folder.copies} of the {len(folder.files)} images of {name} are copies of "
                "others: figures count them as images of their own.",
                stacklevel=2,
            )
    fewest = min(len(folder.files) for folder in folders.values())
    if settings.num_samples is None and any(len(one.files) != fewest for one in folders.values()):
        counts = ", ".join(f"{name} {len(folder.files)}" for name, folder in folders.items())
        raise ValueError(
            f"images of one table must be as many in each folder, for FID+ depends on their "
            f"number, but there are {counts}: say num_samples={fewest}."
        )
    if fewest < 3:
        raise ValueError(
            f"images must be at least 3, for an interval leaves one out, got {fewest}."
        )
    count = settings.num_samples or fewest
    return {name: folder.drawn(count, settings.seed) for name, folder in folders.items()}


def row_names(folders: list[Path]) -> list[str]:
    """Returns what rows are called: the folder's own name, or its path where that says too little.

    >>> row_names([Path("a/out"), Path("b/out"), Path("c"), Path("real")])
    ['a/out/', 'b/out/', 'c', 'real/']
    """
    short = [path.resolve().name for path in folders]
    names = [
        name if short.count(name) == 1 and name not in TAKEN else f"{path}/"
        for name, path in zip(short, folders, strict=True)
    ]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"images must be folders of their own, got {name} twice.")
    return names


def name_of(settings: EvaluationSettings, folders: dict[str, ImageFolder]) -> str:
    """Returns what the evaluation is called."""
    made = re.sub(r"[^\w.]+", "-", "-".join(folders)).strip("-")
    return settings.name or f"evaluation-{made[:60]}"


def side_of(settings: EvaluationSettings, canvas: Canvas) -> int:
    """Returns the side of the squares that are compared.

    Raises:
        ValueError: If they do not fit.
    """
    largest = min(canvas.height, canvas.width)
    if settings.side is not None and settings.side > largest:
        raise ValueError(
            f"side must be at most the shorter side of the images, {largest} px, got "
            f"{settings.side}."
        )
    return settings.side or largest


def canvas_of(folders: dict[str, ImageFolder], settings: EvaluationSettings) -> Canvas:
    """Returns the size of the images, and which of their edges are to meet."""
    height, width = next(iter(folders.values())).size
    wraps = {"wrap_height": settings.wrap_height, "wrap_width": settings.wrap_width}
    return Canvas(height=height, width=width, **wraps)


def real_images(
    settings: EvaluationSettings, side: int, folders: dict[str, ImageFolder]
) -> tuple[RealImages | None, RealImages | None]:
    """Looks at the reference, and at what may be cut to whole images.

    Raises:
        ValueError: If images to measure are among them, or they are too small.
        OSError: If there are none.
    """
    reference = long = None
    if settings.reference is not None:
        reference = long = RealImages.of("reference", settings, smallest=side)
    if settings.long_reference is not None:
        long = RealImages.of("long_reference", settings, smallest=1)
    for real in {id(one): one for one in (reference, long) if one is not None}.values():
        for name, folder in folders.items():
            validate_disjoint(name, folder, real)
    return reference, long


def validate_disjoint(name: str, folder: ImageFolder, real: RealImages) -> None:
    """Checks that no image is compared with itself.

    Raises:
        ValueError: If one would be, unless that is allowed.
    """
    both = shared(folder, real.manifest)
    if not both:
        return
    said = (
        f"{len(both)} of the {len(folder.files)} images of {name} are also below {real.root} "
        f"({both[0]} the first)"
    )
    if not real.settings.allow_shared:
        raise ValueError(
            f"{said}: images compared with themselves have no figure worth quoting; take them out, "
            "or say allow_shared=true."
        )
    warnings.warn(f"{said}, and are compared with themselves.", stacklevel=2)


def squares_of(reference: RealImages, side: int) -> ReferenceCrops:
    """Returns the squares of the reference: as many as are asked for, or its images have to give.

    Raises:
        ValueError: If there is no room for so many, or for two.
    """
    size, images = (side, side), len(reference.manifest.photos)
    count = max(images, min(MOST, reference.room(size)))
    if count < 2:
        raise ValueError(
            f"reference must have room for at least 2 squares of {side} px, got {count}."
        )
    return reference.crops(reference.settings.num_reference or count, size)


def edges_of(settings: EvaluationSettings, canvas: Canvas) -> WindowEdges:
    """Returns where seams may be.

    Raises:
        ValueError: If one lies outside.
    """
    columns = settings.seams
    if settings.period is not None:
        first = settings.period if settings.offset is None else settings.offset
        columns = [column for column in range(first, canvas.width, settings.period) if column]
        if not columns:
            raise ValueError(
                f"period must leave a column inside the {canvas.width} px, got {settings.period}."
            )
    for name, places, length in (
        ("seams", columns, canvas.width),
        ("seam_rows", settings.seam_rows, canvas.height),
    ):
        outside = [place for place in places if not 0 < place < length]
        if outside:
            raise ValueError(
                f"{name} must lie inside the images, from 1 to {length - 1} px, got {outside[0]}."
            )
    return WindowEdges(tuple(settings.seam_rows), tuple(columns))


def features_for(
    wanted: frozenset[str], settings: EvaluationSettings, side: int, device: torch.device
) -> FeatureNetwork:
    """Returns the network that was asked for; where no figure needs one, the one without weights.

    Raises:
        ValueError: If its weights cannot be had, or squares are too small for it.
        OSError: If they are no file.
    """
    if not wanted & OF_FEATURES:
        return RandomConv()
    try:
        features = build_features(
            settings.features,
            weights=settings.features_weights,
            # random_conv computes in float64, which MPS has not.
            device="cpu" if device.type == "mps" else device,
        )
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    features(torch.zeros(1, 3, side, side, dtype=torch.uint8))
    return features


def most_in_memory(canvas: Canvas) -> int:
    """Returns how many real images of that size are laid beside the others."""
    return min(LONG_CROPS, max(FEWEST, IN_MEMORY // (3 * canvas.height * canvas.width)))
