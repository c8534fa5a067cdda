"""What the filter found: the score of every image, in a file that carries its own hash."""

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any

__all__ = ["Scored", "Scores", "read_scores"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """An image and how surely its sides can be told apart.

    Args:
        path: Where it lies below the root, with forward slashes; or its key in a database.
        sha256: Of the file's bytes.
        bytes: Of the file.
        height: In pixels, upright, as stored.
        width: In pixels, upright, as stored.
        fold: The fold it is in; the model that scored it was trained on the others.
        p_left: Probability of "right" for its left patch.
        p_right: Probability of "right" for its right patch.
    """

    path: str
    sha256: str
    bytes: int
    height: int
    width: int
    fold: int
    p_left: float
    p_right: float

    @property
    def score(self) -> float:
        """How surely either side gives itself away: 0.5 is chance, 1 is certainty."""
        return max(1 - self.p_left, self.p_right)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """The outcome of the filter on one set of images.

    Args:
        settings: What the filter was run with.
        content: Hash of the images, as the data set has it.
        images: All readable images, in the order of their paths.
        skipped: Unreadable images, by path, and why.
    """

    settings: dict[str, Any]
    content: str
    images: tuple[Scored, ...]
    skipped: dict[str, str]

    @property
    def threshold(self) -> float:
        """Images are kept below this score."""
        return self.settings["threshold"]

    def keeps(self, image: Scored) -> bool:
        """Whether an image is horizontally invariant enough."""
        return image.score < self.threshold

    @property
    def kept(self) -> list[Scored]:
        """The images that are horizontally invariant enough."""
        return [image for image in self.images if self.keeps(image)]

    @property
    def accuracy(self) -> float:
        """Share of patches whose side was told rightly, by models that never saw them."""
        right = sum((image.p_left < 0.5) + (image.p_right > 0.5) for image in self.images)
        return right / (2 * len(self.images))

    @property
    def log_loss(self) -> float:
        """Mean of -log p of the true side, in nats; chance is log 2 = 0.693."""
        floor = 1e-7
        right = (p for image in self.images for p in (1 - image.p_left, image.p_right))
        return -sum(math.log(max(p, floor)) for p in right) / (2 * len(self.images))

    @property
    def hash(self) -> str:
        """sha256 of all that is in the file but this."""
        text = json.dumps(self._contents(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self, path: Path) -> None:
        """Writes everything as JSON; a half-written file is never left under that name."""
        folds = [0] * self.settings["folds"]
        for image in self.images:
            folds[image.fold] += 1
        summary = {
            "counts": {
                "images": len(self.images),
                "kept": len(self.kept),
                "skipped": len(self.skipped),
                "folds": folds,
            },
            "out_of_fold": {"accuracy": self.accuracy, "log_loss": self.log_loss},
            "hash": self.hash,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(summary | self._contents(), indent=1) + "\n")
        partial.replace(path)

    def _contents(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "content": self.content,
            "skipped": self.skipped,
            "images": [
                dataclasses.asdict(image) | {"score": image.score, "kept": self.keeps(image)}
                for image in self.images
            ],
        }


def read_scores(path: Path) -> Scores:
    """Reads what `python -m datamodules.invariance` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is something else, or was altered.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"kept must be a manifest of the invariance filter, but {path} does not exist; "
            f"make it with python -m datamodules.invariance root=FOLDER out={path}."
        )
    fields = [field.name for field in dataclasses.fields(Scored)]
    try:
        found = json.loads(path.read_text())
        scores = Scores(
            settings=found["settings"],
            content=found["content"],
            images=tuple(
                Scored(**{name: image[name] for name in fields}) for image in found["images"]
            ),
            skipped=found["skipped"],
        )
        intact = scores.hash == found["hash"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"kept must be a manifest of the invariance filter, but {path} is not one ({error!r})."
        ) from error
    if not intact:
        raise ValueError(f"{path} was altered after the filter wrote it; run the filter again.")
    return scores
