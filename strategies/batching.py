"""Large batches in several network calls."""

from typing import Any

import torch
from typing_extensions import override

from denoisers.contract import Denoiser, Image, Sigma
from denoisers.wrapper import Answer, Ask, Wrapper

__all__ = ["limited"]


def limited(denoiser: Denoiser, max_batch: int | None) -> Denoiser:
    """Splits batches of more than `max_batch` images; None for no limit."""
    return denoiser if max_batch is None else InParts(denoiser, max_batch)


class InParts(Wrapper):
    """Calls of at most so many images.

    Args:
        denoiser: What is called.
        max_batch: Most images in a call.
    """

    def __init__(self, denoiser: Denoiser, max_batch: int) -> None:
        super().__init__(denoiser)
        self.max_batch = max_batch

    @override
    def answer(self, ask: Ask, x_t: Image, sigma: Sigma, context: Any) -> Answer:
        if len(x_t) <= self.max_batch:
            return ask(x_t, sigma, context)
        starts = range(0, len(x_t), self.max_batch)
        parts = [slice(start, start + self.max_batch) for start in starts]
        answers = [
            ask(
                x_t[part],
                sigma if len(sigma) == 1 else sigma[part],
                None if context is None else context[part],
            )
            for part in parts
        ]
        return tuple(map(torch.cat, zip(*answers, strict=True)))
