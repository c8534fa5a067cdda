"""DPM-Solver++, DEIS and DDIM: the schedulers of `diffusers`, run on our schedule of levels.

Ours is x_t = x0 + sigma * eps; theirs keeps the variance, x_vp = x_t / sqrt(1 + sigma^2).

References:
    [DPM++] Lu, Zhou, Bao, Chen, Li, Zhu: DPM-Solver++: Fast Solver for Guided Sampling of
    Diffusion Probabilistic Models, 2022. arXiv:2211.01095
    [DEIS] Zhang, Chen: Fast Sampling of Diffusion Models with Exponential Integrator, 2022.
    arXiv:2204.13902
    [DDIM] Song, Meng, Ermon: Denoising Diffusion Implicit Models, 2020. arXiv:2010.02502
"""

import dataclasses
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

from diffusers import DDIMScheduler, DEISMultistepScheduler, DPMSolverMultistepScheduler
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from denoisers.contract import Denoiser, Image, Levels, Sigma
from sampling.noise import NoiseStream
from sampling.solvers import Solver, Step, solve

__all__ = ["Diffusers"]

Name = Literal["dpmsolver++", "deis", "ddim"]
Scheduler: TypeAlias = DPMSolverMultistepScheduler | DEISMultistepScheduler | DDIMScheduler
SCHEDULERS: dict[str, type[Scheduler]] = {
    "dpmsolver++": DPMSolverMultistepScheduler,
    "deis": DEISMultistepScheduler,
    "ddim": DDIMScheduler,
}


@runtime_checkable
class DiscretelyLevelled(Levels, Protocol):
    """Levels of timesteps, and the settings of their schedulers.

    Attributes:
        sigmas: The level of every timestep, ascending.
    """

    sigmas: Float[Tensor, " timesteps"]

    def scheduler_of(self, kind: type, **settings: Any) -> Any:
        """Returns a scheduler of those timesteps that is given clean estimates."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diffusers(Solver):
    """A deterministic solver of the `diffusers` library; it draws no noise on the way.

    Costs `num_steps` evaluations, one a step. The last step, down to 0, returns `x0_hat`
    whatever the scheduler: that of DEIS cannot take it, its formula holds the logarithm of the
    next level. DPM-Solver++ keeps its state in float32.

    The settings that it shares with others are those of `Solver`.

    Args:
        levels: Where the levels lie. `karras` is [EDM] Eq. 5, and so is `auto` until the solver is
            `fitted` to a denoiser that has a noise schedule of its own, then it is that noise
            schedule. One of discrete timesteps then runs as in its own pipeline, to the last step,
            which some schedulers end at the lowest level and not at 0.
        scheduler: Multistep DPM-Solver++ ([DPM++] Alg. 2), DEIS in log-rho ([DEIS] Sec. 3), or
            DDIM without noise ([DDIM] Eq. 12), which is the Euler step in sigma.
        order: Order of the multistep solvers, 1 to 3; 1 is DDIM. DDIM itself ignores it.
    """

    scheduler: Name = "dpmsolver++"
    order: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scheduler not in get_args(Name):
            raise ValueError(
                f"scheduler must be one of {', '.join(get_args(Name))}, got {self.scheduler!r}."
            )
        if self.order not in (1, 2, 3):
            raise ValueError(f"order must be 1, 2 or 3, got {self.order}.")

    @override
    def __call__(self, denoiser: Denoiser, eps: Image, noise: NoiseStream) -> Image:
        if isinstance(self.levels, DiscretelyLevelled):
            return self._as_in_its_pipeline(denoiser, eps, self.levels)
        sigmas = self.sigmas()
        # A multistep scheduler remembers estimates: a new one for every call.
        step = scheduler_step(self.new_scheduler(sigmas))
        return solve(step, denoiser, self.started(eps, sigmas[0]), sigmas)

    def _as_in_its_pipeline(
        self, denoiser: Denoiser, eps: Image, levels: DiscretelyLevelled
    ) -> Image:
        """Returns what a pipeline with this scheduler makes of `eps`, its latents."""
        orders = {} if self.scheduler == "ddim" else {"solver_order": self.order}
        scheduler = levels.scheduler_of(SCHEDULERS[self.scheduler], **orders)
        scheduler.set_timesteps(self.num_steps)
        x_vp = eps * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            sigma = float(levels.sigmas[timestep.long()])
            level = eps.new_full((1, 1, 1, 1), sigma)
            x0_hat = denoiser(x_vp * levels.start(sigma), level)
            x_vp = scheduler.step(x0_hat, timestep, x_vp).prev_sample
        return x_vp

    def new_scheduler(self, sigmas: Float[Tensor, " levels"]) -> Scheduler:
        """Returns a scheduler that stands at the first level of the noise schedule.

        Its levels are written over in float64. Betas made from the noise schedule would be the
        documented way, but diffusers keeps them, and their running product, in float32: near 0.002
        the levels come back wrong by 8e-4 of themselves on a noise schedule of 40 steps, by 4e-3 on
        one of 512.
        """
        if self.scheduler == "ddim":
            scheduler = DDIMScheduler(
                num_train_timesteps=self.num_steps, prediction_type="sample", clip_sample=False
            )
            scheduler.set_timesteps(self.num_steps)
            scheduler.alphas_cumprod = 1 / (1 + sigmas[:-1].flip(0).square())
            return scheduler
        scheduler = SCHEDULERS[self.scheduler](
            # One more than the steps: its linspace leaves out timestep 0.
            num_train_timesteps=self.num_steps + 1,
            prediction_type="sample",
            solver_order=self.order,
        )
        scheduler.set_timesteps(self.num_steps)
        scheduler.set_begin_index(0)
        scheduler.sigmas = sigmas
        return scheduler


def scheduler_step(scheduler: Scheduler) -> Step:
    """Returns the step that advances `scheduler`: to be called once for each level, in order."""
    timesteps = iter(scheduler.timesteps.tolist())

    def step(denoiser: Denoiser, x_t: Image, sigma: Sigma, sigma_next: Sigma) -> Image:
        x0_hat = denoiser(x_t, sigma)
        x_vp = x_t / (1 + sigma.square()).sqrt()
        x_vp_next = scheduler.step(x0_hat, next(timesteps), x_vp).prev_sample
        return x_vp_next * (1 + sigma_next.square()).sqrt()

    return step
