"""Noise levels of pretrained models: their timesteps, as standard deviations.

Here x_t = x0 + sigma * eps. A model of discrete timesteps was trained on a mixture that keeps the
variance, a flow on a straight line between image and noise:

    x_vp   = sqrt(abar) x0 + sqrt(1 - abar) eps         ([DDPM] Eq. 4)
    x_flow = (1 - t) x0 + t eps                         ([SD3] Sec. 3)

Either is x_t times a number, so a change of variables is all that lies between:

    sigma = sqrt((1 - abar) / abar),    x_vp   = x_t / sqrt(1 + sigma^2)
    sigma = t / (1 - t),                x_flow = x_t / (1 + sigma)

References:
    [DDPM] Ho, Jain, Abbeel: Denoising Diffusion Probabilistic Models, 2020. arXiv:2006.11239
    [SD3] Esser et al.: Scaling Rectified Flow Transformers for High-Resolution Image Synthesis,
    2024. arXiv:2403.03206
    [ZSNR] Lin, Liu, Li, Yang: Common Diffusion Noise Schedules and Sample Steps are Flawed, 2023.
    arXiv:2305.08891
"""

import dataclasses
import functools
import inspect
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from jaxtyping import Float, Float64
from torch import Tensor

from denoisers.contract import PURE_NOISE, Levels

__all__ = ["DiscreteLevels", "FlowLevels", "NetworkLevels", "levels_of"]

# Of a timestep: so near to a whole one, a level is that of the table but for rounding.
ROUNDING = 1e-3

# Where a configuration names the settings that were left at the defaults of their class.
DEFAULTED = "_use_default_values"

Config = dict[str, Any]


