"""What texts say of the windows of a canvas: one for all, one after another along it, or by region.

References:
    [DC] Zhang, Song, Huang, Chen, Liu: DiffCollage: Parallel Generation of Large Content with
    Diffusion Models, 2023, Fig. 6. arXiv:2303.17076
    [MD] Bar-Tal, Yariv, Lipman, Dekel: MultiDiffusion: Fusing Diffusion Paths for Controlled
    Image Generation, 2023, Sec. 4.2. arXiv:2302.08113
"""

import dataclasses
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from denoisers.conditions import Conditions
from denoisers.contract import Mask
from strategies.canvas import Canvas, Known
from strategies.context import Place, region_of, slerp

__all__ = ["PromptContext"]

# A share of a pixel that is none: shares in float32 are rounded by less, and no window needs to be
# asked about a text for that.
ROUNDING = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptContext:
    """Texts for the windows of any canvas, the same for all samples.

    With one text every window is told it. Several stand side by side: the middle of the first at
    the left edge and that of the last at the right one, or evenly round a loop, and a window is
    told what lies on the great circle between the two next to its own middle ([DC] Fig. 6). With
    `masks` each text has a region of its own instead, and `denoisers.regions.Regional` must lie
    round the denoiser: it asks once for every text that a window has to do with ([MD] Sec. 4.2).

    Args:
        tokens: What the texts say, one row a text.
        pooled: What each text says as a whole, for networks that are told that apart.
        masks: How much of each pixel belongs to which text, in [0, 1] and 1 in all, on a canvas of
            any size: it is stretched to the one that is made.

    Raises:
        ValueError: If there is not a mask for each text, or they are no shares that sum to 1.
    """

    tokens: Float[Tensor, "texts tokens features"]
    pooled: Float[Tensor, "texts pooled_features"] | None = None
    masks: Float[Tensor, "masks rows columns"] | None = None

    def __post_init__(self) -> None:
        if self.masks is None:
            return
        if len(self.masks) != len(self.tokens):
            raise ValueError(
                f"there must be a mask for each of {len(self.tokens)} texts, got {len(self.masks)}."
            )
        total = self.masks.sum(0)
        if not torch.allclose(total, torch.ones_like(total), atol=ROUNDING):
            raise ValueError("the masks of all texts must sum to 1 on every pixel.")
        if bool((self.masks < -ROUNDING).any()):
            raise ValueError("the masks of texts must not be negative anywhere.")

    def __getitem__(self, samples: Tensor) -> "PromptContext":
        """Returns the context of some of the samples, which is that of all."""
        return self

    def at(self, places: Sequence[Place], canvas: Canvas, seen: Known, known: Mask) -> Conditions:
        """Returns one row a window, as `strategies.context.WindowContext.at` says."""
        samples = len(known) // len(places)
        if self.masks is not None:
            areas = _areas(self.masks, places, canvas, seen.y)
            cut = torch.stack([region_of(areas, place, canvas) for place in places])
            return Conditions(areas=cut.repeat_interleave(samples, 0))
        rows = [self._between(place, canvas) for place in places]
        tokens = torch.stack([tokens for tokens, _ in rows]).to(seen.y)
        given = {"tokens": tokens.repeat_interleave(samples, 0)}
        if self.pooled is not None:
            pooled = torch.stack([each for _, each in rows if each is not None]).to(seen.y)
            given["pooled"] = pooled.repeat_interleave(samples, 0)
        return Conditions(**given)

    def _between(self, place: Place, canvas: Canvas) -> tuple[Tensor, Tensor | None]:
        """Returns the tokens of a window, and what they say as a whole."""
        first, last, share = neighbours(
            (place.left + place.width / 2) / canvas.width,
            len(self.tokens),
            loop=canvas.wrap_width,
        )
        if share == 0:
            return self.tokens[first], None if self.pooled is None else self.pooled[first]
        tokens = slerp(self.tokens[first, None], self.tokens[last, None], share)[0]
        if self.pooled is None:
            return tokens, None
        # One token of many features.
        ends = self.pooled[first, None, None], self.pooled[last, None, None]
        return tokens, slerp(*ends, share)[0, 0]


def neighbours(place: float, texts: int, *, loop: bool) -> tuple[int, int, float]:
    """Returns between which two of so many texts a window lies, and how near to the second.

    Args:
        place: Its middle, as a share of the canvas's width.
        texts: How many there are.
        loop: Whether the last is followed by the first.

    >>> neighbours(0.5, 2, loop=False), neighbours(0.75, 2, loop=True)
    ((0, 1, 0.5), (1, 0, 0.5))
    """
    if texts == 1:
        return 0, 0, 0.0
    spot = place % 1 * texts if loop else min(max(place, 0.0), 1.0) * (texts - 1)
    first = math.floor(spot)
    if not loop and first == texts - 1:
        return first, first, 0.0
    return first % texts, (first + 1) % texts, spot - first


def _areas(
    masks: Tensor, places: Sequence[Place], canvas: Canvas, like: Tensor
) -> Float[Tensor, "texts height width"]:
    """Returns the masks at the size of the canvas, or larger where windows reach beyond it.

    What lies there is cut off in the end, but must belong to some text: to that of the edge, so
    that no window is asked about a text for nothing.
    """
    size = canvas.height, canvas.width
    areas = F.interpolate(masks[None].to(like), size, mode="area")
    down = max(place.top + place.height for place in places) - canvas.height
    across = max(place.left + place.width for place in places) - canvas.width
    beyond = [
        0 if wraps else max(0, reach)
        for reach, wraps in ((across, canvas.wrap_width), (down, canvas.wrap_height))
    ]
    areas = F.pad(areas, (0, beyond[0], 0, beyond[1]), mode="replicate")[0]
    areas = areas.where(areas > ROUNDING, 0.0)
    return areas / areas.sum(0)
