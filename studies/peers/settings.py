"""Every setting of the comparison with peers, with its unit and its default."""

import dataclasses
import sys
from pathlib import Path

from benchmarks.experiment.settings import ExperimentSettings
from patchcanvas.cli.command_line import Command, read_settings
from patchcanvas.cli.settings import validate_minimum
from studies.peers.jobs import STRIDE, VIEW, Job

__all__ = ["SCALE", "PanoramaSize", "PeerSettings", "read_command"]

SCALE = 8  # pixels of an image along a side of a latent pixel; the peer knows no other


@dataclasses.dataclass(frozen=True, kw_only=True)
class PanoramaSize:
    """The size of the panorama.

    Args:
        height: Pixels from top to bottom, 512 and any number of strides of 64.
        width: Pixels from left to right, 512 and any number of strides of 64.
    """

    height: int = 512
    width: int = 2048


PANORAMA = PanoramaSize()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeerSettings(ExperimentSettings):
    """Our parallel strategies beside the panorama pipeline of diffusers.

    Args:
        denoiser: Folder of a Stable Diffusion, as save_pretrained writes it; by default a small
            random one is made.
        channels: Of the small one: channels of the U-Net's first stage, in steps of 8.
        attention: Of the small one: whether each stage of the U-Net attends, each half as large as
            the one before. On 64 x 64 latents attention is nearly all of the time, and the same
            time on both sides.
        python: Interpreter whose diffusers is the peer; by default this one.
        prompt: What the panorama shows.
        canvas: Size of the panorama, in pixels.
        num_steps: Steps of DDIM.
        guidance: Scale of guidance.
        batches: Numbers of views in one call of the network that are tried on both sides, beside
            the defaults: one view there, all of them here. Pixels are made with the first alone.
        repeats: Rounds; in each of them every way to make the panorama is timed once.
        defects: Whether the peer's defects are measured too.
        seed: Seeds the starting latents, and the weights of the small model.
    """

    denoiser: Path | None = None
    channels: int = 8
    attention: tuple[bool, ...] = (False, False, False, True)
    python: Path = Path(sys.executable)
    prompt: str = "a photo of the dolomites"
    canvas: PanoramaSize = PANORAMA
    num_steps: int = 50
    guidance: float = 7.5
    batches: tuple[int, ...] = (4,)
    repeats: int = 5
    defects: bool = True
    seed: int = 0
    name: str = "peers"

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            _validate_covered(name, getattr(self.canvas, name))
        if self.channels < 8 or self.channels % 8:
            raise ValueError(f"channels must be 8, 16, 24 and so on, got {self.channels}.")
        if len(self.attention) < 2 or not any(self.attention):
            raise ValueError(
                "attention must tell of at least two stages, one of which attends to the text, got "
                f"{list(self.attention)}."
            )
        if not self.guidance > 1:
            raise ValueError(
                f"guidance must be above 1, so that both sides evaluate pairs, got {self.guidance}."
            )
        if any(batch < 2 for batch in self.batches) or len(set(self.batches)) < len(self.batches):
            raise ValueError(
                f"batches must be different numbers from 2 up, got {list(self.batches)}."
            )
        validate_minimum(self, ("num_steps", 2), ("repeats", 1))

    @property
    def job(self) -> Job:
        """The panorama that is timed."""
        return Job(
            prompt=self.prompt,
            height=self.canvas.height,
            width=self.canvas.width,
            num_steps=self.num_steps,
            guidance=self.guidance,
            seed=self.seed,
        )


def _validate_covered(name: str, length: int) -> None:
    """Refuses lengths that the peer's views do not cover."""
    view, stride = SCALE * VIEW, SCALE * STRIDE
    if length >= view and (length - view) % stride == 0:
        return
    below = max(view, view + (length - view) // stride * stride)
    raise ValueError(
        f"canvas.{name} must be {view} px and any number of strides of {stride} px, or the peer "
        f"leaves pixels uncovered, got {length}; the nearest are {below} and {below + stride}."
    )


def read_command(arguments: list[str]) -> Command:
    """Reads the command line; `key=value` and `--key=value` are the same thing.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name.
        SystemExit: After printing the help, if that is asked for.
    """
    return read_settings(
        arguments,
        PeerSettings,
        prog="python -m studies.peers",
        description="Times our parallel strategies beside the panorama pipeline of diffusers, on "
        "the same U-Net, the same views and the same steps, and measures the pipeline's defects on "
        "both sides. Write settings as key=value, for example: python=OTHER/bin/python "
        "num_steps=10.",
    )
