"""What a strip is made by, and what it takes: one record of constant size, one growing log."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from patchcanvas.records import changes, from_json

__all__ = ["Log", "Measurement", "Record"]

# What changes how the work is done, not what comes out. A device is known by its name, weights and
# the image to go on from by their content.
HOW = (
    *("columns", "measure", "save_seconds", "folder", "device"),
    *("denoiser", "known", "config", "max_megapixels"),
)
# Of the environment, what pixels depend on.
WHERE = ("device", "versions", "sources")


@dataclasses.dataclass
class Record:
    """A strip: how it is made, and where its columns lie.

    Args:
        created: When it was begun, ISO 8601, UTC.
        command: The command that makes it again.
        settings: Every setting, defaults included.
        environment: Device, threads, library versions, commit, hash of the code.
        denoiser: Weights file, hash, size, provenance.
        known: SHA-256 of the image that it goes on from; None where there is none.
        window: How blocks lie in a window.
        tile: Columns of a PNG: column c is in number c // tile, counted from 0.
        tiles: Path of the PNGs, to be formatted with their number.
        columns: Columns made when this was last written. Those that fill no PNG yet get one when
            the command ends; until then they are kept with the state.
        seconds: What they took.
    """

    created: str
    command: str
    settings: dict[str, Any]
    environment: dict[str, Any]
    denoiser: dict[str, Any]
    known: str | None
    window: dict[str, Any]
    tile: int
    tiles: str
    columns: int = 0
    seconds: float = 0.0

    @property
    def protocol(self) -> dict[str, Any]:
        """What two commands must share for the second to go on with the strip of the first."""
        return {
            "settings": {key: self.settings[key] for key in self.settings if key not in HOW},
            "weights_sha256": self.denoiser.get("weights_sha256"),
            "known": self.known,
            "environment": {key: self.environment.get(key) for key in WHERE},
        }

    def validate_same(self, fresh: "Record", folder: Path) -> None:
        """Checks that what is asked for is this strip.

        Raises:
            ValueError: If it would have other pixels; names what differs.
        """
        different = changes(self.protocol, fresh.protocol)
        if different:
            listed = "; ".join(
                f"{name}: {there} there, {here} here" for name, (there, here) in different.items()
            )
            raise ValueError(
                f"{folder} holds a strip that was made otherwise ({listed}): give what it was made "
                "with, or another folder=…"
            )


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What some columns took.

    Args:
        columns: Columns of the strip at the end of it.
        made: How many of them are measured here.
        seconds: What they took, writing included.
        network_seconds: How much of it was spent inside the network.
        processor_seconds: Time of a processor that all threads of this process had meanwhile; what
            other processes take does not count.
        calls: Network calls.
        pixels: Pixels that these evaluated.
        memory_mib: Peak memory of the device, or of the process on a CPU, meanwhile, in MiB.
    """

    columns: int
    made: int
    seconds: float
    network_seconds: float
    processor_seconds: float
    calls: int
    pixels: int
    memory_mib: float


class Log:
    """Measurements, a line of JSON each, added at the end of a file that is never written anew.

    Args:
        path: The file.
        size: Bytes of it that count: what stands beyond them was measured by a process that was
            killed before it could save where it stood, and is measured again.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        path.touch()
        if path.stat().st_size < size:
            raise ValueError(
                f"{path} must have at least {size} bytes, got {path.stat().st_size}: it was cut "
                "off; delete the folder, or give another folder=…"
            )
        with path.open("r+b") as file:
            file.truncate(size)

    def add(self, measurement: Measurement) -> None:
        """Adds a line behind those that count: over what a full disk has left of another one."""
        line = json.dumps(dataclasses.asdict(measurement)).encode() + b"\n"
        with self.path.open("r+b") as file:
            file.seek(self.size)
            file.write(line)
            file.truncate()
        self.size += len(line)

    def read(self, most: int = 2000) -> list[Measurement]:
        """Returns the measurements, of more than `most` as many as that, evenly spread."""
        with self.path.open("rb") as file:
            count = sum(1 for _ in self._lines(file))
        stride = -(-count // most) or 1
        with self.path.open("rb") as file:
            return [
                from_json(Measurement, line, f"line {number + 1} of {self.path}")
                for number, line in enumerate(self._lines(file))
                if number % stride == 0
            ]

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        """Yields the lines that count."""
        while file.tell() < self.size:
            yield file.readline()
