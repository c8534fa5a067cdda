"""One panorama, as both sides are asked for it, and what making it took."""

import dataclasses
from typing import Protocol, runtime_checkable

from torch import Tensor
from typing_extensions import override

from denoisers.contract import Image
from sampling.noise import CanvasNoise

__all__ = ["STRIDE", "VIEW", "Job", "Made", "PeerError", "Shape", "Side", "Timing"]

# Of the peer's `get_views`, in latent pixels: what windows it takes, whatever the model.
VIEW, STRIDE = 64, 8

Shape = tuple[int, int, int, int]


class PeerError(RuntimeError):
    """What a pipeline raised instead of an image."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A panorama, or several of one prompt.

    Args:
        prompt: What it shows.
        height: Pixels from top to bottom.
        width: Pixels from left to right.
        num_steps: Steps of DDIM.
        guidance: Scale of guidance; 1 is none.
        seed: Seeds the starting latents.
        images: How many are made together.
        circular: Whether the right edge continues at the left.
        decoded: Whether pixels are wanted, or latents.
        rolled: Columns by which the starting latents are moved to the right, round the loop.
    """

    prompt: str
    height: int
    width: int
    num_steps: int
    guidance: float
    seed: int = 0
    images: int = 1
    circular: bool = False
    decoded: bool = False
    rolled: int = 0

    @property
    def noise(self) -> CanvasNoise:
        """The noise that the latents start from; image k is the same in any company."""
        return Rolled(self.seed, range(self.images), columns=self.rolled)

    def latents(self, scale: int, channels: int) -> Image:
        """Returns the starting latents, of which ours are those with a larger canvas beyond."""
        return self.noise.draw("start", 0, (channels, self.height // scale, self.width // scale))


class Rolled(CanvasNoise):
    """Noise that is moved to the right, round the loop.

    Args:
        seed: The run's seed.
        indices: The number of each sample.
        columns: By how many columns.
    """

    def __init__(self, seed: int, indices: range, *, columns: int) -> None:
        super().__init__(seed, indices)
        self.columns = columns

    @override
    def draw(self, purpose: str, step: int, shape: tuple[int, int, int]) -> Image:
        return super().draw(purpose, step, shape).roll(self.columns, -1)


@dataclasses.dataclass(frozen=True)
class Timing:
    """What one run took.

    Args:
        seconds: From the prompt to the latents or pixels.
        network_seconds: How much of that was spent inside the network.
        shapes: The size of every batch that the network was called with.
        copies: Deep copies of the scheduler.
        copy_seconds: Seconds that they took.
    """

    seconds: float
    network_seconds: float
    shapes: tuple[Shape, ...]
    copies: int = 0
    copy_seconds: float = 0.0

    @property
    def evaluations(self) -> int:
        """Images evaluated, over all calls; both of a pair of guidance count."""
        return sum(count for count, *_ in self.shapes)

    @property
    def pixels(self) -> int:
        """Latent pixels evaluated."""
        return sum(count * height * width for count, _, height, width in self.shapes)


@dataclasses.dataclass(frozen=True)
class Made:
    """What came out of a run.

    Args:
        timing: What it took.
        images: Latents, or pixels; None for a run that makes nothing.
    """

    timing: Timing
    images: Tensor | None = None


@runtime_checkable
class Side(Protocol):
    """Who makes panoramas."""

    def made(self, job: Job) -> Made:
        """Makes a panorama.

        Raises:
            PeerError: If the peer raised something.
            ValueError: If we refuse the job.
        """
        ...
