"""The exact denoiser of a stationary Gaussian field: an oracle on which strategies are proved.

For a clean image x0 ~ N(mu, K) and x_t = x0 + sigma * eps, whatever the level of each pixel,

    E[x0 | x_t] = mu + K (K + diag(sigma^2))^-1 (x_t - mu).

The fields are separable, K = variance * K_rows (x) K_columns: each axis has a family of
correlations of its own. With independent rows an image is a stack of one-dimensional fields.

All of it rests on a root of K, never on K itself, which has lost its small eigenvalues to rounding:
those of a squared exponential of 8 px on 16 px reach down to 5e-25 of the largest.
"""

import dataclasses
import functools
import math
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float64
from torch import Tensor

from denoisers.contract import Image, Sigma, Variance
from denoisers.loop_covariance import loop_correlations, loop_root

__all__ = ["Covariance", "GaussianDenoiser", "GaussianField", "covariance_matrix"]

Covariance = Literal["independent", "exponential", "matern32", "squared_exponential"]

# In pixels: up to here a Matern 3/2 matrix of 512 px is positive definite in float64 too.
LONGEST = 1e4
# Pixels of a window up to which a matrix of its pixels is cheaper than one for each axis.
SMALL = 128

Place = tuple[Any, ...]  # an index of images


def covariance_matrix(
    size: int, family: Covariance, length: float, loop: int | None = None
) -> Float64[Tensor, "size size"]:
    """Correlations of the pixels of one axis, `length` in pixels.

    With the distance d in lengths: exp(-d) is the Markov chain AR(1), Matern 3/2 is
    (1 + sqrt(3) d) exp(-sqrt(3) d), the squared exponential exp(-d^2 / 2). Independent pixels
    ignore the length. On a loop of as many pixels they are those of `denoisers.loop_covariance`.
    """
    place = torch.arange(size, dtype=torch.float64)
    if loop is not None:
        apart = (place[:, None] - place).abs().long() % loop
        return loop_correlations(loop, family, length)[torch.minimum(apart, loop - apart)]
    distance = (place[:, None] - place).abs() / length
    match family:
        case "exponential":
            return torch.exp(-distance)
        case "matern32":
            return (1 + math.sqrt(3) * distance) * torch.exp(-math.sqrt(3) * distance)
        case "squared_exponential":
            return torch.exp(-distance.square() / 2)
        case "independent":
            return torch.eye(size, dtype=torch.float64)
    raise ValueError(_unknown(family))


class Axis(NamedTuple):
    """What correlations are along an axis, and after how many pixels it begins again, if ever."""

    family: Covariance
    length: float
    loop: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianField:
    """A stationary Gaussian field, its channels independent of each other.

    Args:
        rows: Family of the correlation down a column of pixels, from row to row.
        columns: Family of the correlation along a row of pixels, from column to column.
        rows_length: Correlation length down a column, in pixels, at most 10^4.
        columns_length: Correlation length along a row, in pixels, at most 10^4.
        mean: Mean of every pixel.
        variance: Variance of every pixel.
        channels: Channels of the images.
        rows_loop: Pixels after which a column of pixels begins again; None for one without an end.
        columns_loop: The same of a row. With both the field is a torus.
    """

    rows: Covariance = "independent"
    columns: Covariance = "exponential"
    rows_length: float = 4.0
    columns_length: float = 4.0
    mean: float = 0.0
    variance: float = 1.0
    channels: int = 1
    rows_loop: int | None = None
    columns_loop: int | None = None

    def __post_init__(self) -> None:
        for family in (self.rows, self.columns):
            if family not in get_args(Covariance):
                raise ValueError(_unknown(family))
        for length in (self.rows_length, self.columns_length):
            if not 0 < length <= LONGEST:
                raise ValueError(f"a length must be in (0, {LONGEST:g}] pixels, got {length}.")
        if not 0 < self.variance < math.inf:
            raise ValueError(f"variance must be positive and finite, got {self.variance}.")
        if not math.isfinite(self.mean):
            raise ValueError(f"mean must be finite, got {self.mean}.")
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1, got {self.channels}.")
        for loop in (self.rows_loop, self.columns_loop):
            if loop is not None and loop < 2:
                raise ValueError(f"a loop must be at least 2 pixels long, got {loop}.")

    @property
    def down(self) -> "Axis":
        """The correlations down a column of pixels."""
        return Axis(self.rows, self.rows_length, self.rows_loop)

    @property
    def across(self) -> "Axis":
        """The correlations along a row of pixels."""
        return Axis(self.columns, self.columns_length, self.columns_loop)

    def covariance(self, height: int, width: int) -> Float64[Tensor, "pixels pixels"]:
        """Returns the covariance of a channel, its pixels row by row: height^2 width^2 numbers."""
        rows = covariance_matrix(height, *self.down)
        columns = covariance_matrix(width, *self.across)
        return self.variance * torch.kron(rows, columns)

    def sample(self, eps: Image) -> Image:
        """Turns unit noise into a sample, mean + K^1/2 eps, with the symmetric root of each axis.

        Computed in float64, whatever the type of `eps`.
        """
        height, width = eps.shape[-2:]
        down, U = _modes(height, self.down, eps.device)
        across, V = _modes(width, self.across, eps.device)
        unit = U * down @ U.mT @ eps.double() @ (V * across) @ V.mT
        return (self.mean + math.sqrt(self.variance) * unit).to(eps.dtype)


