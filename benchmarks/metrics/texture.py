"""Texture of one image against another's: energies by scale, contrast, and colours.

Every statistic is a number for each image, in grey levels of 255, so that two halves of one
photograph can be compared: `log_ratio` for energies, in octaves, so that twice and half count
alike, and distances for colours. None of them knows where in the image something is.
"""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = [
    "TEXTURES",
    "colour_distance",
    "colour_spread_distance",
    "gradient_energy",
    "local_contrast",
    "log_ratio",
    "octave_energies",
    "textures",
]

Images = Float64[Tensor, "samples channels height width"]
Others = Float64[Tensor, "samples channels other_height other_width"]
Values = Float64[Tensor, " samples"]

OCTAVES = 3
BLOCK = 4  # pixels: the side of the squares whose contrast is local
FAINTEST = 1.0  # grey level; what is fainter than that nobody sees, and its logarithm is noise
TEXTURES = ("gradient", "fine", "medium", "coarse", "contrast")


def textures(images: Images) -> dict[str, Values]:
    """Returns every statistic that `log_ratio` compares, by its name in `TEXTURES`."""
    octaves = octave_energies(images, OCTAVES).unbind(1)
    values = (gradient_energy(images), *octaves, local_contrast(images))
    return dict(zip(TEXTURES, values, strict=True))


def gradient_energy(images: Images) -> Values:
    """Returns the mean of |grad x|^2 over pixels and channels, by differences of neighbours.

    4 s^2 for white noise of deviation s, and a^2 + b^2 on a ramp of a a column and b a row.
    """
    across, down = images.diff(dim=-1), images.diff(dim=-2)
    return across.square().mean((1, 2, 3)) + down.square().mean((1, 2, 3))


def octave_energies(images: Images, count: int) -> Float64[Tensor, "samples octaves"]:
    """Returns the variance in each of the `count` finest octaves, the finest first.

    By the orthonormal cosine transform, which continues an image by its mirror image: a Fourier
    transform would have one edge continue at the other, and count the step between them as
    texture. With frequencies f = max(k / height, l / width) of half a cycle a pixel, octave b has
    2^-(b + 1) <= f < 2^-b. White noise of deviation s has 3 s^2 / 4^(b + 1) there.

    Raises:
        ValueError: If the image is too small to have that many octaves.
    """
    height, width = images.shape[-2:]
    if min(height, width) < 2**count:
        raise ValueError(
            f"{count} octaves need images of at least {2**count} px a side, got {height} x {width}."
        )
    coefficients = _cosines(height, images) @ images @ _cosines(width, images).mT
    energies = coefficients.square().mean(1) / (height * width)
    down = torch.arange(height, device=images.device) / height
    across = torch.arange(width, device=images.device) / width
    frequencies = torch.maximum(down[:, None], across)
    bands = [
        (frequencies >= 2.0 ** -(octave + 1)) & (frequencies < 2.0**-octave)
        for octave in range(count)
    ]
    return torch.stack([energies[:, band].sum(-1) for band in bands], dim=1)


def local_contrast(images: Images) -> Values:
    """Returns the mean standard deviation within squares of 4 x 4 px, over squares and channels.

    What is left of a last column or row of squares that are not whole plays no part.

    Raises:
        ValueError: If there is no whole square.
    """
    if min(images.shape[-2:]) < BLOCK:
        raise ValueError(
            f"local contrast needs images of at least {BLOCK} px a side, got "
            f"{images.shape[-2]} x {images.shape[-1]}."
        )
    blocks = images.unfold(-2, BLOCK, BLOCK).unfold(-2, BLOCK, BLOCK).flatten(-2)
    return blocks.std(-1, correction=0).mean((1, 2, 3))


def log_ratio(made: Values, given: Values) -> Values:
    """Returns log2(made / given): 1 for twice as much, -1 for half; below `FAINTEST` all is one.

    >>> log_ratio(torch.tensor([8.0, 0.5]).double(), torch.tensor([2.0, 0.1]).double()).tolist()
    [2.0, 0.0]
    """
    return (made.clamp(min=FAINTEST) / given.clamp(min=FAINTEST)).log2()


def colour_distance(made: Images, given: Others) -> Values:
    """Returns the distance between the mean colours of two images of any sizes."""
    return (made.mean((2, 3)) - given.mean((2, 3))).square().sum(1).sqrt()


def colour_spread_distance(made: Images, given: Others) -> Values:
    """Returns the distance between the covariances of the colours of two images' pixels.

    The 2-Wasserstein distance of the Gaussians with these covariances and equal means, so that
    with `colour_distance` at right angles to it, it is that of the Gaussians fitted to both:
    tr(A + B - 2 (A^1/2 B A^1/2)^1/2) is its square.
    """
    first, second = _covariances(made), _covariances(given)
    values, modes = torch.linalg.eigh(first)
    root = modes * values.clamp(min=0).sqrt()[:, None] @ modes.mT
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum(-1)
    traces = (first + second).diagonal(dim1=-2, dim2=-1).sum(-1)
    return (traces - 2 * cross).clamp(min=0).sqrt()


def _cosines(size: int, like: Tensor) -> Float64[Tensor, "size size"]:
    """Returns the orthonormal cosine transform of one axis (DCT-II)."""
    place = torch.arange(size, dtype=like.dtype, device=like.device)
    waves = torch.cos(math.pi / size * place[:, None] * (place + 0.5)) * math.sqrt(2 / size)
    waves[0] /= math.sqrt(2)
    return waves


def _covariances(images: Images) -> Float64[Tensor, "samples channels channels"]:
    pixels = images.flatten(2)
    offsets = pixels - pixels.mean(-1, keepdim=True)
    return offsets @ offsets.mT / pixels.shape[-1]
