"""Our side: the same U-Net under a strategy, watched as the peer's is."""

import dataclasses
import time
from collections.abc import Callable

import torch
from torch import Tensor

from denoisers.guidance import Guided
from denoisers.pretrained.autoencoder import Autoencoder
from denoisers.pretrained.model import PretrainedModel
from denoisers.pretrained.text import PromptEncoder
from sampling.diffusers_solver import Diffusers
from strategies.base import Strategy
from strategies.canvas import Canvas
from strategies.latent import on_latents
from strategies.prompts import PromptContext
from studies.peers.jobs import Job, Made, Shape, Timing
from studies.peers.worker import Counted

__all__ = ["Forwards", "Ours"]


@dataclasses.dataclass(frozen=True)
class Ours:
    """Panoramas by a strategy.

    Args:
        model: The pipeline, taken apart.
        strategy: Makes the strategy on a solver.
    """

    model: PretrainedModel
    strategy: Callable[..., Strategy]

    @property
    def autoencoder(self) -> Autoencoder:
        """Between images and latents; the peer's pipeline has one as well."""
        assert self.model.autoencoder is not None
        return self.model.autoencoder

    @property
    def prompts(self) -> PromptEncoder:
        """The text encoders; the peer's pipeline has them as well."""
        assert self.model.prompts is not None
        return self.model.prompts

    def made(self, job: Job) -> Made:
        """Makes a panorama, timed from the prompt on, as the peer's is.

        Raises:
            ValueError: If the strategy refuses the job.
        """
        with Counted(self.model.pipeline.unet) as counted:
            begun = time.perf_counter()
            images = self._images(job)
            seconds = time.perf_counter() - begun
        return Made(Timing(seconds, counted.seconds, tuple(counted.shapes)), images)

    def _images(self, job: Job) -> Tensor:
        solver = Diffusers(num_steps=job.num_steps, scheduler="ddim").fitted(self.model.denoiser)
        strategy, canvas = self.strategy(solver=solver), self._canvas(job)
        if job.decoded:
            strategy = on_latents(strategy, self.autoencoder)
        text = self.prompts([job.prompt])
        return strategy.generate(
            Guided(self.model.denoiser, job.guidance),
            canvas,
            job.noise,
            context=PromptContext(tokens=text.tokens, pooled=text.pooled),
        )

    def _canvas(self, job: Job) -> Canvas:
        """Returns the canvas, in pixels or in latent pixels."""
        scale = 1 if job.decoded else self.model.scale
        return Canvas(
            height=job.height // scale,
            width=job.width // scale,
            channels=(self.autoencoder if job.decoded else self.model.denoiser).channels,
            wrap_width=job.circular,
        )


class Forwards:
    """The evaluations of a panorama and nothing else: each of its batches, one forward pass.

    Args:
        ours: Makes the panorama, once, to see which batches those are.
    """

    def __init__(self, ours: Ours) -> None:
        self.ours = ours
        self._shapes: tuple[Shape, ...] | None = None

    @torch.no_grad()
    def made(self, job: Job) -> Made:
        """Asks the network about noise, as often as the panorama does."""
        if self._shapes is None:
            self._shapes = self.ours.made(job).timing.shapes
        unet = self.ours.model.pipeline.unet
        batches = {shape: self._batch(shape, job) for shape in set(self._shapes)}
        begun = time.perf_counter()
        for shape in self._shapes:
            unet(**batches[shape], return_dict=False)
        seconds = time.perf_counter() - begun
        return Made(Timing(seconds, seconds, self._shapes))

    def _batch(self, shape: Shape, job: Job) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(job.seed)
        return {
            "sample": torch.randn(shape, generator=generator),
            "timestep": torch.full(shape[:1], 500.0),
            "encoder_hidden_states": self.ours.prompts([job.prompt] * shape[0]).tokens,
        }
