"""What a conditional network is told beside the noisy image and its level: one row a window.

Facts about a window (which pixels of it are known, where it lies, whether it is a plan) are always
told, and a network takes those that it was trained with. Tokens and guides are wishes: a network
that takes none refuses them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from denoisers.contract import Image

__all__ = ["Conditions", "Taken", "Tokens", "conditions_of"]

Taken = Literal["tokens", "guide", "known", "place", "plan"]
Tokens = Float[Tensor, "batch tokens features"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditions:
    """Rows that belong to the windows of a batch; what is None is not told.

    Args:
        tokens: What a frozen backbone says of an image, the first token of the whole of it.
        given: Which rows have tokens; the others are unconditional. None for all.
        pooled: What the text behind the tokens says as a whole, for networks that are told that
            apart from its tokens.
        areas: How much of each pixel belongs to each of several texts, in [0, 1] and 1 in all;
            `denoisers.regions.Regional` has the texts.
        guide: A coarse picture of the window's content, in [-1, 1].
        guided: How much `guide` says at a pixel, in [0, 1]; 0 where nothing is known of it.
        known: 1 where a pixel is given, 0 where it is to be made.
        place: Top, left, bottom and right edge of the window, as shares of the canvas's height and
            width mapped to [-1, 1]. An axis that wraps has no beginning: there both are 0.
        plan: Whether the window is of a coarse plan of a whole canvas.
    """

    tokens: Tokens | None = None
    given: Bool[Tensor, " batch"] | None = None
    pooled: Float[Tensor, "batch pooled_features"] | None = None
    areas: Float[Tensor, "batch texts height width"] | None = None
    guide: Image | None = None
    guided: Float[Tensor, "batch 1 height width"] | None = None
    known: Float[Tensor, "batch 1 height width"] | None = None
    place: Float[Tensor, "batch 4"] | None = None
    plan: Bool[Tensor, " batch"] | None = None

    def __post_init__(self) -> None:
        lengths = {len(value) for value in self._values().values()}
        if len(lengths) > 1:
            raise ValueError(f"conditions must have one row a window each, got {sorted(lengths)}.")
        for name, other in (
            ("given", "tokens"),
            ("pooled", "tokens"),
            ("guided", "guide"),
            ("guide", "guided"),
        ):
            if getattr(self, name) is not None and getattr(self, other) is None:
                raise ValueError(f"{name} must not be told without {other}.")

    def __len__(self) -> int:
        return max((len(value) for value in self._values().values()), default=0)

    def __getitem__(self, rows: Any) -> "Conditions":
        return self.mapped(lambda value: value[rows])

    def mapped(self, function: Callable[[Tensor], Tensor]) -> "Conditions":
        """Returns the same with every tensor replaced by what the function makes of it."""
        return Conditions(**{name: function(value) for name, value in self._values().items()})

    def to(self, like: Tensor) -> "Conditions":
        """Returns the same on the device of `like`, numbers in its precision."""

        def moved(value: Tensor) -> Tensor:
            value = value.to(like.device, like.dtype if value.is_floating_point() else None)
            # What was made in inference mode may have to be part of a gradient.
            tracked = value.is_inference() and not torch.is_inference_mode_enabled()
            return value.clone() if tracked else value

        return self.mapped(moved)

    def without_tokens(self) -> "Conditions":
        """Returns the unconditional rows that go with these, for guidance."""
        if self.tokens is None:
            return self
        nothing = torch.zeros(len(self.tokens), dtype=torch.bool, device=self.tokens.device)
        return dataclasses.replace(self, given=nothing)

    def joined(self, other: "Conditions") -> "Conditions":
        """Returns these rows and then those of `other`, which must be told the same things."""
        own, theirs = self._values(), other._values()
        for rows, beside in ((own, theirs), (theirs, own)):
            if "given" in beside and "tokens" in rows and "given" not in rows:
                tokens = rows["tokens"]
                rows["given"] = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
        if own.keys() != theirs.keys():
            raise ValueError(
                f"rows that are joined must be told the same, got {sorted(own)} and "
                f"{sorted(theirs)}."
            )
        return Conditions(**{name: torch.cat([own[name], theirs[name]]) for name in own})

    def _values(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def conditions_of(context: Any) -> Conditions | None:
    """Returns what a network is told by a `context`: tokens alone may come as they are.

    Raises:
        TypeError: If it is neither.
    """
    if context is None or isinstance(context, Conditions):
        return context
    if isinstance(context, Tensor) and context.ndim == 3:
        return Conditions(tokens=context)
    raise TypeError(
        "a denoiser's context must be Conditions or tokens of shape (batch, tokens, features), got "
        f"{tuple(context.shape) if isinstance(context, Tensor) else type(context).__name__}."
    )