class GaussianDenoiser:
    """E[x0 | x_t] of a field, exact for windows of any size and any map of levels.

    Computed in float64 whatever the type of `x_t`, and differentiable with respect to it. One level
    an image costs four products with matrices of the size of an axis. A map costs a QR
    factorisation of the size of the window's pixels, shared by the images that follow each other
    with the same map: put equal maps side by side.

    On a loop it knows that it is on one. In an image that goes round more than once, as a canvas
    that is continued at both its edges, the pixels of further turns are those of the first, noise
    and all.

    Args:
        field: What the clean images are samples of.
        patch_size: Side of the patch that strategies are to use, in pixels.
    """

    multiple = 1
    takes_noise_maps = True
    estimates_variance = True

    def __init__(self, field: GaussianField, *, patch_size: int) -> None:
        if patch_size < 1:
            raise ValueError(f"patch_size must be at least 1, got {patch_size}.")
        self.field = field
        self.patch_size = patch_size
        self.channels = field.channels

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        """Returns `x0_hat`, which is `x_t` to the last bit where `sigma` is 0.

        Raises:
            ValueError: If a context is given: the field takes none.
        """
        if context is not None:
            raise ValueError("this denoiser is unconditional: context must be None.")
        turn = self._first_turn(x_t)
        if turn is not None:
            return self(x_t[turn], _of_turn(sigma, turn))[self._all_turns(x_t)]
        denoise = self._denoise_levels if sigma.shape[-2:] == (1, 1) else self._denoise_maps
        floored = sigma.double().clamp(min=self._rounding(x_t.dtype))
        x0_hat = self.field.mean + denoise(x_t.double() - self.field.mean, floored)
        return torch.where(sigma == 0, x_t, x0_hat.to(x_t.dtype))

    def with_variance(
        self, x_t: Image, sigma: Sigma, context: Any = None
    ) -> tuple[Image, Variance]:
        """Returns `x0_hat` and the exact posterior variance, which no pixel's value changes."""
        return self(x_t, sigma, context), self.variance(x_t, sigma).to(x_t.dtype)

    def variance(self, x_t: Image, sigma: Sigma) -> Float64[Tensor, "batch 1 height width"]:
        """Returns the posterior variance of every pixel; of `x_t` only size and device matter.

        With the gain G = K (K + S)^-1 the posterior covariance is G S, for S = diag(sigma^2):
        nothing is subtracted. 0 where `sigma` is 0.
        """
        turn = self._first_turn(x_t)
        if turn is not None:
            return self.variance(x_t[turn], _of_turn(sigma, turn))[self._all_turns(x_t)]
        full = sigma.double().expand(-1, -1, *x_t.shape[-2:])
        if sigma.shape[-2:] == (1, 1):
            posterior = self._variance_levels(x_t, sigma.double())
        else:
            floored = full.clamp(min=self._rounding(torch.float64))
            posterior = self._variance_maps(x_t, floored)
        return torch.where(full > 0, posterior, 0.0).expand(len(x_t), -1, -1, -1)

    def _loops(self, image: Image) -> list[int]:
        """Returns the height and width of an image up to where the field begins again."""
        loops = (self.field.rows_loop, self.field.columns_loop)
        return [min(side, loop or side) for side, loop in zip(image.shape[-2:], loops, strict=True)]

    def _first_turn(self, image: Image) -> Place | None:
        """Returns the place of the first turn in an image that goes round more often."""
        sides = self._loops(image)
        return None if sides == list(image.shape[-2:]) else (..., *map(slice, sides))

    def _all_turns(self, image: Image) -> Place:
        """Returns where the pixels of an image lie in its first turn."""
        down, across = (
            torch.arange(length, device=image.device) % side
            for length, side in zip(image.shape[-2:], self._loops(image), strict=True)
        )
        return (..., down[:, None], across)

    def _variance_maps(
        self, x_t: Image, sigma: Float64[Tensor, "#levels 1 height width"]
    ) -> Float64[Tensor, "#levels 1 height width"]:
        """A matrix for each run of equal maps."""
        root = self._root(x_t)
        maps, run = torch.unique_consecutive(sigma, dim=0, return_inverse=True)
        variances = [
            _gain(root, levels.flatten()).diagonal() * levels.flatten().square() for levels in maps
        ]
        return torch.stack(variances)[run].view_as(sigma)

    def _variance_levels(
        self, x_t: Image, sigma: Sigma
    ) -> Float64[Tensor, "#levels 1 height width"]:
        """Every mode spreads its posterior variance over the pixels by its squared components."""
        field, (height, width) = self.field, x_t.shape[-2:]
        down, U = _modes(height, field.down, x_t.device)
        across, V = _modes(width, field.across, x_t.device)
        variances = field.variance * (down[:, None] * across).square()
        posterior = variances * sigma.square() / (variances + sigma.square())
        return U.square() @ posterior @ V.square().mT

    def _rounding(self, dtype: torch.dtype) -> float:
        """The level of a clean pixel: it is known no better than its type can tell.

        A smooth field ties pixels together more tightly than that, and at a true 0 would have the
        rounding of what is known extrapolated into what is not.
        """
        scale = abs(self.field.mean) + math.sqrt(self.field.variance)
        return torch.finfo(dtype).eps * scale

    def _denoise_levels(self, centred: Image, sigma: Sigma) -> Image:
        """One level an image: a gain for each mode of the field."""
        field, (height, width) = self.field, centred.shape[-2:]
        down, U = _modes(height, field.down, centred.device)
        across, V = _modes(width, field.across, centred.device)
        variances = field.variance * (down[:, None] * across).square()
        gains = variances / (variances + sigma.square())
        if len(sigma) == 1 and height * width <= SMALL:
            # One product for the whole batch: twice to nine times as fast as what follows.
            modes = torch.kron(U, V)
            gain = modes * gains.flatten() @ modes.mT
            return (centred.flatten(2) @ gain).view_as(centred)
        if field.rows == "independent" or height == 1:
            # U turns nothing: thousands of products with it cost more than all else.
            return (gains * (centred @ V)) @ V.mT
        return U @ (gains * (U.mT @ centred @ V)) @ V.mT

    def _denoise_maps(self, centred: Image, sigma: Sigma) -> Image:
        """A map an image: a matrix for each run of equal maps."""
        root = self._root(centred)
        full = sigma.expand(-1, -1, *centred.shape[-2:])
        maps, counts = torch.unique_consecutive(full, dim=0, return_counts=True)
        images_a_map = len(centred) // len(sigma)
        runs = centred.flatten(2).split((counts * images_a_map).tolist())
        estimates = [
            run @ _gain(root, levels.flatten()).mT for run, levels in zip(runs, maps, strict=True)
        ]
        return torch.cat(estimates).view_as(centred)

    def _root(self, image: Image) -> Float64[Tensor, "pixels pixels"]:
        field, (height, width) = self.field, image.shape[-2:]
        rows = _axis_root(height, field.down, image.device)
        columns = _axis_root(width, field.across, image.device)
        return math.sqrt(field.variance) * torch.kron(rows, columns)


