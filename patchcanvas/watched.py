"""A denoiser whose every call is told of, for bars that move while a canvas is made."""

from collections.abc import Callable
from typing import Any

from typing_extensions import override

from denoisers.contract import Image, PatchDenoiser, Sigma
from denoisers.wrapper import Answer, Ask, PatchWrapper

__all__ = ["Watched"]


class Watched(PatchWrapper):
    """Tells of every call once it is answered; a CUDA device may still be at it.

    Args:
        denoiser: What answers.
        called: What is called.
    """

    def __init__(self, denoiser: PatchDenoiser, called: Callable[[], None]) -> None:
        super().__init__(denoiser)
        self.called = called

    @override
    def answer(self, ask: Ask, x_t: Image, sigma: Sigma, context: Any) -> Answer:
        said = ask(x_t, sigma, context)
        self.called()
        return said
