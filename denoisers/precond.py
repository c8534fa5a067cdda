"""EDM preconditioning, elementwise, so that every pixel may sit at its own noise level.

References:
    [EDM] Karras, Aittala, Aila, Laine: Elucidating the Design Space of Diffusion-Based
    Generative Models, 2022. arXiv:2206.00364
"""

import contextlib
from typing import Any

import torch
from torch import nn
from typing_extensions import override

from denoisers.conditions import Conditions, Taken, conditions_of
from denoisers.contract import Image, Sigma, Variance

__all__ = ["EDMPrecond"]

# F is of order 1 and its error at most that; 8-bit images are not known to 1e-5 of their range.
LOG_VARIANCES = (-12.0, 4.0)


class EDMPrecond(nn.Module):
    """Turns a raw network F into a denoiser ([EDM] Eq. 7 and Table 1).

        D(x_t, sigma) = c_skip x_t + c_out F(c_in x_t, c_noise)

    Where `sigma` is 0, `c_skip` is 1 and `c_out` is 0 to the last bit: clean pixels come back as
    they went in.

    Args:
        network: F, with the attributes `multiple` and `in_channels`. One whose attribute
            `estimates_variance` is true gives one more channel than the image has: ln v, where v
            is the variance of F about its target, the channels' mean. One with the attribute
            `takes` is told these parts of `denoisers.conditions.Conditions`.
        patch_size: Side of the patches it is trained on, in pixels.
        sigma_data: Standard deviation of the data, for images in [-1, 1].
        sigma_floor: Levels below this look alike to the network: it was never trained there.
        takes_noise_maps: Whether the network was trained on levels that differ from region to
            region; maps are refused otherwise.
        conditioning: What made the contexts of its training, in plain values: the backbone of its
            tokens, the scale of its plans. None for a network that takes none.
    """

    network: Any  # a Module with attributes of its own

    def __init__(
        self,
        network: nn.Module,
        patch_size: int = 32,
        sigma_data: float = 0.5,
        sigma_floor: float = 0.002,
        takes_noise_maps: bool = True,
        conditioning: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if sigma_data <= 0 or sigma_floor <= 0:
            raise ValueError(
                f"sigma_data and sigma_floor must be positive, got {sigma_data}, {sigma_floor}."
            )
        self.network = network
        self.multiple: int = self.network.multiple
        self.channels: int = self.network.in_channels
        if patch_size <= 0 or patch_size % (2 * self.multiple):
            raise ValueError(
                f"patch_size must be a multiple of {2 * self.multiple}, so that half a patch "
                f"fits the network, got {patch_size}."
            )
        self.patch_size = patch_size
        self.sigma_data = sigma_data
        self.sigma_floor = sigma_floor
        self.takes_noise_maps = takes_noise_maps
        self.estimates_variance: bool = getattr(network, "estimates_variance", False)
        self.takes: frozenset[Taken] = getattr(network, "takes", frozenset())
        self.conditioning = conditioning
        self.autocast_dtype: torch.dtype | None = None

    @override
    def forward(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        """Returns `x0_hat`.

        Raises:
            ValueError: If the size is no multiple of `multiple`, or a context is given or left out
                or a map of levels given that the network was not trained for.
        """
        conditions = self._fitting(x_t, sigma, context)
        c_skip, c_out = self._outer_coefficients(sigma)
        return c_skip * x_t + c_out * self._raw(x_t, sigma, conditions)[0]

    def with_variance(
        self, x_t: Image, sigma: Sigma, context: Any = None
    ) -> tuple[Image, Variance]:
        """Returns `x0_hat` and its variance, c_out^2 v at every pixel; one network call.

        Raises:
            ValueError: As `forward` does, and if the network estimates no variance.
        """
        conditions = self._fitting(x_t, sigma, context)
        c_skip, c_out = self._outer_coefficients(sigma)
        raw, log_variance = self._raw(x_t, sigma, conditions)
        if log_variance is None:
            raise ValueError(
                "this denoiser estimates no variance: train one with "
                "--model.network.variance_head true."
            )
        return c_skip * x_t + c_out * raw, c_out.square() * log_variance.exp()

    def loss(self, x0: Image, sigma: Sigma, eps: Image, context: Any = None) -> Image:
        """Returns the weighted squared error of every pixel ([EDM] Eq. 8).

        With the weight 1 / c_out^2 it is the squared error of F against its effective target, of
        order 1 at every level. Pixels at level 0 have nothing to learn: their error is 0.
        """
        return self.losses(x0, sigma, eps, context)[0]

    def losses(
        self, x0: Image, sigma: Sigma, eps: Image, context: Any = None
    ) -> tuple[Image, Variance | None]:
        """Returns `loss`, and how badly the variance that the network gives goes with it.

        The second is -ln N(r; 0, v) = (r^2 / v + ln v) / 2 up to a constant, for the residual r of
        F, the mean of its channels' squares; no gradient reaches F through r. None where the
        network gives no variance.
        """
        x_t = x0 + sigma * eps
        conditions = self._fitting(x_t, sigma, context)
        c_skip, c_out = self._outer_coefficients(sigma)
        noisy = sigma > 0
        target = (x0 - c_skip * x_t) / c_out.clamp(min=1e-12)
        raw, log_variance = self._raw(x_t, sigma, conditions)
        squared = torch.where(noisy, (raw - target).square(), 0.0)
        if log_variance is None:
            return squared, None
        residual = squared.detach().mean(1, keepdim=True)
        nll = (residual * (-log_variance).exp() + log_variance) / 2
        return squared, torch.where(noisy, nll, 0.0)

    def _outer_coefficients(self, sigma: Sigma) -> tuple[Sigma, Sigma]:
        total = sigma.square() + self.sigma_data**2
        # Where sigma is 0 the quotient is 1 but for rounding, at some values of sigma_data.
        c_skip = torch.where(sigma > 0, self.sigma_data**2 / total, 1.0)
        return c_skip, sigma * self.sigma_data * total.rsqrt()

    def _raw(
        self, x_t: Image, sigma: Sigma, conditions: Conditions | None
    ) -> tuple[Image, Variance | None]:
        """Returns F and, if the network gives it, ln v."""
        c_in = (sigma.square() + self.sigma_data**2).rsqrt()
        c_noise = sigma.clamp(min=self.sigma_floor).log() / 4
        # The network may be of half precision; what is about it never is.
        weight = next(self.network.parameters(), x_t)
        noisy, c_noise = (c_in * x_t).to(weight.dtype), c_noise.to(weight.dtype)
        given = () if not self.takes else (conditions and conditions.to(noisy),)
        with self._precision(x_t.device):
            raw = self.network(noisy, c_noise, *given).to(x_t.dtype)
        if not self.estimates_variance:
            return raw, None
        log_variance = raw[:, self.channels :]
        # The backward passes, so that what has left the range finds back.
        within = log_variance + (log_variance.clamp(*LOG_VARIANCES) - log_variance).detach()
        return raw[:, : self.channels], within

    def _precision(self, device: torch.device) -> contextlib.AbstractContextManager:
        if self.autocast_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(device.type, self.autocast_dtype)

    def _fitting(self, x_t: Image, sigma: Sigma, context: Any) -> Conditions | None:
        """Returns what the network is told, if all goes with it."""
        height, width = x_t.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(
                f"height and width must be multiples of {self.multiple}, got {height} x {width}."
            )
        if sigma.shape[-2:] != (1, 1) and not self.takes_noise_maps:
            raise ValueError(
                "this denoiser was trained on one noise level an image, got a map of levels."
            )
        if context is not None and not self.takes and not isinstance(context, Conditions):
            raise ValueError("this denoiser is unconditional: context must be None.")
        conditions = conditions_of(context)
        self._validate_conditions(x_t, conditions)
        return None if conditions is None else conditions.to(x_t)

    def _validate_conditions(self, x_t: Image, conditions: Conditions | None) -> None:
        given = conditions or Conditions()
        for name in ("tokens", "guide", "pooled", "areas"):
            if getattr(given, name) is not None and name not in self.takes:
                takes = ", ".join(sorted(self.takes)) or "nothing: it is unconditional"
                raise ValueError(f"this denoiser takes no {name}; what it takes is {takes}.")
        if "place" in self.takes and given.place is None:
            raise ValueError(
                "this denoiser was trained with the places of its windows: context must tell them, "
                "as strategies.context.CanvasContext does."
            )
        if len(given) not in (0, len(x_t)):
            raise ValueError(
                f"conditions must have one row for each of {len(x_t)} windows, got {len(given)}."
            )
