"""What is given to a denoiser beside the noisy image: a context, or pixels that are known.

Every function here wraps a denoiser and returns one, so they stack, on the denoiser of a window
as on that of a whole canvas.

References:
    [DC] Zhang, Song, Huang, Chen, Liu: DiffCollage: Parallel Generation of Large Content with
    Diffusion Models, 2023. arXiv:2303.17076
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from denoisers.contract import Denoiser, Image, Sigma
from denoisers.wrapper import Answer, Ask, Wrapper
from strategies.canvas import Known

__all__ = ["StepRule", "conditioned", "reconstructed", "replaced"]

StepRule = Literal["line_search", "constant"]


def conditioned(denoiser: Denoiser, context: Any) -> Denoiser:
    """Gives every evaluation the same context."""
    return Conditioned(denoiser, context)


class Conditioned(Wrapper):
    """Gives its context to every evaluation that brings none of its own.

    Args:
        denoiser: What is conditioned.
        context: What it is given.
    """

    def __init__(self, denoiser: Denoiser, context: Any) -> None:
        super().__init__(denoiser)
        self.context = context

    @override
    def answer(self, ask: Ask, x_t: Image, sigma: Sigma, context: Any) -> Answer:
        return ask(x_t, sigma, self.context if context is None else context)


def replaced(denoiser: Denoiser, known: Known) -> Denoiser:
    """Overwrites the clean estimate by what is known ([DC] Algorithm 4).

    Blind to what the known pixels imply elsewhere: the other pixels learn of them from `x_t` alone.
    """

    def with_known(x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        return known.pasted(denoiser(x_t, sigma, context))

    return with_known


def reconstructed(
    denoiser: Denoiser,
    known: Known,
    *,
    step_rule: StepRule = "line_search",
    step_size: float = 0.5,
) -> Denoiser:
    """Moves the clean estimate towards one that agrees with what is known ([DC] Algorithm 5).

    With H the choice of the known pixels, r = y - H x0_hat, and J the Jacobian of the denoiser,

        x0_hat + a g,    g = J^T H^T r,

    which is a gradient step on |H x0_hat - y|^2 as seen from `x_t`. For Gaussian data J is
    symmetric and proportional to the covariance of x0 given x_t; the exact conditional mean is
    then x0_hat + J H^T (H J H^T)^-1 r, and this puts a number in place of the inverse. Costs one
    backward pass an evaluation, whose graph is freed at once.

    Args:
        denoiser: Must be differentiable in `x_t`.
        known: What is given.
        step_rule: `line_search` takes, for each sample, the a that leaves the least residual
            |r - a H g|, which is <r, H g> / <H g, H g>. `constant` takes a = 2 `step_size`.
        step_size: The constant lambda of a step -lambda grad |H x0_hat - y|^2; the paper's
            lambda_t, which multiplies the gradient in the score, is -lambda / sigma_t^2. With 0.5
            the step alone restores the known pixels where J is the identity, at low noise.

    Raises:
        ValueError: At the first evaluation, if gradients do not flow through the denoiser.
    """

    def with_known(x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        with torch.inference_mode(False), torch.enable_grad():
            x_t = _tracked(x_t.detach()).requires_grad_()
            x0_hat = denoiser(x_t, _tracked(sigma), _tracked(context))
            if not x0_hat.requires_grad:
                raise ValueError(
                    "reconstruction takes a gradient through the denoiser, but its estimate does "
                    "not depend on x_t differentiably: take another strategy or denoiser."
                )
            residual = known.pasted(x0_hat.detach()) - x0_hat.detach()
            (gradient,) = torch.autograd.grad(x0_hat, x_t, residual)
        x0_hat = x0_hat.detach()
        if step_rule == "constant":
            return x0_hat + 2 * step_size * gradient
        return x0_hat + _least_residual(residual, known.only(gradient)) * gradient

    return with_known


def _tracked(value: Any) -> Any:
    """Returns a copy of what was made in inference mode, which a gradient may go through."""
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value


def _least_residual(residual: Image, direction: Image) -> Float[Tensor, "samples 1 1 1"]:
    """Returns the a that minimises |residual - a direction|^2, for each sample; 0 for no direction.

    The direction, which is tiny where noise is high, is divided by its largest value first, and
    sums are means, so that neither vanishes nor overflows in half precision.
    """
    scale = direction.abs().amax((1, 2, 3), keepdim=True)
    scale = scale.where(scale > 0, 1.0)
    unit = direction / scale
    along = (residual * unit).mean((1, 2, 3), keepdim=True)
    length = unit.square().mean((1, 2, 3), keepdim=True)
    return along / length.where(length > 0, 1.0) / scale
