"""Large batches in several network calls."""

from typing import Any

import torch

from denoisers.contract import Denoiser, Image, Sigma

__all__ = ["limited"]


def limited(denoiser: Denoiser, max_batch: int | None) -> Denoiser:
    """Splits batches of more than `max_batch` images; None for no limit."""
    if max_batch is None:
        return denoiser

    def in_parts(x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        if len(x_t) <= max_batch:
            return denoiser(x_t, sigma, context)
        starts = range(0, len(x_t), max_batch)
        parts = [slice(start, start + max_batch) for start in starts]
        return torch.cat(
            [
                denoiser(
                    x_t[part],
                    sigma if len(sigma) == 1 else sigma[part],
                    None if context is None else context[part],
                )
                for part in parts
            ]
        )

    return in_parts
