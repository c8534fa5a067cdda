"""How large an image becomes before crops are taken."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from typing_extensions import override

__all__ = ["ByFactor", "Resize", "ToShorterSide", "scaled"]


@runtime_checkable
class Resize(Protocol):
    """How large an image becomes before crops are taken."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Returns (height, width) after resizing, in pixels."""
        ...

    def larger(self, growth: float) -> "Resize":
        """Returns the next round setting that makes images `growth` times as large."""
        ...


@dataclass(frozen=True)
class ByFactor(Resize):
    """Both sides times `scale`."""

    scale: float

    @override
    def size(self, height: int, width: int) -> tuple[int, int]:
        return scaled(height, self.scale), scaled(width, self.scale)

    @override
    def larger(self, growth: float) -> "ByFactor":
        return ByFactor(math.ceil(1000 * self.scale * growth) / 1000)

    @override
    def __str__(self) -> str:
        return f"scale={self.scale:g}"


@dataclass(frozen=True)
class ToShorterSide(Resize):
    """The shorter side becomes `side` px, the longer one in proportion; nothing is enlarged."""

    side: int

    @override
    def size(self, height: int, width: int) -> tuple[int, int]:
        factor = min(1.0, self.side / min(height, width))
        return scaled(height, factor), scaled(width, factor)

    @override
    def larger(self, growth: float) -> "ToShorterSide":
        return ToShorterSide(math.ceil(self.side * growth))

    @override
    def __str__(self) -> str:
        return f"side={self.side}"


def scaled(length: int, scale: float) -> int:
    """A side after scaling, in pixels."""
    return max(1, math.floor(length * scale + 0.5))
