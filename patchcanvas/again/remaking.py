"""From the record of a picture to what makes it again."""

import dataclasses
import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from jaxtyping import UInt8
from torch import Tensor

from patchcanvas.again.settings import AgainSettings
from patchcanvas.making import Maker
from patchcanvas.painting import Painting
from patchcanvas.provenance import KNOWN, SEEDS, Provenance

__all__ = ["Picture", "Remake", "Settings", "parse_again", "remake_of"]

# What makes the pictures of a program again: a module with `remake(origin, settings) -> Remake`.
PROGRAMS = {
    "patchcanvas generate": "patchcanvas.generating.remaking",
    "patchcanvas outpaint": "patchcanvas.outpainting.remaking",
    "benchmarks.outpaint": "patchcanvas.outpainting.remaking",  # its name before version 0.2
    "benchmarks.run": "benchmarks.comparison.remaking",
}

# Where it is said where things lie now.
TO_DO = {
    "image": "give image=FILE",
    "mask": "give mask=FILE",
    SEEDS: "give root=FOLDER",
    KNOWN: "they were given in Python, where pc.generate makes it again with the same ones",
}

Picture = UInt8[Tensor, "channels height width"]
Settings = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Remake:
    """A picture that is ready to be made again.

    Args:
        maker: Makes it.
        finished: Turns what it makes into the picture.
        origin: What the picture is made from now.
        profile: What its colours mean (ICC); None for sRGB.
    """

    maker: Maker
    finished: Callable[[Picture], Picture]
    origin: Provenance
    profile: bytes | None = None

    @classmethod
    def of(cls, painting: Painting, origin: Provenance) -> "Remake":
        """Returns what makes the picture of a record again, from that which made it first."""
        now = dataclasses.replace(painting.origin(origin.sample), settings=origin.settings)
        return cls(painting.maker, painting.finished, now, painting.profile)

    @property
    def company(self) -> range:
        """The samples that must be made in the same calls, or the last bit may differ."""
        sample = self.origin.sample
        first, last = self.origin.together or (sample, sample)
        return range(first, last + 1)

    def made(self, called: Callable[[float], None] = lambda pictures: None) -> Picture:
        """Makes it.

        Args:
            called: Told of every network call what part of how many pictures it is.
        """
        maker = dataclasses.replace(self.maker, advance=called)
        canvases = maker(self.company).canvases
        return self.finished(canvases[self.origin.sample - self.company.start])


def remake_of(origin: Provenance, settings: AgainSettings) -> Remake:
    """Reads the settings of a record again and sets everything up.

    Raises:
        ValueError: If the program is not known, something does not fit, or weights or images are
            not those that the picture was made from.
        OSError: If a file is missing.
    """
    if origin.program not in PROGRAMS:
        raise ValueError(
            f"a picture must be by one of {', '.join(PROGRAMS)} to be made again, got "
            f"{origin.program}."
        )
    # Named, not imported: each stands on this package, and is loaded for a picture of its own.
    remake = importlib.import_module(PROGRAMS[origin.program]).remake(origin, settings)
    validate_inputs(origin, remake.origin)
    # Another commit of the same code makes the same picture, to the last byte of its file.
    if set(origin.differences(remake.origin, "environment")) == {"commit"}:
        same = dataclasses.replace(remake.origin, environment=origin.environment)
        remake = dataclasses.replace(remake, origin=same)
    return remake


def parse_again(settings: Settings, changes: list[str], reader: Callable[[list[str]], Any]) -> Any:
    """Returns what a command line makes of recorded settings, of which some are changed."""
    shared = {name: value for name, value in settings.items() if name != "own"}
    own = [
        f"{name}.{word.removeprefix('--')}"
        for name, words in settings["own"].items()
        for word in words
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings.yaml"
        file.write_text(yaml.safe_dump(shared))
        return reader([f"config={file}", f"strategy={settings['strategy']}", *own, *changes])


def validate_inputs(then: Provenance, now: Provenance) -> None:
    """Checks that weights, images and what is told are those of the first time.

    Raises:
        ValueError: If one is not.
    """
    weights = [origin.denoiser["weights_sha256"] for origin in (then, now)]
    if weights[0] != weights[1]:
        raise ValueError(
            f"the weights must be those that the picture was made with, SHA-256 {weights[0]}, but "
            f"{now.denoiser['file']} has {weights[1]}: give denoiser=FILE."
        )
    for name, sha256 in then.inputs.items():
        if (found := now.inputs.get(name)) != sha256:
            raise ValueError(
                f"the {name} must be what the picture was made from, SHA-256 {sha256}, got "
                f"{found}: {TO_DO.get(name, 'put it back')}."
            )
    if changed := then.differences(now, "conditioning"):
        name, (before, after) = next(iter(changed.items()))
        raise ValueError(
            "the denoiser must be told what it was told when the picture was made, but "
            f"{name} was {before} and is {after}."
        )
