"""What each window of a canvas is told: the same for all, or by where it lies and what is painted.

Every strategy asks here, at the one place where it knows its windows; its own code knows nothing
of contexts. A parallel strategy asks once, before it begins: it paints nothing before it is done,
so what it sees of the canvas is what is given. A sequential one asks at every turn, and a window
sees what was painted in earlier turns, whatever the order: the images stay those of any order.

References:
    [T] Trio Diffusion (v2): autoregressive infinite image generation with diffusion models
    [DC] Zhang, Song, Huang, Chen, Liu: DiffCollage: Parallel Generation of Large Content with
    Diffusion Models, 2023, Fig. 6. arXiv:2303.17076
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from denoisers.conditions import Conditions, Tokens
from denoisers.contract import Image, Mask
from denoisers.guide import coarse_guide, guide_from_plan, pooled
from strategies.canvas import Canvas, Known
from strategies.windows import Regions

__all__ = [
    "CanvasContext",
    "Encoder",
    "Place",
    "RegionContext",
    "WindowContext",
    "conditions_at",
    "region_of",
    "slerp",
]

Encoder = Callable[[Image, Mask], Tokens]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a window lies, in pixels; it may reach over an edge where the canvas wraps."""

    top: int
    left: int
    height: int
    width: int


@runtime_checkable
class WindowContext(Protocol):
    """Whatever tells windows what the denoiser is told beside the noisy image."""

    def at(self, places: Sequence[Place], canvas: Canvas, seen: Known, known: Mask) -> Conditions:
        """Returns one row a window: all samples of the first place, then those of the next.

        Args:
            places: Where the windows lie.
            canvas: The canvas as it was asked for; windows may reach beyond it.
            seen: What can be seen of the canvas by now, one image a sample, at least of its size.
            known: Which pixels of the windows are given or painted, in the order of the rows.
        """
        ...

    def __getitem__(self, samples: Tensor) -> "WindowContext":
        """Returns the context of some of the samples."""
        ...


class RegionContext:
    """What the regions of a whole canvas are told, asked for once and kept.

    Args:
        context: What knows.
        canvas: The canvas as it was asked for.
        known: What is given on the canvas as planned, one image a sample: all that can be seen.
    """

    def __init__(self, context: WindowContext, canvas: Canvas, known: Known) -> None:
        self.context, self.canvas, self.known = context, canvas, known
        self._rows: dict[Regions, Conditions] = {}

    def rows(self, regions: Regions) -> Conditions:
        """Returns one row a region: all samples of the first, then those of the next."""
        if regions not in self._rows:
            size = regions.height, regions.width
            places = [Place(*corner, *size) for corner in regions.corners]
            mask = self.known.mask.expand(len(self.known.y), *self.known.mask.shape[1:])
            known = torch.cat([region_of(mask, place, self.canvas) for place in places])
            self._rows[regions] = self.context.at(places, self.canvas, self.known, known)
        return self._rows[regions]


