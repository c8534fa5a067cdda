"""How the work is done on a device: precision, memory and speed, not what is asked for."""

import dataclasses
import importlib.util
from typing import Literal

import torch

from patchcanvas.environment import Precision
from patchcanvas.window_batch import WindowBatch
from strategies.latent import Decoding

__all__ = ["DEFAULT_RUNTIME", "Runtime"]

Attention = Literal["efficient", "sliced"]
Offload = Literal["none", "model", "sequential"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """Precision, memory and speed.

    Args:
        precision: What networks compute in: fp32, bf16 or fp16. Our own compute in mixed precision;
            pretrained models are loaded in it, and take half the memory.
        window_batch: Windows in one network call. `auto` is as many as memory holds, found by
            trying and remembered for the device. A number is exactly so many, the last call filled
            up: the same bits at every batch_size and on any number of processes.
        compile: Whether torch.compile compiles the network; slow to start, then faster on a GPU.
        channels_last: Whether convolutions keep channels innermost; faster on many GPUs.
        attention: Of pretrained models: `efficient` is torch's own, which never holds all weights;
            `sliced` holds a slice of them at a time, for devices on which torch's does.
        offload: What of a pretrained model waits in main memory and is brought to the device when
            it is called: `none`, whole networks (`model`) or single layers (`sequential`: least
            memory, slowest). Needs the package accelerate and a device that is not the CPU.
        tile: Most latent pixels along a side of what is encoded or decoded at once; by default the
            side of the model's own patch.
        tile_overlap: Least that neighbouring tiles share, in latent pixels; by default a quarter of
            a tile.
    """

    precision: Precision = "fp32"
    window_batch: WindowBatch = "auto"
    compile: bool = False
    channels_last: bool = False
    attention: Attention = "efficient"
    offload: Offload = "none"
    tile: int | None = None
    tile_overlap: int | None = None

    def __post_init__(self) -> None:
        if self.window_batch != "auto" and self.window_batch < 1:
            raise ValueError(f"window_batch must be auto or at least 1, got {self.window_batch}.")
        self.decoding  # noqa: B018  checked here, so that it is refused before any work

    def validate_device(self, device: torch.device) -> None:
        """Checks that the work can be done so on a device.

        Raises:
            ValueError: If networks are to wait for the CPU in its own memory, or what lets them
                wait is not installed.
        """
        if self.offload == "none":
            return
        if device.type == "cpu":
            raise ValueError(
                "runtime.offload keeps networks in main memory until a device needs them: device "
                "must not be cpu."
            )
        if importlib.util.find_spec("accelerate") is None:
            raise ValueError(
                "runtime.offload needs the package accelerate: pip install accelerate."
            )

    @property
    def decoding(self) -> Decoding:
        """How much is decoded at once."""
        return Decoding(tile=self.tile, overlap=self.tile_overlap)

    @property
    def dtype(self) -> torch.dtype:
        """The type that a pretrained model's weights have."""
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[
            self.precision
        ]


DEFAULT_RUNTIME = Runtime()
