"""How well a denoiser knows its data: the evidence lower bound for region-wise noise.

Let every pixel i have a level sigma_i of its own ([AP]), gamma_i = 1/sigma_i^2, and let the map
s(t) fall from sigma_max everywhere to sigma_min everywhere, no pixel ever rising again. Adding
noise along the way back is a Markov chain, so for any chain of denoising steps p

    -ln p(x0) <= KL(q(x_max|x0) || p(x_max)) + sum of the steps' KLs + E[-ln p(x0|x_min)].

Let a step be q(x_next | x_t, x0 = D(x_t, s)). Then both kernels have the same variance, and their
KL is sum_i (gamma_i,next - gamma_i) |x0_i - D_i|^2 / 2: a pixel at rest costs nothing. In the limit
of small steps

    -ln p(x0) <= prior + 1/2 integral sum_i E|x0_i - D_i(x_t, s(t))|^2 dgamma_i + decoder.   (1)

With the exact denoiser, D_i = E[x0_i | x_t], the integrand is the gradient with respect to gamma of
KL(q(x_t|x0) || p(x_t)) ([I-MMSE] on average over x0, [ITD] for each x0). So the integral depends on
its ends alone, and (1) is loose only by what prior and decoder get wrong. Any denoiser that is
exact for some distribution gives that distribution's likelihood along every path: what differs
between paths shows a network that is the posterior mean of no distribution.

With lambda_i = ln gamma_i the integrand is sum_i |x0_i - D_i|^2 / sigma_i^2 * dlambda_i/dt / 2, of
order 1 at low noise. Everything here is in nats, divided by the number of values of an image.

References:
    [AP] AsyncPatch Diffusion, 2026. arXiv:2606.07079
    [I-MMSE] Guo, Shamai, Verdu: Mutual Information and Minimum Mean-Square Error in Gaussian
    Channels, 2005. arXiv:cs/0412108
    [ITD] Kong, Brekelmans, Ver Steeg: Information-Theoretic Diffusion, 2023. arXiv:2302.03792
    [VDM] Kingma, Salimans, Poole, Ho: Variational Diffusion Models, 2021. arXiv:2107.00630
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float64
from torch import Generator, Tensor

from denoisers.contract import Denoiser, Image
from sampling.level_paths import LevelPath

__all__ = [
    "Decoder",
    "Elbo",
    "Prior",
    "Proposal",
    "Terms",
    "byte_decoder",
    "density_decoder",
    "elbo",
    "fitted_proposal",
    "image_terms",
    "path_integral",
]

PerImage = Float64[Tensor, " images"]
Decoder = Callable[[Image, float], PerImage]

# Bytes as float32 in [-1, 1] are off by 1e-7 at most; one byte is 0.008.
OFF_GRID = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prior:
    """What is known without looking: N(mean, std^2) in every pixel, before noise is added.

    Args:
        mean: Mean of the data.
        std: Standard deviation of the data, the denoiser's `sigma_data`.
    """

    mean: float = 0.0
    std: float = 0.5

    def kl(self, x0: Image, sigma_max: float) -> PerImage:
        """Returns KL(N(x0, s^2) || N(mean, s^2 + std^2)) at s = sigma_max."""
        squared = _mean_of_each((x0 - self.mean).square())
        return self.expected_kl(sigma_max) + (squared - self.std**2) / (
            2 * (sigma_max**2 + self.std**2)
        )

    def expected_kl(self, sigma_max: float) -> float:
        """Returns what `kl` is on average over data of this mean and deviation."""
        return math.log1p((self.std / sigma_max) ** 2) / 2


def density_decoder(x0: Image, sigma_min: float) -> PerImage:
    """Continuous data: E[-ln N(x0; x_min, sigma_min^2)], which no image changes.

    Nats are those of a density over [-1, 1], and may be negative.
    """
    nats = math.log(2 * math.pi * math.e * sigma_min**2) / 2
    return torch.full((len(x0),), nats, dtype=torch.float64)


def byte_decoder(x0: Image, sigma_min: float) -> PerImage:
    """8-bit images: p(v | x_min) over the 256 values, proportional to N(x_min; v, sigma_min^2).

    The decoder of [VDM]. The expectation over x_min is a table of 256 numbers, by quadrature:
    nothing is drawn.

    Raises:
        ValueError: If an image is off the grid of k / 127.5 - 1 for k = 0 ... 255.
    """
    value = (x0.cpu() + 1) * 127.5
    index = value.round()
    off = (value - index).abs().max().item() / 127.5
    if off > OFF_GRID or index.min() < 0 or index.max() > 255:
        raise ValueError(
            "the decoder of 8-bit images takes values k / 127.5 - 1 with k = 0 ... 255, got some "
            f"that are {off:.2g} off the grid or outside [-1, 1]: round them, or take the decoder "
            "of continuous data."
        )
    return _byte_table(float(sigma_min))[index.long()].mean((1, 2, 3))


@functools.cache
def _byte_table(sigma_min: float) -> Float64[Tensor, "256"]:
    """E[-ln p(v | v + sigma_min eps)] for every value v.

    The trapezoidal rule converges exponentially for a Gaussian times what bends over no less than
    sigma_min / step of eps; where that is short, the sharp bends are where eps never is.
    """
    eps = torch.linspace(-9, 9, 601, dtype=torch.float64)
    weights = (-eps.square() / 2).exp()
    weights /= weights.sum()
    offsets = torch.arange(256, dtype=torch.float64)[:, None] / 127.5 / sigma_min
    nats = []
    for value in offsets[:128]:
        # Minus the logarithms of what the probabilities are proportional to, 256 x 601 of them.
        energies = (eps + value - offsets).square() / 2
        nats.append(weights @ (eps.square() / 2 + (-energies).logsumexp(0)))
    return torch.stack(nats + nats[::-1])  # black and white are alike


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A density over [0, 1] that is constant in each of equal bins.

    Args:
        probabilities: Of the bins; positive, of sum 1.
    """

    probabilities: Float64[Tensor, " bins"]

    def __post_init__(self) -> None:
        probabilities = self.probabilities
        if not (probabilities > 0).all() or abs(probabilities.sum().item() - 1) > 1e-9:
            raise ValueError("probabilities must be positive and sum to 1.")

    @classmethod
    def uniform(cls) -> "Proposal":
        """Every time alike."""
        return cls(torch.ones(1, dtype=torch.float64))

    @classmethod
    def fitted(
        cls, t: PerImage, values: PerImage, *, bins: int = 64, floor: float = 0.02
    ) -> "Proposal":
        """Proportional to the root mean square of `values` in each bin, where variance is least.

        Args:
            t: Times, at least one in each bin.
            values: Values of the integrand at these times.
            bins: Number of bins.
            floor: Share that every bin gets alike, in (0, 1]: no weight is above 1 / floor.
        """
        if not 0 < floor <= 1:
            raise ValueError(f"floor must be in (0, 1], got {floor}.")
        place = (t * bins).long().clamp(max=bins - 1)
        counts = torch.bincount(place, minlength=bins)
        if not counts.all():
            raise ValueError(f"each of the {bins} bins needs a value, got {counts.tolist()}.")
        squares = torch.bincount(place, weights=values.square(), minlength=bins)
        size = (squares / counts).sqrt() + torch.finfo(torch.float64).tiny
        return cls(floor / bins + (1 - floor) * size / size.sum())

    def at(self, quantile: PerImage) -> tuple[PerImage, PerImage]:
        """Returns the times below which are such shares, and the density there."""
        bins = len(self.probabilities)
        above = self.probabilities.cumsum(0)
        bin_ = torch.searchsorted(above, quantile, right=True).clamp(max=bins - 1)
        probability = self.probabilities[bin_]
        within = (quantile - above[bin_]) / probability + 1
        return (bin_ + within.clamp(0, 1)) / bins, probability * bins


