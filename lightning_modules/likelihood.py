"""The likelihood that `test` reports: the ELBO of held-out images along several paths of levels."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float64
from torch import Generator, Tensor

from denoisers.contract import Image
from denoisers.precond import EDMPrecond
from sampling.elbo import (
    Decoder,
    Prior,
    Proposal,
    byte_decoder,
    density_decoder,
    fitted_proposal,
    image_terms,
)
from sampling.level_paths import Joint, LevelPath, Random, Sequential, Wavefront

__all__ = ["Likelihood", "LikelihoodSums"]

PathName = Literal["joint", "sequential", "wavefront", "random"]

PATHS: dict[PathName, type[LevelPath]] = {
    "joint": Joint,
    "sequential": Sequential,
    "wavefront": Wavefront,
    "random": Random,
}
DECODERS: dict[str, Decoder] = {"bytes": byte_decoder, "density": density_decoder}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Likelihood:
    """How `test` bounds the likelihood of held-out images (sampling/elbo.py).

    Args:
        paths: Along which paths of levels; none is no bound. A denoiser that takes no maps of
            levels is asked for `joint` alone.
        draws: Network calls for each image and path; those that find out where to look, 256
            patches a path, come on top.
        sigma_min: Where the paths end and the decoder takes over: as low as the network has seen.
        sigma_max: Where they start.
        decoder: `bytes`: bits are those of an 8-bit image. `density`: of continuous data.
    """

    paths: Sequence[PathName] = get_args(PathName)
    draws: int = 4
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    decoder: Literal["bytes", "density"] = "bytes"

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, got {self.draws}.")
        if len(set(self.paths)) < len(self.paths):
            raise ValueError(f"paths must differ, got {', '.join(self.paths)}.")
        self.level_paths(takes_noise_maps=True)

    def level_paths(self, *, takes_noise_maps: bool) -> dict[str, LevelPath]:
        """Returns the paths that a denoiser can go, by name."""
        return {
            name: PATHS[name](sigma_min=self.sigma_min, sigma_max=self.sigma_max)
            for name in self.paths
            if takes_noise_maps or name == "joint"
        }


class LikelihoodSums:
    """Sums over the images of one process, which add up over processes.

    All paths see the same images, so their difference is known better than either: its standard
    error is that of the differences image by image.

    Args:
        settings: Along which paths, and how well.
        denoiser: The denoiser.
    """

    def __init__(self, settings: Likelihood, denoiser: EDMPrecond) -> None:
        self.settings = settings
        self.denoiser = denoiser
        self.paths = settings.level_paths(takes_noise_maps=denoiser.takes_noise_maps)
        self.proposals: dict[str, Proposal] = {}
        count = len(self.paths)
        # Of 1, prior and decoder; of the bounds; of their products.
        self.sums = torch.zeros(3 + count + count**2, dtype=torch.float64)

    def update(self, x0: Image, generator: Generator) -> None:
        """Adds a batch; the first one also says where along each path to look."""
        if not self.paths:
            return
        for name, path in self.paths.items():
            if name not in self.proposals:
                self.proposals[name] = fitted_proposal(self.denoiser, x0, path, generator=generator)
        terms = [
            image_terms(
                self.denoiser,
                x0,
                path,
                draws=self.settings.draws,
                decoder=DECODERS[self.settings.decoder],
                prior=Prior(std=self.denoiser.sigma_data),
                proposal=self.proposals[name],
                generator=generator,
            )
            for name, path in self.paths.items()
        ]
        nats = torch.stack([each.nats for each in terms], 1)
        ends = torch.stack([torch.ones_like(nats[:, 0]), terms[0].prior, terms[0].decoder])
        self.sums += torch.cat([ends.sum(1), nats.sum(0), (nats.mT @ nats).flatten()])

    def summary(self, reduce: Callable[[Tensor], Tensor] = lambda sums: sums) -> dict[str, float]:
        """Returns every figure by name, `se` its standard error; `reduce` adds up over processes.

        NaN where a single image has no standard error.
        """
        if not self.paths:
            return {}
        sums, size = reduce(self.sums), len(self.paths)
        count, prior, decoder = sums[:3].tolist()
        mean = sums[3 : 3 + size] / count
        # Sums of squares less the square of the sum: float64 leaves 1e-12 of numbers of order 1.
        freedom = count - 1 if count > 1 else math.nan
        cov = (sums[3 + size :].view(size, size) / count - mean[:, None] * mean) / freedom
        figures = {"nats_prior": prior / count, "nats_decoder": decoder / count}
        names = list(self.paths)
        for place, name in enumerate(names):
            one = torch.eye(size, dtype=torch.float64)[place]
            nats, error = _projected(mean, cov, one)
            figures[f"nats_per_dim_{name}"] = nats
            figures[f"nats_per_dim_{name}_se"] = error
            figures[f"nats_diffusion_{name}"] = nats - (prior + decoder) / count
            figures[f"bits_per_dim_{name}"] = nats / math.log(2)
            figures[f"bits_per_dim_{name}_se"] = error / math.log(2)
            if place:
                one[0] = -1
                key = f"nats_{name}_over_{names[0]}"
                figures[key], figures[f"{key}_se"] = _projected(mean, cov, one)
        return figures


def _projected(
    mean: Float64[Tensor, " paths"],
    cov: Float64[Tensor, "paths paths"],
    along: Float64[Tensor, " paths"],
) -> tuple[float, float]:
    """A combination of the paths' means and its standard error, from the means' covariance."""
    variance = (along @ cov @ along).item()
    return (along @ mean).item(), math.sqrt(max(variance, 0.0))