def conditions_at(
    context: Any, places: Sequence[Place], canvas: Canvas, seen: Known, known: Mask
) -> Any:
    """Returns the rows that a denoiser is given with these windows; see `WindowContext.at`.

    Args:
        context: None, a tensor with one row a sample, which all windows of it share, or a
            `WindowContext`.
        places: Where the windows lie.
        canvas: The canvas as it was asked for.
        seen: What can be seen of it by now.
        known: Which pixels of the windows are known.
    """
    if context is None:
        return None
    if isinstance(context, Tensor):
        return context.repeat(len(places), *[1] * (context.ndim - 1))
    return context.at(places, canvas, seen, known)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CanvasContext:
    """Tokens, guides and places of the windows of any canvas.

    One row holds for all samples, or there is one for each. With nothing given, windows are told
    where they lie and which of their pixels are known: `unconditional`.

    Args:
        tokens: What a backbone says of a seed image or of a text.
        ends: The same of a second image. Windows are told what lies on the great circle between
            the two, by where their middle is: `tokens` at the left edge, `ends` at the right one
            ([DC] Fig. 6).
        encode: Makes tokens of what can be seen of the canvas, again and again as it grows, in
            place of `tokens`. A sample of which nothing can be seen has none.
        plan: A coarse picture of the whole canvas, a pixel of which is a cell of `scale`. Its
            region guides each window.
        scale: Height and width of a plan's cell, in pixels.
        grown_guide: Whether the guide is what can be seen of the canvas, at the scale of a plan.
        is_plan: Whether what is made is itself a plan.
    """

    tokens: Float[Tensor, "#samples tokens features"] | None = None
    ends: Float[Tensor, "#samples end_tokens end_features"] | None = None
    encode: Encoder | None = None
    plan: Float[Tensor, "#samples channels rows columns"] | None = None
    scale: tuple[int, int] | None = None
    grown_guide: bool = False
    is_plan: bool = False

    def __post_init__(self) -> None:
        if self.tokens is not None and self.encode is not None:
            raise ValueError("tokens are given or made of the canvas: not both.")
        if self.ends is not None and (
            self.tokens is None or self.tokens.shape[1:] != self.ends.shape[1:]
        ):
            raise ValueError("ends must be tokens of the same shape as the tokens they end.")
        if self.plan is not None and self.grown_guide:
            raise ValueError("a guide is a plan or what is seen of the canvas: not both.")
        if (self.plan is not None or self.grown_guide) and self.scale is None:
            raise ValueError("a guide needs the scale of a plan's cells: height and width in px.")

    def __getitem__(self, samples: Tensor) -> "CanvasContext":
        """Returns the context of some of the samples."""
        rows: dict[str, Any] = {
            name: value[samples] if value is not None and len(value) > 1 else value
            for name, value in (("tokens", self.tokens), ("ends", self.ends), ("plan", self.plan))
        }
        return dataclasses.replace(self, **rows)

    def after(self, image: Image) -> "CanvasContext":
        """Returns what another pass over a finished canvas is told: all of it is seen.

        Whatever was made of the growing canvas is now made of the finished one and holds for all
        windows alike.
        """
        whole = torch.ones(1, 1, *image.shape[-2:], dtype=torch.bool, device=image.device)
        changed: dict[str, Any] = {}
        if self.encode is not None:
            changed |= {"tokens": self.encode(image, whole), "encode": None}
        if self.grown_guide and self.scale is not None:
            plan, _ = pooled(image, whole, self.scale)
            changed |= {"plan": plan, "grown_guide": False}
        return dataclasses.replace(self, **changed)

    def at(self, places: Sequence[Place], canvas: Canvas, seen: Known, known: Mask) -> Conditions:
        """Returns one row a window, as `WindowContext.at` says."""
        if self.ends is not None and canvas.wrap_width:
            raise ValueError(
                "a canvas that wraps along its width has no two ends for tokens to lie between."
            )
        samples = len(known) // len(places)
        self._validate_fit(samples)
        like: dict[str, Any] = {"device": seen.y.device, "dtype": seen.y.dtype}
        edges = torch.tensor([edges_of(place, canvas) for place in places], **like)
        given = {
            "known": known.all(1, keepdim=True).to(**like),
            "place": edges.repeat_interleave(samples, 0),
            "plan": torch.full((len(known),), self.is_plan, device=seen.y.device),
        }
        seen = _on_canvas(seen, canvas, samples)
        return Conditions(
            **given, **self._token_rows(edges, seen), **self._guides(places, canvas, seen)
        )

    def _validate_fit(self, samples: int) -> None:
        for name in ("tokens", "ends", "plan"):
            value = getattr(self, name)
            if value is not None and len(value) not in (1, samples):
                raise ValueError(
                    f"{name} must be given once or for each of {samples} samples, got {len(value)}."
                )

    def _token_rows(self, edges: Float[Tensor, "places 4"], seen: Known) -> dict[str, Tensor]:
        samples = len(seen.y)
        if self.encode is not None:
            # One row a sample: what is seen of each may differ.
            given = seen.mask.all(1).flatten(1).any(1)
            tokens = self.encode(seen.y, seen.mask)
            return {
                "tokens": tokens.repeat(len(edges), 1, 1),
                "given": given.repeat(len(edges)),
            }
        if self.tokens is None:
            return {}
        tokens = self.tokens.to(seen.y).expand(samples, -1, -1)
        if self.ends is None:
            return {"tokens": tokens.repeat(len(edges), 1, 1)}
        ends = self.ends.to(seen.y).expand(samples, -1, -1)
        shares = ((edges[:, 1] + edges[:, 3]) / 2 + 1) / 2
        return {"tokens": torch.cat([slerp(tokens, ends, share) for share in shares.clamp(0, 1)])}

    def _guides(
        self, places: Sequence[Place], canvas: Canvas, seen: Known
    ) -> dict[str, Float[Tensor, "rows _ _ _"]]:
        size, wraps = (canvas.height, canvas.width), (canvas.wrap_height, canvas.wrap_width)
        if self.scale is None or (self.plan is None and not self.grown_guide):
            return {}
        if self.plan is not None:
            guide = guide_from_plan(self.plan.to(seen.y), self.scale, size, wraps=wraps)
            guide = guide.expand(len(seen.y), -1, -1, -1)
            guided = torch.ones_like(guide[:, :1])
        else:
            guide, guided = coarse_guide(seen.y, seen.mask, self.scale, wraps=wraps)
        return {
            "guide": torch.cat([region_of(guide, place, canvas) for place in places]),
            "guided": torch.cat([region_of(guided, place, canvas) for place in places]),
        }