@runtime_checkable
class NetworkLevels(Levels, Protocol):
    """Levels that a network of diffusers is told of by timesteps."""

    def timestep(self, sigma: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Returns what the network is told of a level; levels outside the range are its ends."""
        ...

    def c_in(self, sigma: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns what x_t is multiplied by to be what the network was trained on."""
        ...


@dataclasses.dataclass(frozen=True)
class DiscreteLevels:
    """Levels of timesteps 0 to T - 1, with what lies in between.

    Args:
        scheduler: Configuration of the model's scheduler: betas, spacing of the timesteps.
    """

    scheduler: Config

    @functools.cached_property
    def sigmas(self) -> Float64[Tensor, " timesteps"]:
        """The level of every timestep, ascending."""
        # diffusers keeps the product of float32 alphas: what its samplers go by, and so do we.
        abar = built(DDPMScheduler, self.scheduler).alphas_cumprod.double()
        return ((1 - abar) / abar).sqrt().clamp(max=PURE_NOISE)

    @property
    def sigma_min(self) -> float:
        """Lowest level, that of timestep 0."""
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        """Highest level at which something of the image is left."""
        return float(self.sigmas[self.sigmas < PURE_NOISE][-1])

    @functools.cached_property
    def _logarithms(self) -> dict[tuple[torch.device, torch.dtype], Tensor]:
        return {}

    def timestep(self, sigma: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Returns the timestep, between whole ones on a straight line in log sigma."""
        key = sigma.device, sigma.dtype
        if key not in self._logarithms:
            self._logarithms[key] = self.sigmas.log().to(sigma.dtype).to(sigma.device)
        table = self._logarithms[key]
        wanted = sigma.log().clamp(table[0], table[-1])
        above = torch.searchsorted(table, wanted).clamp(1, len(table) - 1)
        low, high = table[above - 1], table[above]
        timestep = above - 1 + (wanted - low) / (high - low)
        whole = timestep.round()
        return torch.where((timestep - whole).abs() < ROUNDING, whole, timestep)

    def c_in(self, sigma: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns 1 / sqrt(1 + sigma^2)."""
        return (1 + sigma.square()).rsqrt()

    def start(self, sigma: float) -> float:
        """Returns sqrt(1 + sigma^2): the model's own samplers start from x_vp = eps."""
        return (1 + sigma**2) ** 0.5

    def scheduler_of(self, kind: type, **settings: Any) -> Any:
        """Returns a scheduler of diffusers on these timesteps, which is given clean estimates."""
        return built(kind, self.scheduler, prediction_type="sample", **settings)

    def noise_schedule(self, num_steps: int) -> Float[Tensor, " levels"]:
        """Returns the levels of the timesteps that the scheduler's spacing chooses, then 0."""
        scheduler = built(DDIMScheduler, self.scheduler)
        scheduler.set_timesteps(num_steps)
        sigmas = self.sigmas[scheduler.timesteps.long()]
        return torch.cat([sigmas, sigmas.new_zeros(1)])


@dataclasses.dataclass(frozen=True)
class FlowLevels:
    """Levels of a flow, whose time runs from 0, the image, to 1, noise.

    Args:
        scheduler: Configuration of the model's scheduler: shift and spacing of the times.
        tokens: Tokens that the network makes of one patch, by which some schedulers shift.
        from_one: Whether the pipeline spaces times evenly from 1 to 1 / steps, before they are
            shifted, and not as the scheduler does.
    """

    scheduler: Config
    tokens: int
    from_one: bool = False

    @property
    def timesteps(self) -> int:
        """What the time 1 is called."""
        return self.scheduler.get("num_train_timesteps", 1000)

    @property
    def sigma_min(self) -> float:
        """Lowest level, that of the first timestep."""
        return 1 / (self.timesteps - 1)

    @property
    def sigma_max(self) -> float:
        """Level of the last timestep but one; at the last nothing of the image is left."""
        return float(self.timesteps - 1)

    def timestep(self, sigma: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Returns the time sigma / (1 + sigma), in timesteps."""
        time = sigma / (1 + sigma)
        return self.timesteps * torch.where(sigma < PURE_NOISE, time, 1.0)

    def c_in(self, sigma: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns 1 / (1 + sigma)."""
        return 1 / (1 + sigma)

    def start(self, sigma: float) -> float:
        """Returns sigma: at time t the noise in x_flow is t eps."""
        return sigma

    def noise_schedule(self, num_steps: int) -> Float[Tensor, " levels"]:
        """Returns the levels of the scheduler's times, then 0."""
        scheduler = built(FlowMatchEulerDiscreteScheduler, self._config)
        times = np.linspace(1.0, 1 / num_steps, num_steps) if self.from_one else None
        scheduler.set_timesteps(num_steps, sigmas=times, **self._shift(scheduler))
        time = scheduler.sigmas.double()
        return (time / (1 - time)).clamp(max=PURE_NOISE)

    @property
    def _config(self) -> Config:
        """The configuration, in which schedulers that know flows among others name the shift."""
        shift = self.scheduler.get("flow_shift")
        return self.scheduler if shift is None else self.scheduler | {"shift": shift}

    def _shift(self, scheduler: FlowMatchEulerDiscreteScheduler) -> dict[str, float]:
        """Returns the shift that depends on the size of the image, for schedulers that have one."""
        config = scheduler.config
        if not config.use_dynamic_shifting:
            return {}
        names = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
        return {"mu": calculate_shift(self.tokens, *(config[name] for name in names))}


def levels_of(scheduler: Any, *, flow: bool, tokens: int, from_one: bool = False) -> NetworkLevels:
    """Returns the levels of a scheduler of diffusers, whatever its way down them.

    Args:
        scheduler: The model's.
        flow: Whether the model is a flow.
        tokens: Tokens that the network makes of one patch.
        from_one: See `FlowLevels`.

    Raises:
        ValueError: If its levels are neither those of betas nor of a flow.
    """
    config = described(scheduler)
    if flow:
        if config.get("invert_sigmas"):
            raise ValueError(
                "a flow must run from the image at 0 to noise at 1, got invert_sigmas."
            )
        return FlowLevels(config, tokens, from_one)
    if "beta_schedule" not in config:
        raise ValueError(
            "a model's scheduler must have the betas of discrete timesteps or be that of a flow, "
            f"got {config['_class_name']}."
        )
    return DiscreteLevels(config)


def described(scheduler: Any) -> Config:
    """Returns a scheduler's configuration, as plain values, with what it says of its defaults."""
    values: Config = {"_class_name": type(scheduler).__name__}
    for name, value in scheduler.config.items():
        if not name.startswith("_") or name == DEFAULTED:
            values[name] = value.tolist() if isinstance(value, np.ndarray | Tensor) else value
    return values


def built(kind: type[Any], config: Config, **changes: Any) -> Any:
    """Returns a scheduler with those settings of another one that it has too.

    As the library's `from_config` does it: what the other was not told is this one's own default.
    """
    known = {*inspect.signature(kind.__init__).parameters, DEFAULTED}
    return kind.from_config({k: v for k, v in config.items() if k in known}, **changes)
