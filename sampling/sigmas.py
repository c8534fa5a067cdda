"""Noise schedules, from pure noise down to 0.

References:
    [EDM] Karras, Aittala, Aila, Laine: Elucidating the Design Space of Diffusion-Based
    Generative Models, 2022. arXiv:2206.00364
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["karras_sigmas"]


def karras_sigmas(
    num_steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Float[Tensor, " levels"]:
    """Noise levels of [EDM] Eq. (5), from `sigma_max` down to `sigma_min`, then 0; on the CPU.

    >>> karras_sigmas(3, sigma_min=1.0, sigma_max=9.0, rho=1.0).tolist()
    [9.0, 5.0, 1.0, 0.0]

    Raises:
        ValueError: If fewer than two steps are asked for, or the range is empty.
    """
    if num_steps < 2:
        raise ValueError(f"num_steps must be at least 2, got {num_steps}.")
    if not 0 < sigma_min < sigma_max:
        raise ValueError(
            f"need 0 < sigma_min < sigma_max, got sigma_min={sigma_min}, sigma_max={sigma_max}."
        )
    if rho <= 0:
        raise ValueError(f"rho must be positive, got {rho}.")
    ramp = torch.linspace(0, 1, num_steps, dtype=torch.float64)
    ends = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = (ends[0] + ramp * (ends[1] - ends[0])) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)])
