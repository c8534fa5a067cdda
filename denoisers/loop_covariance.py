"""Correlations round a loop: what a stationary field is where its end continues at its beginning.

Two pixels of a loop of n px are d px apart, and n - d, and once more round d + n, ... The field
here is the endless one summed over all turns, and scaled to the same variance,

    c_loop(d) = sum_k c(d + k n) / sum_k c(k n).

This is a covariance for every family and length, for the eigenvalues of its circulant matrix are
values of the endless field's spectrum (Poisson), of which none is negative. Of exponential
correlations it makes the Markov loop, cosh((n / 2 - d) / length) / cosh(n / (2 length)): two pixels
cut it into halves that know nothing of each other. Correlations as they are along a line, by the
shorter way round, would not do: but for exponential ones they are no covariance where a loop is not
many lengths long (the smallest eigenvalue of Matern 3/2 of 16 px on 96 px is negative).
"""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["loop_correlations", "loop_root", "loop_spectrum"]

FASTEST = 300.0  # e^-300 is no correlation, and its square not yet 0 in float64
Spectrum = Float64[Tensor, " loop"]


def loop_spectrum(loop: int, family: str, length: float) -> Spectrum:
    """Returns the eigenvalues of the correlation matrix of a whole loop, of mean 1.

    Args:
        loop: Pixels round it.
        family: One of `denoisers.gaussian.Covariance`.
        length: The correlation length, in pixels.
    """
    # Up to half a turn: the other half is the same.
    number = torch.arange(loop, dtype=torch.float64)
    omega = 2 * math.pi * torch.minimum(number, loop - number) / loop
    spectrum = _SPECTRA[family](omega, length)
    return spectrum / spectrum.mean()


def loop_correlations(loop: int, family: str, length: float) -> Float64[Tensor, " loop"]:
    """Returns the correlation of two pixels by how far apart they are, counted one way round."""
    spectrum = loop_spectrum(loop, family, length)
    return torch.fft.ifft(spectrum).real


def loop_root(size: int, loop: int, family: str, length: float) -> Float64[Tensor, "size size"]:
    """Returns a lower triangular root of the correlations of `size` px of a loop in a row.

    Made of the spectrum, never of the correlations, which have lost their small eigenvalues.
    """
    place = torch.arange(loop, dtype=torch.float64)
    angle = 2 * math.pi * (place[:, None] * place % loop) / loop
    # The orthogonal basis of Hartley, in which every symmetric circulant matrix is diagonal.
    basis = (angle.cos() + angle.sin()) / math.sqrt(loop)
    root = basis[:size] * loop_spectrum(loop, family, length).sqrt()
    return torch.linalg.qr(root.mT).R.mT.contiguous()


def _independent(omega: Spectrum, length: float) -> Spectrum:
    return torch.ones_like(omega)


def _exponential(omega: Spectrum, length: float) -> Spectrum:
    """Sum over d of r^|d| e^(i omega d), with r = e^(-1 / length)."""
    rate = min(1 / length, FASTEST)
    return math.sinh(rate) / _distance(omega, rate)


def _matern32(omega: Spectrum, length: float) -> Spectrum:
    """The same of (1 + a |d|) e^(-a |d|), with a = sqrt(3) / length: f - a f' of that above."""
    rate = min(math.sqrt(3) / length, FASTEST)
    upper = math.sinh(rate) * _distance(omega, rate)
    lower = rate * (1 - math.cosh(rate) * omega.cos())
    return (upper - lower) / _distance(omega, rate).square()


def _squared_exponential(omega: Spectrum, length: float) -> Spectrum:
    """The same of e^(-(d / length)^2 / 2): terms over d for short lengths, by frequency for others.

    All terms that matter at the frequency where they sum to least are positive, or few.
    """
    nothing = torch.zeros_like(omega)
    if length < 0.5:
        far = range(1, 6)
        terms = (2 * math.exp(-((d / length) ** 2) / 2) * (d * omega).cos() for d in far)
        return 1 + sum(terms, nothing)
    shifted = (omega + 2 * math.pi * turn for turn in range(-6, 7))
    return sum((torch.exp(-((length * frequency) ** 2) / 2) for frequency in shifted), nothing)


def _distance(omega: Spectrum, rate: float) -> Spectrum:
    """Returns cosh(rate) - cos(omega), without the rounding of a difference."""
    return 2 * (math.sinh(rate / 2) ** 2 + (omega / 2).sin().square())


_SPECTRA = {
    "independent": _independent,
    "exponential": _exponential,
    "matern32": _matern32,
    "squared_exponential": _squared_exponential,
}
