"""A strategy's canvases on disk: which are finished, and the files that hold them.

One file holds a run of neighbouring samples. It is written beside its place and then moved there,
so that a file that is there is whole; how many samples it holds plays no part, so that a run may go
on with another batch size or on another number of processes.
"""

import dataclasses
import re
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from patchcanvas.files import whole
from patchcanvas.making import Batch

__all__ = ["SampleFiles"]


@dataclasses.dataclass(frozen=True)
class SampleFiles:
    """The files of one strategy's canvases.

    Args:
        folder: Where they lie; it is made when the first is written.
    """

    folder: Path

    def finished(self, count: int) -> dict[range, Path]:
        """Returns the whole files that hold samples below `count`, by their samples, in order.

        A damaged file is left out, and so is one whose samples another file holds.
        """
        found: dict[range, Path] = {}
        taken: set[int] = set()
        for path in sorted(self.folder.glob("*.safetensors")):
            indices = _indices_of(path)
            if indices and indices[-1] < count and taken.isdisjoint(indices) and _whole(path):
                found[indices] = path
                taken |= set(indices)
        return found

    def write(self, batch: Batch) -> None:
        """Writes in one stroke."""
        path = self.folder / f"{batch.indices[0]:06d}-{batch.indices[-1]:06d}.safetensors"
        times = {"seconds": str(batch.seconds), "network_seconds": str(batch.network_seconds)}
        # Written by Python, whose errors tell a full disk from other failures.
        content = save({"canvases": batch.canvases.contiguous()}, metadata=times)
        with whole(path) as part:
            part.write_bytes(content)

    @staticmethod
    def read(path: Path) -> Batch:
        """Reads what `write` wrote."""
        with safe_open(path, framework="pt") as file:
            times = file.metadata()
            return Batch(
                _indices_of(path)[0],
                file.get_tensor("canvases"),
                float(times["seconds"]),
                float(times["network_seconds"]),
                from_disk=True,
            )


def _indices_of(path: Path) -> range:
    found = re.fullmatch(r"(\d+)-(\d+)", path.stem)
    return range(int(found[1]), int(found[2]) + 1) if found else range(0)


def _whole(path: Path) -> bool:
    """Reads the header, which the library checks against the length of the file."""
    try:
        with safe_open(path, framework="pt") as file:
            shape = file.get_slice("canvases").get_shape()
            return shape[0] == len(_indices_of(path)) and "network_seconds" in file.metadata()
    except (SafetensorError, OSError, TypeError):
        return False
