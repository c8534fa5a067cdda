"""What a denoiser is: the one interface that networks, wrappers and oracles share."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

# Stands for the infinite level of an image of which nothing is left, such as t = 1 of a flow: what
# it would hold of x0 is below the rounding of float32.
PURE_NOISE = 1e6

Image = Float[Tensor, "batch channels height width"]
Mask = Bool[Tensor, "#batch #channels height width"]
Sigma = Float[Tensor, "#batch 1 #height #width"]
Variance = Float[Tensor, "batch 1 height width"]


@runtime_checkable
class Denoiser(Protocol):
    """Anything that estimates E[x0 | x_t] where x_t = x0 + sigma * eps.

    Images lie in [-1, 1]. The noise level may differ from sample to sample and from pixel to
    pixel; where it is 0 the estimate is `x_t` itself.
    """

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        """Returns `x0_hat`. `context` is whatever conditions the estimate, or None."""
        ...


@runtime_checkable
class Levels(Protocol):
    """The noise levels a denoiser was trained on, and its own way down them."""

    @property
    def sigma_min(self) -> float:
        """Lowest level."""

    @property
    def sigma_max(self) -> float:
        """Highest level at which something of the image is left."""

    def noise_schedule(self, num_steps: int) -> Float[Tensor, " levels"]:
        """Returns the levels of as many steps of the denoiser's own sampler, then 0; on the CPU."""
        ...

    def start(self, sigma: float) -> float:
        """Returns what unit noise is multiplied by to stand for x_t at the first level."""
        ...


@runtime_checkable
class PatchDenoiser(Denoiser, Protocol):
    """A denoiser of patches that says which patches it takes.

    One that was trained on levels of its own has an attribute `levels`, of `Levels`, too, and one
    that knows no larger images an attribute `longest`, in pixels along an axis.
    """

    @property
    def patch_size(self) -> int:
        """Side of the square patch it was trained on, in pixels."""

    @property
    def multiple(self) -> int:
        """Height and width of what it is given must be multiples of this, in pixels."""

    @property
    def channels(self) -> int:
        """Channels of the images."""

    @property
    def takes_noise_maps(self) -> bool:
        """Whether the noise level may differ from pixel to pixel.

        A denoiser that was trained on one level an image must say no, and refuse maps.
        """


@runtime_checkable
class UncertainDenoiser(PatchDenoiser, Protocol):
    """A denoiser of patches that may say how far off its estimate is.

    A wrapper round a denoiser that passes windows on passes `with_variance` on too, and
    `estimates_variance` says whether what lies within can answer.
    """

    @property
    def estimates_variance(self) -> bool:
        """Whether `with_variance` has an answer."""

    def with_variance(
        self, x_t: Image, sigma: Sigma, context: Any = None
    ) -> tuple[Image, Variance]:
        """Returns `x0_hat` and, for every pixel, E[(x0 - x0_hat)^2 | x_t], the channels' mean.

        One network call, as for `x0_hat` alone. Where the level is 0 the variance is 0.

        Raises:
            ValueError: If `estimates_variance` is False.
        """
        ...
