"""What a window is guided by in training: a plan of its canvas, or a scaffold that fades away.

References:
    [T] Trio Diffusion (v2), "Seamless outputs gallery": C27 (a progressive blur of the canvas
    guide over training) and C21 v3 (plan and detail modes)
"""

import abc
import dataclasses
from typing import Any

import torch
from torch import Generator
from typing_extensions import override

from denoisers.contract import Image, Mask
from denoisers.guide import Share, blurred, coarse_guide, guide_from_plan, pooled

__all__ = ["FadingGuide", "Guide", "PlanGuide"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guide(abc.ABC):
    """Shows the whole view, coarsely, to a share of the samples.

    Args:
        share: Share of the samples that are guided, in [0, 1]; the others learn to do without.
    """

    share: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(
                f"the share of samples that are guided is in [0, 1], got {self.share}."
            )

    @abc.abstractmethod
    def shown(
        self, view: Image, mask: Mask, progress: float, generator: Generator
    ) -> tuple[Image, Share]:
        """Returns a guide of whole views, and how much it says of each pixel.

        Args:
            view: What windows are cut from.
            mask: True where a sample's guide may look.
            progress: How much of training is done, in [0, 1].
            generator: Draws what is random.
        """

    @property
    @abc.abstractmethod
    def description(self) -> dict[str, Any]:
        """What sampling must know to show guides of the same kind."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanGuide(Guide):
    """A plan: the mean colour of each cell ([T] C21 v3, detail mode).

    Args:
        share: Share of the samples that are guided, in [0, 1].
        scale: Height and width of a cell, in pixels.
        noise: Plans that a network makes are not perfect. Noise of a standard deviation from 0 to
            this, drawn for each sample, is added to the cells, for images in [-1, 1].
    """

    scale: tuple[int, int] = (4, 4)
    noise: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.scale) < 1 or self.noise < 0:
            raise ValueError(
                "a plan's scale must be at least 1 px and its noise at least 0, got "
                f"{self.scale} and {self.noise}."
            )

    @override
    def shown(
        self, view: Image, mask: Mask, progress: float, generator: Generator
    ) -> tuple[Image, Share]:
        guide, guided = coarse_guide(view, mask, self.scale)
        cells = pooled(view, mask, self.scale)[0]
        amount = self.noise * torch.rand(len(view), 1, 1, 1, generator=generator)
        error = amount * torch.randn(cells.shape, generator=generator)
        return guide + guide_from_plan(error.to(view), self.scale, view.shape[-2:]), guided

    @property
    @override
    def description(self) -> dict[str, Any]:
        return {"guide": "plan", "scale": list(self.scale)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FadingGuide(Guide):
    """A scaffold that is blurred more and more until the model does without ([T] C27).

    The standard deviation of the blur grows from `first` to `last` in equal ratios over the share
    `until` of training; after that there is no guide. The scaffold shows all of the view.

    Args:
        share: Share of the samples that are guided while there is a guide, in [0, 1].
        first: Blur at the beginning, in pixels.
        last: Blur at the end, in pixels.
        until: Share of training after which there is no guide, in (0, 1].
    """

    first: float = 1.0
    last: float = 32.0
    until: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.first <= self.last or not 0 < self.until <= 1:
            raise ValueError(
                "a guide fades from first > 0 to last >= first px, over a share until of training "
                f"in (0, 1], got {self.first}, {self.last} and {self.until}."
            )

    def blur(self, progress: float) -> float | None:
        """Returns the blur in pixels; None once there is no guide."""
        if progress >= self.until:
            return None
        return self.first * (self.last / self.first) ** (progress / self.until)

    @override
    def shown(
        self, view: Image, mask: Mask, progress: float, generator: Generator
    ) -> tuple[Image, Share]:
        blur = self.blur(progress)
        nothing = torch.zeros_like(view[:, :1])
        if blur is None:
            return torch.zeros_like(view), nothing
        return blurred(view, blur), torch.ones_like(nothing)

    @property
    @override
    def description(self) -> dict[str, Any]:
        return {"guide": "blur", "first": self.first, "last": self.last}
