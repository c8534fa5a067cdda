"""A canvas in pixels by any strategy on latents: known pixels go in, pixels come out.

The strategy runs on a canvas as many times smaller as the autoencoder shrinks images, on the next
whole number of latent pixels, and what it makes is decoded tile by tile. A loop of latents is
decoded as the loop that it is.

Given pixels come back bit by bit, but an autoencoder does not give back what it was given: where
they meet what was made there would be a step. What the decoded image lacks on the given side is
therefore added on the other side too, less and less with the distance.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from denoisers.contract import Image, PatchDenoiser
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Borders, Canvas, Known
from strategies.tile_by_tile import tiled

__all__ = ["Decoding", "ImageCodec", "blended", "on_latents"]

# Pixels of the canvas for each of a latent's over which a difference at a border fades away.
REACH = 2


@runtime_checkable
class ImageCodec(Protocol):
    """Between images in [-1, 1] and latents.

    Attributes:
        scale: Pixels of the image along a side of a pixel of the latents.
        channels: Channels of the images.
        latent_channels: Channels of the latents.
    """

    scale: int
    channels: int
    latent_channels: int

    def encode(self, images: Image) -> Image:
        """Returns latents."""
        ...

    def decode(self, latents: Image) -> Image:
        """Returns images."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoding:
    """How much is encoded and decoded at once; memory grows with the tile, not with the canvas.

    Args:
        tile: Most latent pixels along a side of a tile; None for the side of the denoiser's patch,
            which is what the autoencoder was trained on.
        overlap: Least that neighbouring tiles share, in latent pixels; None for a quarter of a
            tile.
    """

    tile: int | None = None
    overlap: int | None = None

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile < 2:
            raise ValueError(f"tile must be at least 2 latent pixels, got {self.tile}.")
        if self.overlap is not None and not 0 < self.overlap < (self.tile or self.overlap + 1):
            raise ValueError(
                f"overlap must be above 0 and below the tile, got {self.overlap} of {self.tile}."
            )

    def sizes(self, patch_size: int) -> tuple[int, int]:
        """Returns tile and overlap, in latent pixels."""
        tile = self.tile or max(2, patch_size)
        return tile, self.overlap or max(1, tile // 4)


WHOLE_PATCHES = Decoding()


def on_latents(
    strategy: Strategy, codec: ImageCodec, decoding: Decoding = WHOLE_PATCHES
) -> Strategy:
    """Returns a strategy whose canvas is in pixels, while the given one works on latents.

    Args:
        strategy: What makes the latents.
        codec: Encodes and decodes.
        decoding: How much is decoded at once.
    """
    return OnLatents(inner=strategy, codec=codec, decoding=decoding, solver=strategy.solver)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnLatents(Strategy):
    """Makes latents with a strategy and decodes them.

    Lengths along an axis that wraps must be a whole number of latent pixels, and then what the
    strategy asks of a loop.

    Args:
        inner: What makes the latents.
        codec: Encodes and decodes.
        decoding: How much is decoded at once.
    """

    inner: Strategy
    codec: ImageCodec
    decoding: Decoding = WHOLE_PATCHES

    @property
    @override
    def core(self) -> Strategy:
        return self.inner.core

    @override
    def denoised(self, canvas: Canvas) -> Canvas:
        """Returns the canvas of latents.

        Raises:
            ValueError: If a loop is no whole number of latent pixels.
        """
        scale = self.codec.scale
        for name in ("height", "width"):
            length, wraps = getattr(canvas, name), getattr(canvas, f"wrap_{name}")
            if wraps and length % scale:
                below = length // scale * scale
                raise ValueError(
                    f"the {name} of a loop must be a multiple of {scale} px, which are one latent "
                    f"pixel, got {length} px; the nearest are {below} and {below + scale} px."
                )
        return dataclasses.replace(
            canvas,
            height=-(-canvas.height // scale),
            width=-(-canvas.width // scale),
            channels=self.codec.latent_channels,
        )

    @override
    def generate(
        self,
        denoiser: PatchDenoiser,
        canvas: Canvas,
        noise: CanvasNoise,
        *,
        known: Known | None = None,
        context: Any = None,
    ) -> Image:
        small, given = self.denoised(canvas), None
        if known is not None:
            known.refuse_misfits(canvas, len(noise))
            given = self._encoded(known, small, denoiser)
        with self._of_latents():
            latents = self.inner.generate(denoiser, small, noise, known=given, context=context)
        tile, overlap = self.decoding.sizes(denoiser.patch_size)
        image = tiled(
            self.codec.decode,
            latents,
            scale=self.codec.scale,
            tile=tile,
            overlap=overlap,
            wraps=(canvas.wrap_height, canvas.wrap_width),
        )[..., : canvas.height, : canvas.width]
        if known is None:
            return image
        wraps = canvas.wrap_height, canvas.wrap_width
        return blended(known, image, reach=REACH * self.codec.scale, wraps=wraps)

    @override
    def borders(self, denoiser: PatchDenoiser, canvas: Canvas) -> Borders:
        with self._of_latents():
            borders = self.inner.borders(denoiser, self.denoised(canvas))
        scale = self.codec.scale
        return Borders(
            tuple(scale * row for row in borders.rows if scale * row < canvas.height),
            tuple(scale * column for column in borders.columns if scale * column < canvas.width),
        )

    @override
    def starts_at(self, denoiser: PatchDenoiser, canvas: Canvas) -> int:
        return self.codec.scale * self.inner.starts_at(denoiser, self.denoised(canvas))

    @override
    def overlap_of(self, denoiser: PatchDenoiser, window: int) -> int:
        return self.inner.overlap_of(denoiser, window)

    @override
    def window_of(self, denoiser: PatchDenoiser) -> tuple[int, int]:
        """Returns the height and width of the windows, in latent pixels."""
        return self.inner.window_of(denoiser)

    def _encoded(self, known: Known, small: Canvas, denoiser: PatchDenoiser) -> Known:
        """Returns latents of which those are given whose pixels are all given."""
        scale = self.codec.scale
        whole = known.padded(scale * small.height, scale * small.width)
        tile, overlap = (scale * size for size in self.decoding.sizes(denoiser.patch_size))
        latents = tiled(
            self.codec.encode,
            extended(whole),
            scale=Fraction(1, scale),
            tile=tile,
            overlap=overlap,
            wraps=(small.wrap_height, small.wrap_width),
            cell=scale,
        )
        # A cell that reaches beyond the canvas is given if all of it that lies inside is.
        beyond = torch.ones_like(whole.mask)
        beyond[..., : known.mask.shape[-2], : known.mask.shape[-1]] = known.mask
        missing = (~beyond.all(1, keepdim=True)).to(latents.dtype)
        return Known(latents, F.max_pool2d(missing, scale) == 0)

    @contextmanager
    def _of_latents(self) -> Iterator[None]:
        """Says of lengths in errors what they are."""
        try:
            yield
        except ValueError as error:
            raise type(error)(
                f"{error} (Lengths are in latent pixels, {self.codec.scale} px of the canvas each.)"
            ) from error


def blended(
    known: Known, image: Image, *, reach: int, wraps: tuple[bool, bool] = (False, False)
) -> Image:
    """Returns the image with given pixels in place, and no step where they meet the others.

    Next to given pixels the others are moved by what the image lacks there, in the mean over
    `reach` px, and less and less with the distance. Those of which nothing is given within three
    times `reach` stay as they are.

    Args:
        known: The given pixels.
        image: What was made, given pixels included.
        reach: Standard deviation of that fading, in pixels.
        wraps: Whether the bottom continues at the top, and the right edge at the left.
    """
    mask = known.mask.all(1, keepdim=True).to(image.dtype).expand(len(image), 1, -1, -1)
    lacking = (known.y - image).where(mask > 0, 0.0)
    weight, total = _smooth(mask, reach, wraps), _smooth(lacking, reach, wraps)
    # On a straight border the weight is 1/2: all of the mean is added there, none far away.
    moved = image + total / weight.clamp(min=1e-6) * (2 * weight).clamp(max=1)
    return known.pasted(moved.where(weight > 0, image))


def extended(known: Known) -> Image:
    """Returns the given pixels, and between them what is nearest, ever more coarsely.

    For encoders, which look beyond the given pixels: what they see there must not be an edge.
    """
    weight = known.mask.all(1, keepdim=True).to(known.y.dtype).expand(len(known.y), 1, -1, -1)
    return _extended(known.y.where(weight > 0, 0.0), weight)


def _extended(image: Image, weight: Tensor) -> Image:
    """Fills in where the weight is 0 from the same image at half the size, as that is filled in."""
    if bool((weight > 0).all()) or max(image.shape[-2:]) == 1:
        return image
    pad = (0, image.shape[-1] % 2, 0, image.shape[-2] % 2)
    share = F.avg_pool2d(F.pad(weight, pad), 2)
    means = F.avg_pool2d(F.pad(image * weight, pad), 2) / share.clamp(min=1e-6)
    coarse = _extended(means, (share > 0).to(weight.dtype))
    size = tuple(image.shape[-2:])
    filled = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return image.where(weight > 0, filled[..., : size[0], : size[1]])


def _smooth(image: Tensor, deviation: int, wraps: tuple[bool, bool]) -> Tensor:
    """Returns the image under a Gaussian cut at three deviations, with nothing beyond its edges."""
    radius = 3 * deviation
    place = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-(place / deviation).square() / 2)
    kernel = kernel / kernel.sum()
    channels = image.shape[1]
    for axis, shape in ((-2, (1, 1, -1, 1)), (-1, (1, 1, 1, -1))):
        length = image.shape[axis]
        index = torch.arange(-radius, length + radius, device=image.device)
        inside = (index >= 0) & (index < length) | wraps[axis]
        image = image.index_select(axis, index % length)
        image = image * inside.to(image.dtype).view(shape)
        image = F.conv2d(image, kernel.view(shape).expand(channels, -1, -1, -1), groups=channels)
    return image
