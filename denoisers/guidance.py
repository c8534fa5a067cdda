"""Classifier-free guidance: an estimate that follows its tokens more than they alone would have it.

    x0_hat = x0_hat(none) + w (x0_hat(tokens) - x0_hat(none))

The two rows of a window lie in one batch, all windows with their tokens first and the same windows
without them after, so that window k of a batch is what window k alone would be.

References:
    [CFG] Ho, Salimans: Classifier-Free Diffusion Guidance, 2022, Eq. 6 with 1 + w there for w here.
    arXiv:2207.12598
"""

from typing import Any

import torch
from typing_extensions import override

from denoisers.conditions import conditions_of
from denoisers.contract import Image, PatchDenoiser, Sigma
from denoisers.wrapper import Answer, Ask, PatchWrapper

__all__ = ["Guided"]


class Guided(PatchWrapper):
    """Twice the windows in a call, but for scales of 0 and 1 and where there are no tokens.

    Tokens alone are left out of the second row: guide, place and known pixels are told to both.
    The variance is that of the row with tokens.

    Args:
        denoiser: Was trained with tokens, a share of them dropped.
        scale: The weight w, at least 0; 1 is no guidance, 0 leaves the tokens out.
    """

    def __init__(self, denoiser: PatchDenoiser, scale: float) -> None:
        if scale < 0:
            raise ValueError(f"the scale of guidance must be at least 0, got {scale}.")
        super().__init__(denoiser)
        self.scale = scale

    @override
    def answer(self, ask: Ask, x_t: Image, sigma: Sigma, context: Any) -> Answer:
        """Asks with tokens and without.

        Raises:
            ValueError: If regions with texts of their own lie within.
        """
        conditions = conditions_of(context)
        if conditions is not None and conditions.areas is not None:
            raise ValueError(
                "regions have texts of their own, towards which each is guided: put guidance "
                "within them, as in Regional(Guided(denoiser, scale), tokens)."
            )
        if conditions is None or conditions.tokens is None or self.scale == 1:
            return ask(x_t, sigma, context)
        without = conditions.without_tokens()
        if self.scale == 0:
            return ask(x_t, sigma, without)
        both = conditions.joined(without)
        twice = sigma if len(sigma) == 1 else torch.cat([sigma, sigma])
        said = [answer.chunk(2) for answer in ask(torch.cat([x_t, x_t]), twice, both)]
        (x0_hat, x0_without), *others = said
        guided = x0_without + self.scale * (x0_hat - x0_without)
        return (guided, *(with_tokens for with_tokens, _ in others))
