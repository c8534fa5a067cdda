"""One canvas, several texts: each pixel follows the text of its region.

    x0_hat = sum_r m_r x0_hat(text r),    sum_r m_r = 1 on every pixel

which with masks m_r of 0 and 1 is the region-based case of [MD] Sec. 4.2: there the consensus of
several texts on a pixel is their mean weighted by the masks.

References:
    [MD] Bar-Tal, Yariv, Lipman, Dekel: MultiDiffusion: Fusing Diffusion Paths for Controlled
    Image Generation, 2023. arXiv:2302.08113
"""

import dataclasses
from typing import Any

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from denoisers.conditions import Conditions, conditions_of
from denoisers.contract import Image, PatchDenoiser, Sigma
from denoisers.wrapper import Answer, Ask, PatchWrapper

__all__ = ["Regional"]


class Regional(PatchWrapper):
    """Asks about a window once for every text that it has to do with; all in one call.

    The conditions of a window must have `areas`; without them it is asked about as it comes. The
    variance is the mean of those of the texts by the same weights. Guidance lies within, where
    there are tokens to be guided by: `Regional(Guided(denoiser, scale), tokens)`.

    Args:
        denoiser: Takes tokens.
        tokens: What the texts say, one row a text.
        pooled: What each text says as a whole, for networks that are told that apart.
    """

    def __init__(
        self,
        denoiser: PatchDenoiser,
        tokens: Float[Tensor, "texts tokens features"],
        pooled: Float[Tensor, "texts pooled_features"] | None = None,
    ) -> None:
        super().__init__(denoiser)
        self.tokens, self.pooled = tokens, pooled

    @override
    def answer(self, ask: Ask, x_t: Image, sigma: Sigma, context: Any) -> Answer:
        """Asks.

        Raises:
            ValueError: If the areas are those of another number of texts.
        """
        conditions = conditions_of(context)
        if conditions is None or conditions.areas is None:
            return ask(x_t, sigma, context)
        areas = conditions.areas.to(x_t)
        if areas.shape[1] != len(self.tokens):
            raise ValueError(
                f"there must be an area for each of {len(self.tokens)} texts, got {areas.shape[1]}."
            )
        # A device is waited for here: which texts a window has to do with decides what is asked.
        window, text = (areas.flatten(2).amax(2) > 0).nonzero(as_tuple=True)
        said = ask(
            x_t[window],
            sigma if len(sigma) == 1 else sigma[window],
            self._of(dataclasses.replace(conditions, areas=None)[window], text),
        )
        weights = areas[window, text][:, None]
        return tuple(self._summed(weights * rows, window, text, len(x_t)) for rows in said)

    def _summed(self, rows: Tensor, window: Tensor, text: Tensor, windows: int) -> Tensor:
        """Returns the sum over the texts of each window, in their order on every device."""
        each = rows.new_zeros(windows, len(self.tokens), *rows.shape[1:])
        each[window, text] = rows
        return each.sum(1)

    def _of(self, conditions: Conditions, text: Tensor) -> Conditions:
        """Returns conditions with the tokens of these texts."""
        text = text.to(self.tokens.device)
        pooled = None if self.pooled is None else self.pooled[text]
        return dataclasses.replace(conditions, tokens=self.tokens[text], pooled=pooled)
