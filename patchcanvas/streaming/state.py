"""Where a strip stands: one file of constant size, from which it goes on as if never stopped."""

import dataclasses
import hashlib
from pathlib import Path

import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from patchcanvas.files import whole
from strategies.conveyor import State

__all__ = ["Standing"]


@dataclasses.dataclass(frozen=True)
class Standing:
    """All that is known of a strip between two blocks.

    Args:
        state: The conveyor's.
        columns: Columns made so far.
        tail: Those of them that no full PNG has yet.
        log_size: Bytes of the log that belong to them.
        seconds: What they took.
    """

    state: State
    columns: int
    tail: UInt8[Tensor, "channels height tail"]
    log_size: int = 0
    seconds: float = 0.0

    def write(self, path: Path) -> None:
        """Writes it in one stroke.

        Raises:
            OSError: If it cannot be written.
        """
        tensors = {"pixels": self.state.pixels.cpu().contiguous(), "tail": self.tail.contiguous()}
        numbers = {
            "cycle": self.state.cycle,
            "given": self.state.given,
            "columns": self.columns,
            "log_size": self.log_size,
        }
        written = {name: str(number) for name, number in numbers.items()}
        written |= {"seconds": repr(self.seconds), "sha256": _hash(tensors)}
        with whole(path) as part:
            try:
                save_file(tensors, part, metadata=written)
            except SafetensorError as error:  # what safetensors makes of a full disk
                raise OSError(f"{path} cannot be written: {error}") from error

    @classmethod
    def read(cls, path: Path) -> "Standing":
        """Reads what `write` wrote.

        Raises:
            OSError: If there is no such file.
            ValueError: If it is damaged.
        """
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in ("pixels", "tail")}
                written = file.metadata()
            if written["sha256"] != _hash(tensors):
                raise ValueError("its pixels are not those that were written")
            state = State(tensors["pixels"], int(written["cycle"]), int(written["given"]))
            return cls(
                state,
                columns=int(written["columns"]),
                tail=tensors["tail"],
                log_size=int(written["log_size"]),
                seconds=float(written["seconds"]),
            )
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} must hold the state of a strip, but it is damaged ({error}): the strip "
                "cannot be gone on with; delete its folder, or give another folder=…"
            ) from error


def _hash(tensors: dict[str, Tensor]) -> str:
    """Returns the SHA-256 of the content of tensors, in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