@dataclasses.dataclass(frozen=True, kw_only=True)
class Terms:
    """The three terms of (1), in nats a value, for each image."""

    prior: PerImage
    diffusion: PerImage
    decoder: PerImage

    @property
    def nats(self) -> PerImage:
        """Returns the bound on -ln p of each image."""
        return self.prior + self.diffusion + self.decoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Elbo:
    """The bound, averaged over images.

    Attributes:
        nats_per_dim: Bound on -ln p(x0), divided by the number of values of an image.
        standard_error: Of `nats_per_dim`, from the spread over images: that of the images and
            that of the draws together. NaN for a single image.
        prior: First term of (1).
        diffusion: Second term, the integral.
        decoder: Third term.
        images: How many images.
    """

    nats_per_dim: float
    standard_error: float
    prior: float
    diffusion: float
    decoder: float
    images: int

    @property
    def bits_per_dim(self) -> float:
        """Returns the bound in bits: with `byte_decoder`, those that store a byte of an image."""
        return self.nats_per_dim / math.log(2)

    @property
    def bits_standard_error(self) -> float:
        """Returns the standard error in bits."""
        return self.standard_error / math.log(2)

    @classmethod
    def of(cls, terms: Terms) -> "Elbo":
        """Averages over images that are independent of each other."""
        count = len(terms.nats)
        spread = terms.nats.std().item() if count > 1 else math.nan
        return cls(
            nats_per_dim=terms.nats.mean().item(),
            standard_error=spread / math.sqrt(count),
            prior=terms.prior.mean().item(),
            diffusion=terms.diffusion.mean().item(),
            decoder=terms.decoder.mean().item(),
            images=count,
        )


