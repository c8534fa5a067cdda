"""The folder of a strip: tiles, state, record and log, and who may write there."""

import dataclasses
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from patchcanvas.files import LOCK, lock, unlock
from patchcanvas.pictures import read_picture, write_picture
from patchcanvas.records import read_record, write_record
from patchcanvas.streaming.records import Record
from patchcanvas.streaming.state import Standing

__all__ = ["ENDS", "LOG", "PLOT", "TILES", "StripFolder"]

RECORD, STATE, LOG = "stream.json", "state.safetensors", "measurements.jsonl"
PLOT, ENDS = "measurements.png", "ends.png"
TILES = "tiles/{:08d}.png"


@dataclasses.dataclass(frozen=True)
class StripFolder:
    """Where everything of one strip lies.

    Args:
        path: The folder.
    """

    path: Path

    @classmethod
    def opened(cls, path: Path, fresh: Record) -> "StripFolder":
        """Makes the folder, or finds it, and keeps other runs out.

        Raises:
            OSError: If nothing can be written there.
            ValueError: If it holds something else than this strip, or another run grows it.
        """
        if path.exists() and not path.is_dir():
            raise ValueError(f"folder must be a folder, got the file {path}.")
        folder = cls(path)
        if path.is_dir() and not folder.record_path.is_file():
            folder._validate_files()
        path.mkdir(parents=True, exist_ok=True)
        lock(path, instead="folder")
        try:
            if folder.record_path.is_file():
                folder.record().validate_same(fresh, path)
            else:
                write_record(folder.record_path, fresh)
            folder._tidy()
        except BaseException:
            unlock(path)
            raise
        return folder

    @property
    def record_path(self) -> Path:
        """Where the record lies."""
        return self.path / RECORD

    def record(self) -> Record:
        """Reads the record.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it is damaged, or another version of this code wrote it.
        """
        return read_record(Record, self.record_path, mend="give another folder=…")

    def tile_path(self, number: int) -> Path:
        """Returns where a PNG lies."""
        return self.path / TILES.format(number)

    def standing(self) -> Standing | None:
        """Returns where the strip stands; None if nothing is made yet.

        Raises:
            ValueError: If that is damaged, or lost.
        """
        path = self.path / STATE
        if path.is_file():
            return Standing.read(path)
        if self.record().columns:
            raise ValueError(
                f"{path} is missing, without which the strip cannot be gone on with: put it back, "
                "delete the folder, or give another folder=…"
            )
        return None

    def save(self, standing: Standing, record: Record) -> None:
        """Writes where the strip stands, first so that it can go on, then for readers."""
        standing.write(self.path / STATE)
        record.columns, record.seconds = standing.columns, standing.seconds
        write_record(self.record_path, record)

    def write_tile(self, number: int, tile: UInt8[Tensor, "channels height width"]) -> None:
        """Writes a PNG in one stroke."""
        write_picture(tile, self.tile_path(number))

    def columns(self, begin: int, end: int, *, tile: int) -> UInt8[Tensor, "3 height width"]:
        """Reads columns `begin` to `end` - 1 from their PNGs."""
        numbers = _tiles(begin, end, tile)
        strip = torch.cat([read_picture(self.tile_path(number)) for number in numbers], dim=-1)
        return strip[..., begin - numbers[0] * tile : end - numbers[0] * tile]

    def holds(self, begin: int, end: int, *, tile: int) -> bool:
        """Whether the PNGs of these columns are there: a user may move old ones away."""
        return all(self.tile_path(number).is_file() for number in _tiles(begin, end, tile))

    def _validate_files(self) -> None:
        others = sorted(
            path.name
            for path in self.path.iterdir()
            if path.name != LOCK and not path.name.endswith(".part")
        )
        if others:
            raise ValueError(
                f"{self.path} holds no strip (there is {others[0]!r}, but no {RECORD}): give the "
                "folder of a strip, an empty one, or a new one."
            )

    def _tidy(self) -> None:
        """Removes what a killed process left half written."""
        for part in [*self.path.glob("*.part"), *self.path.glob("tiles/*.part")]:
            part.unlink()


def _tiles(begin: int, end: int, tile: int) -> range:
    """Returns the numbers of the PNGs that hold columns `begin` to `end` - 1."""
    return range(begin // tile, -(-end // tile))
