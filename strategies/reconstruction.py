"""Reconstruction outpainting: every estimate is moved by a gradient towards what is known.

The stronger autoregressive baseline of DiffCollage ([DC] Algorithm 5, Table 1 "Reconstruction";
reconstruction guidance): the order of replacement outpainting, but the known half acts on the
unknown one through the denoiser's own gradient. One number stands where the exact conditional has
an inverse covariance, so a bias is left, a smaller one.

References:
    [DC] Zhang, Song, Huang, Chen, Liu: DiffCollage: Parallel Generation of Large Content with
    Diffusion Models, 2023. arXiv:2303.17076
"""

import dataclasses
from typing import get_args

from typing_extensions import override

from denoisers.contract import Denoiser, Image
from sampling.noise import WindowNoise
from strategies.canvas import Known
from strategies.conditioning import StepRule, reconstructed
from strategies.sequential import Outpainting

__all__ = ["Reconstruction"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction(Outpainting):
    """One whole solver run a window, and one backward pass an evaluation but in the first window.

    The settings that it shares with others are those of `Outpainting`.

    Args:
        step_rule: Length of the gradient step: `line_search` for the best along the gradient,
            `constant` for `step_size`.
        step_size: The constant lambda of a step -lambda grad |H x0_hat - y|^2.
    """

    step_rule: StepRule = "line_search"
    step_size: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_rule not in get_args(StepRule):
            raise ValueError(
                f"step_rule must be one of {', '.join(get_args(StepRule))}, got {self.step_rule!r}."
            )
        if self.step_size <= 0:
            raise ValueError(f"step_size must be positive, got {self.step_size}.")

    @override
    def fill(self, denoiser: Denoiser, known: Known, noise: WindowNoise) -> Image:
        if known.mask.any():
            denoiser = reconstructed(
                denoiser, known, step_rule=self.step_rule, step_size=self.step_size
            )
        eps = noise.stream("start").like(known.y)
        return self.solver(denoiser, eps, noise.stream("churn"))
