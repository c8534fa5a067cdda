"""A canvas in pixels by any strategy on latents: known pixels go in, pixels come out.

The strategy runs on a canvas as many times smaller as the autoencoder shrinks images, on the next
whole number of latent pixels, and what it makes is decoded tile by tile. A loop of latents is
decoded as the loop that it is.

Given pixels come back bit by bit, but an autoencoder does not give back what it was given: where
they meet what was made there would be a step. What the decoded image lacks on the given side is
therefore added on the other side too, less and less with the distance.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from denoisers.contract import Image, PatchDenoiser
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas, Known, WindowEdges
from strategies.tile_by_tile import tiled
from strategies.windows import Span

__all__ = ["Decoding", "ImageCodec", "blended", "on_latents"]

Latents = Float[Tensor, "batch latent_channels rows columns"]

# Pixels of the canvas for each of a latent's over which a difference at a border fades away.
REACH = 2


@runtime_checkable
class ImageCodec(Protocol):
    """Between images in [-1, 1] and latents."""

    @property
    def scale(self) -> int:
        """Pixels of the image along a side of a pixel of the latents."""

    @property
    def channels(self) -> int:
        """Channels of the images."""

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""

    def encode(self, images: Image) -> Latents:
        """Returns latents."""
        ...

    def decode(self, latents: Latents) -> Image:
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
        """Returns tile and overlap, in latent pixels.

        Raises:
            ValueError: If a tile of one patch is no larger than the overlap.
        """
        tile = self.tile or max(2, patch_size)
        overlap = self.overlap or max(1, tile // 4)
        if overlap >= tile:
            raise ValueError(f"overlap must be below the tile, got {overlap} of {tile}.")
        return tile, overlap


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
    def with_steps(self, num_steps: int) -> Strategy:
        return on_latents(self.inner.with_steps(num_steps), self.codec, self.decoding)

    @override
    def validate_denoiser(self, denoiser: PatchDenoiser) -> None:
        self.inner.validate_denoiser(denoiser)

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
                nearest = f"are {below} and {below + scale}" if below else f"is {scale}"
                raise ValueError(
                    f"the {name} of a loop must be a multiple of {scale} px, which are one latent "
                    f"pixel, got {length} px; the nearest {nearest} px."
                )
        return dataclasses.replace(
            canvas,
            height=-(-canvas.height // scale),
            width=-(-canvas.width // scale),
            channels=self.codec.latent_channels,
        )

    @override
    def validate_fit(
        self, denoiser: PatchDenoiser, canvas: Canvas, noise: CanvasNoise, known: Known | None
    ) -> None:
        if canvas.channels != self.codec.channels:
            raise ValueError(
                f"a canvas must have the autoencoder's {self.codec.channels} channels, got "
                f"{canvas.channels}."
            )
        self.decoding.sizes(denoiser.patch_size)
        self.inner.validate_fit(denoiser, self.denoised(canvas), noise, None)
        if known is not None:
            known.validate_fit(canvas, len(noise))
            # Refuses sizes, as the strategy would once the given pixels are encoded.
            self.window_edges(denoiser, canvas)

    @override
    @torch.no_grad()
    def generate(
        self,
        denoiser: PatchDenoiser,
        canvas: Canvas,
        noise: CanvasNoise,
        *,
        known: Known | None = None,
        context: Any = None,
    ) -> Image:
        self.validate_fit(denoiser, canvas, noise, known)
        small, given = self.denoised(canvas), None
        if known is not None:
            given = self._encoded(known, small, denoiser)
        with self._of_latents():
            latents = self.inner.generate(denoiser, small, noise, known=given, context=context)
        tile, overlap = self.decoding.sizes(denoiser.patch_size)
        scale, wraps = self.codec.scale, (canvas.wrap_height, canvas.wrap_width)
        image = tiled(
            self.codec.decode,
            latents,
            scale=scale,
            tile=tile,
            overlap=overlap,
            wraps=wraps,
            wanted=None if known is None else self._near_unknown(known, wraps),
        )[..., : canvas.height, : canvas.width]
        return image if known is None else blended(known, image, reach=REACH * scale, wraps=wraps)

    @override
    def window_edges(self, denoiser: PatchDenoiser, canvas: Canvas) -> WindowEdges:
        with self._of_latents():
            edges = self.inner.window_edges(denoiser, self.denoised(canvas))
        scale = self.codec.scale
        return WindowEdges(
            tuple(scale * row for row in edges.rows),
            tuple(scale * column for column in edges.columns),
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

    def _near_unknown(self, known: Known, wraps: tuple[bool, bool]) -> Callable[[Span, Span], bool]:
        """Returns whether a tile of latents has a part in an unknown pixel, decoded and blended."""
        scale, margin = self.codec.scale, 3 * REACH * self.codec.scale
        unknown = ~known.mask.all(1).all(0).cpu()

        def wanted(*spans: Span) -> bool:
            part = unknown
            for axis, (start, stop) in enumerate(spans):
                places = torch.arange(scale * start - margin, scale * stop + margin)
                length = unknown.shape[axis]
                places = places % length if wraps[axis] else places.clamp(0, length - 1).unique()
                part = part.index_select(axis, places)
            return bool(part.any())

        return wanted

    def _encoded(self, known: Known, small: Canvas, denoiser: PatchDenoiser) -> Known:
        """Returns latents of which those are given whose pixels are all given."""
        scale, wraps = self.codec.scale, (small.wrap_height, small.wrap_width)
        whole = known.padded(scale * small.height, scale * small.width)
        tile, overlap = (scale * size for size in self.decoding.sizes(denoiser.patch_size))
        latents = tiled(
            self.codec.encode,
            extended(whole, wraps=wraps),
            scale=Fraction(1, scale),
            tile=tile,
            overlap=overlap,
            wraps=wraps,
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
            if " px" not in str(error):
                raise
            raise type(error)(
                f"{error} (Lengths are in latent pixels, {self.codec.scale} px of the canvas each.)"
            ) from error


def blended(
    known: Known, image: Image, *, reach: int, wraps: tuple[bool, bool] = (False, False)
) -> Image:
    """Returns the image with given pixels in place, and no step where they meet the others.

    A pixel d px away from the nearest given one is moved by what the image lacks on given pixels
    about there, in the mean under a Gaussian of deviation `reach`, times exp(-d^2 / (2 reach^2)).
    Those of which nothing is given within three times `reach` stay as they are.

    Args:
        known: The given pixels.
        image: What was made, given pixels included.
        reach: Standard deviation of that fading, in pixels.
        wraps: Whether the bottom continues at the top, and the right edge at the left.
    """
    mask = known.mask.all(1, keepdim=True).to(image.dtype).expand(len(image), 1, -1, -1)
    lacking = (known.y - image).where(mask > 0, 0.0)
    weight, total = _smooth(mask, reach, wraps), _smooth(lacking, reach, wraps)
    moved = image + _nearness(mask, reach, wraps) * total / weight.clamp(min=1e-12)
    return known.pasted(moved.where(weight > 0, image))


def extended(known: Known, *, wraps: tuple[bool, bool] = (False, False)) -> Image:
    """Returns the given pixels, and between them what is nearest, ever more coarsely.

    For encoders, which look beyond the given pixels: what they see there must not be an edge.

    Args:
        known: The given pixels.
        wraps: Whether the bottom continues at the top, and the right edge at the left.
    """
    weight = known.mask.all(1, keepdim=True).to(known.y.dtype).expand(len(known.y), 1, -1, -1)
    return _extended(known.y.where(weight > 0, 0.0), weight, wraps)


def _extended(image: Image, weight: Tensor, wraps: tuple[bool, bool]) -> Image:
    """Fills in where the weight is 0 from the same image at half the size, as that is filled in."""
    if bool((weight > 0).all()) or max(image.shape[-2:]) == 1:
        return image
    share = _halved(weight, wraps)
    means = _halved(image, wraps) / share.clamp(min=1e-6)
    coarse = _extended(means, (share > 0).to(weight.dtype), wraps)
    filled = _doubled(coarse, wraps)[..., : image.shape[-2], : image.shape[-1]]
    return image.where(weight > 0, filled)


def _halved(image: Tensor, wraps: tuple[bool, bool]) -> Tensor:
    """Returns means over 4 x 4 px, which overlap, so that what is known spreads at every size."""
    even = F.pad(image, (0, image.shape[-1] % 2, 0, image.shape[-2] % 2))
    return F.avg_pool2d(_continued(even, 1, wraps), 4, stride=2)


def _doubled(image: Tensor, wraps: tuple[bool, bool]) -> Tensor:
    """Returns the image at twice its size."""
    larger = F.interpolate(
        _continued(image, 1, wraps, edges=True),
        scale_factor=2,
        mode="bilinear",
        align_corners=False,
    )
    return larger[..., 2:-2, 2:-2]


def _smooth(image: Tensor, deviation: int, wraps: tuple[bool, bool]) -> Tensor:
    """Returns the image under a Gaussian cut at three deviations, with nothing beyond its edges."""
    kernel = _bell(image, deviation)
    kernel = kernel / kernel.sum()
    image, channels = _continued(image, 3 * deviation, wraps), image.shape[1]
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        image = F.conv2d(image, kernel.view(shape).expand(channels, -1, -1, -1), groups=channels)
    return image


def _nearness(mask: Tensor, deviation: int, wraps: tuple[bool, bool]) -> Tensor:
    """Returns the same Gaussian of the distance to the nearest pixel of a mask of 0 and 1.

    It is 1 on that pixel. Squares of distances add up, so one axis comes after the other.
    """
    radius = 3 * deviation
    kernel = _bell(mask, deviation)
    mask = _continued(mask, radius, wraps)
    for axis in (-2, -1):
        length = mask.shape[axis] - 2 * radius
        shifted = (kernel[i] * mask.narrow(axis, i, length) for i in range(len(kernel)))
        mask = functools.reduce(torch.maximum, shifted)
    return mask


def _bell(like: Tensor, deviation: int) -> Float[Tensor, " pixels"]:
    """Returns a Gaussian up to three deviations on either side, 1 in the middle."""
    radius = 3 * deviation
    place = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    return torch.exp(-(place / deviation).square() / 2)


def _continued(
    image: Tensor, margin: int, wraps: tuple[bool, bool], *, edges: bool = False
) -> Tensor:
    """Returns the image with a margin: its other end where it wraps, elsewhere 0 or its edge."""
    for axis, wrap in zip((-2, -1), wraps, strict=True):
        length = image.shape[axis]
        index = torch.arange(-margin, length + margin, device=image.device)
        inside = index.clamp(0, length - 1)
        image = image.index_select(axis, index % length if wrap else inside)
        if not (wrap or edges):
            shape = (-1, 1) if axis == -2 else (-1,)
            image = image * (index == inside).to(image.dtype).view(shape)
    return image
