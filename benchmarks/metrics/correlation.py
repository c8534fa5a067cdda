"""How alike pixels of one row are, by their distance: what a strategy remembers along the canvas.

Through the variogram ([GEO]), whose differences need no mean:

    gamma(d) = 1/2 mean |x(c + d) - x(c)|^2,    rho(d) = 1 - gamma(d) / var,

over canvases, channels, rows and columns c. `var` is the mean squared deviation from the mean of
that row and channel, for skies are above and not below: with `m` the mean of a row of one canvas,

    var = mean x^2 - mean of m m' over pairs of different canvases,

which has no bias at any number of canvases. Everything is an integer until the last division.

References:
    [GEO] Cressie, Statistics for Spatial Data, 1993.
"""

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from typing_extensions import override

from benchmarks.metrics.estimates import Curve
from benchmarks.metrics.state import Canvases, SumMetric, validate_fit

__all__ = ["Autocorrelation"]

MOST_DISTANCES = 32


class Autocorrelation(SumMetric):
    """The curve `autocorrelation`, and its `correlation_gap` to that of real crops.

    The gap is the root mean square difference over the curve's distances, which lie densest near
    0. Its interval holds the real curve fixed, and what noise adds to it is not taken off.

    Args:
        height: Of the canvases, in pixels.
        width: Of the canvases, in pixels.
        longest: The longest distance, in pixels; distances grow in proportion up to it.
        real: The same curve of real long crops; None leaves the gap out.
        seed: Seeds the resampling.

    Raises:
        ValueError: If `longest` does not fit, or the real curve has other distances.
    """

    signed = frozenset({"autocorrelation"})

    def __init__(
        self, *, height: int, width: int, longest: int, real: Curve | None = None, seed: int = 0
    ) -> None:
        if not 1 <= longest < width:
            raise ValueError(f"longest must be from 1 to {width - 1} px, got {longest}.")
        steps = MOST_DISTANCES - 1
        distances = sorted({round(longest ** (step / steps)) for step in range(steps + 1)})
        if real is not None and real.distances != distances:
            raise ValueError(
                f"the real curve must have the same distances, {distances}, got {real.distances}."
            )
        super().__init__(
            columns=len(distances) + 2 + 3 * height,
            seed=seed,
            distances={"autocorrelation": distances},
        )
        self.size = (height, width)
        self.real = real

    @override
    def statistics(
        self, canvases: Canvases, indices: Int64[Tensor, " n"]
    ) -> Float64[Tensor, "n columns"]:
        """Squared differences at every distance, squares, squared row sums, and row sums."""
        validate_fit(canvases, self.size)
        x = (canvases.to(torch.int32) - 128).flatten(1, 2)
        lags = torch.tensor(self.distances["autocorrelation"], device=x.device)
        power = x.square().sum(1, dtype=torch.int64).cumsum(1)
        whole = power[:, -1:]
        # Of x(c) all but the last d columns count, of x(c + d) all but the first d.
        squares = power[:, self.size[1] - 1 - lags] + whole - power[:, lags - 1]
        row_sums = x.sum(2, dtype=torch.int64)
        return torch.cat(
            [
                squares.double() - 2 * _products(x)[:, lags],
                whole.double(),
                row_sums.square().sum(1, keepdim=True).double(),
                row_sums.double(),
            ],
            dim=1,
        )

    @override
    def formula(
        self, totals: Float64[Tensor, "sets columns"], count: int
    ) -> dict[str, Float64[Tensor, "sets ..."]]:
        (height, width), distances = self.size, self.distances["autocorrelation"]
        moves, square, own, rows = totals.split([len(distances), 1, 1, 3 * height], dim=1)
        pairs = totals.new_tensor([width - distance for distance in distances])
        gamma = moves / (2 * count * 3 * height * pairs)
        of_means = (rows.square().sum(1, keepdim=True) - own) / (count * (count - 1) * width**2)
        var = square / (count * 3 * height * width) - of_means / (3 * height)
        rho = torch.where(gamma == 0, 1.0, 1 - gamma / var)
        if self.real is None:
            return {"autocorrelation": rho}
        gap = (rho - rho.new_tensor(self.real.values)).square().mean(1).sqrt()
        return {"autocorrelation": rho, "correlation_gap": gap}


def _products(x: Int64[Tensor, "n rows width"] | Tensor) -> Float64[Tensor, "n width"]:
    """Returns sum x(c) x(c + d) over rows and columns for every d, by Fourier transforms.

    They are integers below 2^40 or so, and rounding makes them exact.
    """
    width = x.shape[-1]
    spectrum = torch.fft.rfft(x.double(), n=2 * width)
    energy = (spectrum.real.square() + spectrum.imag.square()).sum(1)
    return torch.fft.irfft(energy, n=2 * width)[:, :width].round()