def elbo(
    denoiser: Denoiser,
    images: Image,
    path: LevelPath,
    *,
    generator: Generator,
    draws: int = 8,
    decoder: Decoder = byte_decoder,
    prior: Prior = Prior(),
    proposal: Proposal | None = None,
    batch_size: int = 64,
) -> Elbo:
    """Estimates the bound, without bias whatever the proposal.

    Costs `draws` network calls a batch, and those of `fitted_proposal` where no proposal is given.

    Args:
        denoiser: The denoiser; it must take maps of levels unless the path is `Joint`.
        images: Clean images in [-1, 1].
        path: From which levels to which, and how.
        generator: Draws times and noise; on the CPU.
        draws: Times for each image, one in each of equal shares of the proposal.
        decoder: `byte_decoder` for 8-bit images, `density_decoder` for continuous ones.
        prior: Mean and deviation of the data.
        proposal: Where along the path to look; None fits one on the first batch.
        batch_size: Images a network call.
    """
    if proposal is None:
        proposal = fitted_proposal(denoiser, images[:batch_size], path, generator=generator)
    batches = [
        image_terms(
            denoiser,
            batch,
            path,
            generator=generator,
            draws=draws,
            decoder=decoder,
            prior=prior,
            proposal=proposal,
        )
        for batch in images.split(batch_size)
    ]
    names = [field.name for field in dataclasses.fields(Terms)]
    return Elbo.of(
        Terms(**{name: torch.cat([getattr(terms, name) for terms in batches]) for name in names})
    )


@torch.no_grad()
def image_terms(
    denoiser: Denoiser,
    x0: Image,
    path: LevelPath,
    *,
    generator: Generator,
    draws: int,
    decoder: Decoder,
    prior: Prior,
    proposal: Proposal,
) -> Terms:
    """Returns the terms of each image, independent of each other; the arguments are `elbo`'s."""
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}.")
    diffusion = torch.zeros(len(x0), dtype=torch.float64)
    for stratum in range(draws):
        uniform = torch.rand(len(x0), generator=generator, dtype=torch.float64)
        t, density = proposal.at((stratum + uniform) / draws)
        diffusion += _integrand(denoiser, x0, path, t, generator) / density / draws
    return Terms(
        prior=prior.kl(x0, path.sigma_max),
        diffusion=diffusion,
        decoder=decoder(x0, path.sigma_min),
    )


@torch.no_grad()
def fitted_proposal(
    denoiser: Denoiser,
    x0: Image,
    path: LevelPath,
    *,
    generator: Generator,
    bins: int = 64,
    values_a_bin: int = 4,
    floor: float = 0.02,
) -> Proposal:
    """Fits a proposal to the integrand, seen at times of its own all along the path.

    Costs bins * values_a_bin / len(x0) network calls of all images, rounded up.
    """
    rounds = math.ceil(bins * values_a_bin / len(x0))
    count = rounds * len(x0)
    order = torch.randperm(count, generator=generator)
    t = (order + torch.rand(count, generator=generator, dtype=torch.float64)) / count
    values = [_integrand(denoiser, x0, path, times, generator) for times in t.split(len(x0))]
    return Proposal.fitted(t, torch.cat(values), bins=bins, floor=floor)


def _integrand(
    denoiser: Denoiser, x0: Image, path: LevelPath, t: PerImage, generator: Generator
) -> PerImage:
    """The integrand of (1) with respect to t, at one time and one noise for each image."""
    levels = path(t, *x0.shape[-2:])
    sigma = levels.sigma.to(x0)
    eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)
    x0_hat = denoiser(x0 + sigma * eps, sigma)
    return _mean_of_each(((x0 - x0_hat) / sigma).square() * levels.slope.to(x0)) / 2


def _mean_of_each(images: Image) -> PerImage:
    """Returns float64 on the CPU, wherever the images are: not every device has it."""
    return images.mean((1, 2, 3)).cpu().double()


def path_integral(
    mmse: Callable[[Tensor], Tensor], path: LevelPath, height: int, width: int, *, nodes: int = 64
) -> float:
    """The integral of (1) where the mean squared error of every pixel is known.

    Gauss-Legendre on every smooth piece of the path. The error falls exponentially with `nodes`.

    Args:
        mmse: From maps of levels (nodes, 1, height, width), or (nodes, 1, 1, 1) along a `Joint`
            path, to E|x0_i - D_i|^2 of every pixel, as `GaussianDenoiser.variance` has it.
        path: From which levels to which, and how.
        height: Of the patch, in pixels.
        width: Of the patch, in pixels.
        nodes: Points of each piece.
    """
    points, weights = (
        torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(nodes)
    )
    total = 0.0
    for start, end in itertools.pairwise(path.joins(height, width)):
        levels = path((start + end) / 2 + (end - start) / 2 * points, height, width)
        rates = mmse(levels.sigma) * levels.log_gamma.exp() * levels.slope
        total += (end - start) / 4 * (weights @ rates.mean((1, 2, 3))).item()
    return total