def slerp(
    first: Tokens, last: Tokens, share: Float[Tensor, ""] | float
) -> Float[Tensor, "batch tokens features"]:
    """Returns tokens on the great circle from `first` to `last`, their lengths in between as well.

    Token by token. Where the two point the same way, or opposite ways and no circle is greatest,
    they are mixed in a straight line.
    """
    lengths = [tokens.norm(dim=-1, keepdim=True) for tokens in (first, last)]
    units = [
        tokens / length.clamp(min=1e-12)
        for tokens, length in zip((first, last), lengths, strict=True)
    ]
    angle = (units[0] * units[1]).sum(-1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    straight = (sine < 1e-4).expand_as(first)
    sine = sine.clamp(min=1e-4)
    unit = (((1 - share) * angle).sin() * units[0] + (share * angle).sin() * units[1]) / sine
    length = (1 - share) * lengths[0] + share * lengths[1]
    return torch.where(straight, (1 - share) * first + share * last, length * unit)


def edges_of(place: Place, canvas: Canvas) -> tuple[float, float, float, float]:
    """Returns top, left, bottom and right of a window as shares of the canvas, in [-1, 1].

    An axis that wraps has no beginning, and nothing lies anywhere on it: 0 and 0.
    """
    down = (place.top, place.top + place.height, canvas.height, canvas.wrap_height)
    across = (place.left, place.left + place.width, canvas.width, canvas.wrap_width)
    (top, bottom), (left, right) = (
        (0.0, 0.0) if wraps else (2 * start / length - 1, 2 * stop / length - 1)
        for start, stop, length, wraps in (down, across)
    )
    return top, left, bottom, right


def _on_canvas(seen: Known, canvas: Canvas, samples: int) -> Known:
    """Returns what is seen within the canvas that was asked for, one row a sample."""
    within = (..., slice(canvas.height), slice(canvas.width))
    y = seen.y[within].expand(samples, -1, -1, -1)
    return Known(y, seen.mask[within].expand(samples, -1, -1, -1))


def region_of(image: Tensor, place: Place, canvas: Canvas) -> Tensor:
    """Returns a window of an image of the canvas; 0 beyond an edge that does not wrap."""
    for axis, start, length, wraps in (
        (-2, place.top, place.height, canvas.wrap_height),
        (-1, place.left, place.width, canvas.wrap_width),
    ):
        index = torch.arange(start, start + length, device=image.device)
        size = image.shape[axis]
        inside: Bool[Tensor, " length"] = (index < size) | torch.tensor(wraps, device=image.device)
        part = image.index_select(axis, index % size)
        inside = inside.view((-1, 1) if axis == -2 else (-1,))
        image = part.where(inside, torch.zeros_like(part))
    return image
