"""What lies round a denoiser and passes its windows on, for the estimate alone or its variance too.

A wrapper says once what it does with a question, and what it does to an answer of however many
images; splitting, counting and timing are then the same for both questions.
"""

import abc
from collections.abc import Callable
from typing import Any

from torch import Tensor

from denoisers.conditions import Taken
from denoisers.contract import Denoiser, Image, Levels, PatchDenoiser, Sigma, Variance

__all__ = ["Answer", "Ask", "PatchWrapper", "Wrapper"]

Answer = tuple[Tensor, ...]  # x0_hat, and its variance if that was asked for
Ask = Callable[[Image, Sigma, Any], Answer]


class Wrapper(abc.ABC):
    """A denoiser made of another one, which passes questions about the variance on.

    Args:
        denoiser: What answers in the end.

    Attributes:
        estimates_variance: Whether it can tell the variance of its estimates.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser
        self.estimates_variance: bool = getattr(denoiser, "estimates_variance", False)

    @abc.abstractmethod
    def answer(self, ask: Ask, x_t: Image, sigma: Sigma, context: Any) -> Answer:
        """Returns what `ask`, which is one network call each time, says of these windows."""

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        """Returns `x0_hat`."""
        (x0_hat,) = self.answer(self._alone, x_t, sigma, context)
        return x0_hat

    def with_variance(
        self, x_t: Image, sigma: Sigma, context: Any = None
    ) -> tuple[Image, Variance]:
        """Returns `x0_hat` and its variance, as `denoisers.contract.UncertainDenoiser` says.

        Raises:
            ValueError: If `estimates_variance` is False.
        """
        if not self.estimates_variance:
            raise ValueError(
                "this denoiser does not say how far off its estimates are (estimates_variance is "
                "False): take one trained with a variance head."
            )
        both: Ask = self.denoiser.with_variance  # type: ignore[attr-defined]  # it estimates one
        x0_hat, variance = self.answer(both, x_t, sigma, context)
        return x0_hat, variance

    def _alone(self, x_t: Image, sigma: Sigma, context: Any = None) -> Answer:
        return (self.denoiser(x_t, sigma, context),)


class PatchWrapper(Wrapper):
    """The same round a denoiser of patches, which takes the patches that this one takes.

    Args:
        denoiser: What answers in the end.
    """

    denoiser: PatchDenoiser

    def __init__(self, denoiser: PatchDenoiser) -> None:
        super().__init__(denoiser)
        self.patch_size = denoiser.patch_size
        self.multiple = denoiser.multiple
        self.channels = denoiser.channels
        self.takes_noise_maps = denoiser.takes_noise_maps
        self.takes: frozenset[Taken] = getattr(denoiser, "takes", frozenset())
        self.levels: Levels | None = getattr(denoiser, "levels", None)
        self.longest: int | None = getattr(denoiser, "longest", None)
