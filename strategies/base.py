"""What a strategy is."""

import abc
import dataclasses
from typing import Any

from denoisers.contract import Image, PatchDenoiser
from sampling.noise import CanvasNoise
from sampling.solvers import Heun, Solver
from strategies.canvas import Borders, Canvas, Known

__all__ = ["Strategy"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strategy(abc.ABC):
    """A way to make a canvas with a denoiser of patches.

    Args:
        solver: Carries noise to images; the same for all strategies of a comparison.
        window: Side of the square windows, in pixels; None for the denoiser's patch size.
        max_batch: Most windows in one network call, those of all samples together; None for no
            limit.
    """

    solver: Solver = dataclasses.field(default_factory=Heun)
    window: int | None = None
    max_batch: int | None = None

    def __post_init__(self) -> None:
        for name in ("window", "max_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")

    @abc.abstractmethod
    def generate(
        self,
        denoiser: PatchDenoiser,
        canvas: Canvas,
        noise: CanvasNoise,
        *,
        known: Known | None = None,
        context: Any = None,
    ) -> Image:
        """Returns one canvas for each sample of `noise`; known pixels come back bit by bit.

        Args:
            denoiser: Denoises the windows.
            canvas: The size of what is made.
            noise: Numbers the samples, and says where and in which precision they are made.
            known: Pixels that are given, one canvas for all samples or one for each.
            context: What the denoiser is conditioned on: a tensor with one row a sample, or None.

        Raises:
            ValueError: If the canvas is smaller than a window, the denoiser cannot take the
                windows, or `known` has another size; before the first network call.
        """

    @abc.abstractmethod
    def borders(self, denoiser: PatchDenoiser, canvas: Canvas) -> Borders:
        """Returns where seams would be: the edges of windows inside the canvas."""

    def refuse_misfits(
        self, denoiser: PatchDenoiser, canvas: Canvas, noise: CanvasNoise, known: Known | None
    ) -> None:
        """Checks that the arguments of `generate` belong together.

        Raises:
            ValueError: If channels, sizes or numbers of samples differ.
        """
        if canvas.channels != denoiser.channels:
            raise ValueError(
                f"a canvas must have the denoiser's {denoiser.channels} channels, got "
                f"{canvas.channels}."
            )
        if known is not None:
            known.refuse_misfits(canvas, len(noise))

    def window_of(self, denoiser: PatchDenoiser) -> int:
        """Returns the side of the windows, in pixels.

        Raises:
            ValueError: If the denoiser cannot take windows of that size.
        """
        window = self.window or denoiser.patch_size
        if window % denoiser.multiple:
            raise ValueError(
                f"window must be a multiple of the denoiser's {denoiser.multiple} px, got {window}."
            )
        return window
