"""A fully convolutional U-Net that is told the noise level at every pixel.

The noise level enters as a spatial field through feature-wise affine modulation (FiLM, Perez et
al. 2018, arXiv:1709.07871) in every block. Where one level holds for a whole image the field is
one pixel large and broadcasts, so that ordinary diffusion pays nothing for the generality.
Normalisation is over channels, pixel by pixel: what the network computes at a pixel depends on
the canvas size through attention alone, and regions of different noise levels do not share
statistics.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from denoisers.contract import Image

__all__ = ["UNet"]

Field = Float[Tensor, "#batch features #height #width"]
NoiseField = Float[Tensor, "#batch 1 #height #width"]


class ChannelNorm(nn.Module):
    """Root-mean-square normalisation over channels, apart for every pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))

    @override
    def forward(self, x: Image) -> Image:
        return x * (x.square().mean(1, keepdim=True) + 1e-4).rsqrt() * self.gain


class NoiseEmbedding(nn.Module):
    """Fourier features of `c_noise`, then two 1 x 1 convolutions."""

    def __init__(self, features: int, frequencies: int = 16) -> None:
        super().__init__()
        # c_noise = ln(sigma) / 4 spans about [-1.6, 1.1]: from half a period to 16 over it.
        self.register_buffer("frequencies", torch.logspace(0, 5, frequencies, base=2.0))
        self.mlp = nn.Sequential(
            nn.Conv2d(2 * frequencies, features, 1), nn.SiLU(), nn.Conv2d(features, features, 1)
        )

    @override
    def forward(self, c_noise: NoiseField) -> Field:
        phase = c_noise * self.frequencies.view(1, -1, 1, 1)
        return F.silu(self.mlp(torch.cat([phase.cos(), phase.sin()], dim=1)))


class Block(nn.Module):
    """Residual block: two 3 x 3 convolutions, the second modulated by the noise level."""

    def __init__(self, channels: int, features: int, dropout: float) -> None:
        super().__init__()
        self.norm_in = ChannelNorm(channels)
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Conv2d(features, 2 * channels, 1)
        self.norm_out = ChannelNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        # Every block starts as the identity.
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    @override
    def forward(self, x: Image, field: Field) -> Image:
        scale, shift = self.film(field).chunk(2, dim=1)
        h = self.norm_out(self.conv_in(F.silu(self.norm_in(x))))
        h = torch.addcmul(shift, h, 1 + scale)
        return x + self.conv_out(self.dropout(F.silu(h)))