def _of_turn(sigma: Sigma, turn: Place) -> Tensor:
    """Returns the levels of the first turn; those of whole images are those of any part."""
    return sigma if sigma.shape[-2:] == (1, 1) else sigma[turn]


def _gain(
    root: Float64[Tensor, "pixels pixels"], sigma: Float64[Tensor, " pixels"]
) -> Float64[Tensor, "pixels pixels"]:
    """K (K + S)^-1 for K = root root^T and S = diag(sigma^2), where no sigma is 0.

    With (root^T; S^1/2) = Q R, of which the upper half is Q_1 R, it is root Q_1 R^-T: neither K nor
    K + S is ever made, nor their rounding.

    Measured against 120 decimal digits on a row of 16 px, its left half at level 0 and the right
    one at 1: with squared exponentials of 2, 4, 8, 16 px the estimate errs by 3e-15, 6e-13, 2e-11,
    3e-11 of a deviation; solving with K + S errs by 2e-13, 5e-9, 4e-6, 1e-3. The error is that of
    float64 data times how far it is extrapolated: 2e-7 for 12 px out of 12 at a length of 32.
    """
    Q, R = torch.linalg.qr(torch.cat([root.mT, sigma.diag()]))
    return torch.linalg.solve_triangular(R.mT, root @ Q[: len(root)], upper=False, left=False)


