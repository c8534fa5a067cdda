"""What is given to a denoiser beside the noisy image: a context, or pixels that are known."""

from typing import Any

from denoisers.contract import Denoiser, Image, Sigma
from strategies.canvas import Known

__all__ = ["conditioned", "replaced"]


def conditioned(denoiser: Denoiser, context: Any) -> Denoiser:
    """Gives every evaluation the same context."""

    def with_context(x_t: Image, sigma: Sigma, own: Any = None) -> Image:
        return denoiser(x_t, sigma, context if own is None else own)

    return with_context


def replaced(denoiser: Denoiser, known: Known) -> Denoiser:
    """Overwrites the clean estimate by what is known (DiffCollage, Algorithm 4)."""

    def with_known(x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        return known.pasted(denoiser(x_t, sigma, context))

    return with_known