class SelfAttention(nn.Module):
    """Residual self-attention over all pixels of a coarse feature map."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.norm = ChannelNorm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    @override
    def forward(self, x: Image) -> Image:
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1))
        query, key, value = qkv.transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(mixed.transpose(-1, -2).flatten(1, 2).unflatten(2, x.shape[-2:]))


class Level(nn.Module):
    """The blocks of one resolution, on one side of the U."""

    def __init__(
        self, channels: int, features: int, *, blocks: int, head_channels: int, dropout: float
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(channels, features, dropout) for _ in range(blocks))
        self.attentions = nn.ModuleList(
            SelfAttention(channels, head_channels) if head_channels else nn.Identity()
            for _ in range(blocks)
        )

    @override
    def forward(self, x: Image, field: Field) -> Image:
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            x = attention(block(x, field))
        return x


class UNet(nn.Module):
    """The raw network F of [EDM] Eq. (7): (c_in x_t, c_noise) to a residual of the same size.

    Args:
        in_channels: Channels of the images.
        channels: Width of each resolution, finest first; multiples of 32 are fast.
        blocks: Residual blocks of each resolution, on each side of the U.
        attention_levels: How many of the coarsest resolutions attend to themselves.
        head_channels: Channels of an attention head.
        patchify: Side of the pixel blocks that the finest resolution folds into channels; 1
            keeps every pixel, 2 quarters the cost of the finest resolution.
        features: Width of the noise-level embedding.
        dropout: Share of features dropped in training, in [0, 1).
        level_channel: Whether `c_noise` comes in as one more channel of the image, at every
            pixel: the embedding sees the mean of a block of `patchify` px, which does not tell
            which pixels of it are clean.
        variance_head: Whether one more channel comes out, the log-variance of the residual.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (64, 128),
        blocks: Sequence[int] = (2, 2),
        attention_levels: int = 1,
        head_channels: int = 32,
        patchify: int = 2,
        features: int = 64,
        dropout: float = 0.0,
        level_channel: bool = False,
        variance_head: bool = False,
    ) -> None:
        super().__init__()
        if not channels or len(channels) != len(blocks):
            raise ValueError(
                f"channels and blocks must name the same resolutions, got {channels} and {blocks}."
            )
        if not 0 <= attention_levels <= len(channels):
            raise ValueError(
                f"attention_levels must be in [0, {len(channels)}], got {attention_levels}."
            )
        attending = [level >= len(channels) - attention_levels for level in range(len(channels))]
        for width, attends in zip(channels, attending, strict=True):
            if attends and width % head_channels:
                raise ValueError(
                    f"channels that attend must be multiples of head_channels={head_channels}, "
                    f"got {width}."
                )
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "channels": list(channels),
            "blocks": list(blocks),
            "attention_levels": attention_levels,
            "head_channels": head_channels,
            "patchify": patchify,
            "features": features,
            "dropout": dropout,
            "level_channel": level_channel,
            "variance_head": variance_head,
        }
        self.in_channels = in_channels
        self.multiple = patchify * 2 ** (len(channels) - 1)
        self.patchify = patchify
        self.level_channel = level_channel
        self.estimates_variance = variance_head
        self.embedding = NoiseEmbedding(features)
        self.conv_in = nn.Conv2d(
            (in_channels + level_channel) * patchify**2, channels[0], 3, padding=1
        )

        def level(index: int) -> Level:
            return Level(
                channels[index],
                features,
                blocks=blocks[index],
                head_channels=head_channels if attending[index] else 0,
                dropout=dropout,
            )

        finer = range(len(channels) - 1)
        self.down = nn.ModuleList(level(index) for index in finer)
        self.shrink = nn.ModuleList(
            nn.Conv2d(channels[index], channels[index + 1], 3, stride=2, padding=1)
            for index in finer
        )
        self.middle = nn.ModuleList([level(len(channels) - 1), level(len(channels) - 1)])
        self.grow = nn.ModuleList(
            nn.Conv2d(channels[index + 1], channels[index], 1) for index in finer
        )
        self.merge = nn.ModuleList(
            nn.Conv2d(2 * channels[index], channels[index], 1) for index in finer
        )
        self.up = nn.ModuleList(level(index) for index in finer)
        self.norm_out = ChannelNorm(channels[0])
        self.conv_out = nn.Conv2d(
            channels[0], (in_channels + variance_head) * patchify**2, 3, padding=1
        )
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    @override
    def forward(
        self, x: Image, c_noise: NoiseField
    ) -> Float[Tensor, "batch out_channels height width"]:
        if self.level_channel:
            level = c_noise.to(x.dtype).expand(len(x), 1, *x.shape[-2:])
            x = torch.cat([x, level], dim=1)
        if c_noise.shape[-2:] != (1, 1):
            c_noise = c_noise.expand(-1, -1, *x.shape[-2:])
        fields = [self.embedding(level) for level in self._pyramid(c_noise)]
        h = self.conv_in(F.pixel_unshuffle(x, self.patchify))
        skips = []
        for down, shrink, field in zip(self.down, self.shrink, fields[:-1], strict=True):
            h = down(h, field)
            skips.append(h)
            h = shrink(h)
        for level in self.middle:
            h = level(h, fields[-1])
        for index in reversed(range(len(self.up))):
            h = F.interpolate(self.grow[index](h), scale_factor=2.0)
            h = self.merge[index](torch.cat([h, skips[index]], dim=1))
            h = self.up[index](h, fields[index])
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(h))), self.patchify)

    def _pyramid(self, c_noise: NoiseField) -> list[Float[Tensor, "#batch 1 _ _"]]:
        """Returns the noise field at every resolution; a uniform one stays a single pixel."""
        levels = []
        for index in range(len(self.up) + 1):
            factor = self.patchify if index == 0 else 2
            if c_noise.shape[-2:] != (1, 1) and factor > 1:
                c_noise = F.avg_pool2d(c_noise, factor)
            levels.append(c_noise)
        return levels