@functools.cache
def _axis_root(size: int, axis: Axis, device: torch.device) -> Float64[Tensor, "size size"]:
    """A lower triangular root of `covariance_matrix`."""
    family, length, loop = axis
    if loop is not None:
        return loop_root(size, loop, family, length).to(device)
    if family == "squared_exponential":
        return _squared_exponential_root(size, length).to(device)
    root = torch.linalg.cholesky(covariance_matrix(size, family, length))
    return root.contiguous().to(device)  # torch.kron refuses a mixture of layouts


@functools.cache
def _modes(
    size: int, axis: Axis, device: torch.device
) -> tuple[Float64[Tensor, " size"], Float64[Tensor, "size size"]]:
    """Standard deviations of the principal components of an axis, and the components."""
    root = _axis_root(size, axis, torch.device("cpu"))
    # Kept for whoever calls next, who may want gradients: no inference tensors.
    with torch.inference_mode(False):
        components, deviations, _ = torch.linalg.svd(root)
        return deviations.to(device), components.to(device)


def _squared_exponential_root(size: int, length: float) -> Float64[Tensor, "size size"]:
    """Its Cholesky factor in closed form, each entry to a relative `size` roundings.

    With p = exp(-1 / length^2) and (p; p)_j = (1 - p) ... (1 - p^j),

        L_ij = p^((i - j)^2 / 2) binom(i, j)_p (p; p)_j^1/2,

    since sum_j L_ij L_kj = p^((i - k)^2 / 2) is the q-Vandermonde identity. Pascal's rule for the
    q-binomials makes a row of the one above, out of positive terms only.
    """
    power = torch.arange(size, dtype=torch.float64) / length / length
    innovation = (-torch.expm1(-power)).sqrt()
    rows = [torch.eye(size, dtype=torch.float64)[0]]
    for row in range(1, size):
        decay = math.exp(-(row - 0.5) / length / length)
        rows.append(decay * rows[-1] + innovation * rows[-1].roll(1))
    return torch.stack(rows)


def _unknown(family: str) -> str:
    return f"a covariance must be one of {', '.join(get_args(Covariance))}, got {family!r}."
