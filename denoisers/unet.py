"""A fully convolutional U-Net that is told the noise level at every pixel.

The noise level enters as a spatial field through feature-wise affine modulation (FiLM, Perez et
al. 2018, arXiv:1709.07871) in every block. Where one level holds for a whole image the field is
one pixel large and broadcasts, so that ordinary diffusion pays nothing for the generality.
Normalisation is over channels, pixel by pixel: what the network computes at a pixel depends on
the canvas size through attention alone, and regions of different noise levels do not share
statistics.
"""

from collections.abc import Sequence
from typing import Any, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from denoisers.conditions import Conditions, Taken
from denoisers.context_input import (
    ContextTokens,
    CrossAttention,
    PlaceEmbedding,
    Position,
    extra_channels,
    zeroed,
)
from denoisers.contract import Image

__all__ = ["UNet"]

Field = Float[Tensor, "#batch features #height #width"]
NoiseField = Float[Tensor, "#batch 1 #height #width"]
Attended = Float[Tensor, "batch context_tokens token_width"]


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

    frequencies: Tensor

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
        # Every block starts as the identity.
        self.conv_out = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

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
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    @override
    def forward(self, x: Image) -> Image:
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1))
        query, key, value = qkv.transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(mixed.transpose(-1, -2).flatten(1, 2).unflatten(2, x.shape[-2:]))


class Level(nn.Module):
    """The blocks of one resolution, on one side of the U."""

    def __init__(
        self,
        channels: int,
        features: int,
        *,
        blocks: int,
        head_channels: int,
        dropout: float,
        token_width: int,
        gate: float,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(channels, features, dropout) for _ in range(blocks))
        self.attentions = nn.ModuleList(
            SelfAttention(channels, head_channels) if head_channels else nn.Identity()
            for _ in range(blocks)
        )
        attending = blocks if head_channels and token_width else 0
        self.contexts = nn.ModuleList(
            CrossAttention(
                channels, token_width, head_channels, norm=ChannelNorm(channels), gate=gate
            )
            for _ in range(attending)
        )

    @override
    def forward(self, x: Image, field: Field, tokens: Attended | None) -> Image:
        for index, (block, attention) in enumerate(zip(self.blocks, self.attentions, strict=True)):
            x = attention(block(x, field))
            if self.contexts:
                x = self.contexts[index](x, tokens)
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
        token_features: Width of the tokens that every attending block attends to; 0 for none.
        token_grid: Rows and columns of the tokens after the first, to which sinusoidal codes of
            their places are added; None for no codes.
        gate: Where the gates of the attention to tokens begin; see
            `denoisers.context_input.CrossAttention`.
        position: How the network is told where a window lies on its canvas: not at all, by an
            embedding of the window's place, or by two channels, row and column of every pixel.
        guide: Whether a coarse picture of the window comes in, and a channel of how much it says.
        known_channel: Whether the mask of known pixels comes in as a channel.
        modes: Whether the network makes plans of whole canvases too, and is told when.
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
        token_features: int = 0,
        token_grid: Sequence[int] | None = None,
        gate: float = 0.5,
        position: Position = "none",
        guide: bool = False,
        known_channel: bool = False,
        modes: bool = False,
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
        if position not in get_args(Position):
            raise ValueError(
                f"position must be one of {', '.join(get_args(Position))}, got {position!r}."
            )
        if token_features < 0 or (token_features and not attention_levels):
            raise ValueError(
                "token_features must be at least 0, and tokens need attention_levels of at least "
                f"1 to attend to them, got {token_features} and {attention_levels}."
            )
        if token_grid is not None and not (token_features and channels[-1] % 4 == 0):
            raise ValueError(
                "token_grid needs token_features, and a number of coarsest channels that is a "
                f"multiple of 4, got {token_features} and {channels[-1]}."
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
            "token_features": token_features,
            "token_grid": None if token_grid is None else list(token_grid),
            "gate": gate,
            "position": position,
            "guide": guide,
            "known_channel": known_channel,
            "modes": modes,
        }
        self.in_channels = in_channels
        self.multiple = patchify * 2 ** (len(channels) - 1)
        self.patchify = patchify
        self.level_channel = level_channel
        self.estimates_variance = variance_head
        taken: dict[Taken, bool] = {
            "tokens": token_features > 0,
            "guide": guide,
            "known": known_channel,
            "place": position != "none",
            "plan": modes,
        }
        self.takes: frozenset[Taken] = frozenset(name for name, takes in taken.items() if takes)
        self.token_features = token_features
        self.coordinates = position == "coordinates"
        width = channels[-1] if token_features else 0
        self.tokens = ContextTokens(token_features, width, token_grid) if token_features else None
        self.place = PlaceEmbedding(features) if position == "block" else None
        self.mode = zeroed(nn.Embedding(2, features)) if modes else None
        self.embedding = NoiseEmbedding(features)
        # What start_from copies lies first, what is new behind it.
        channels_in = in_channels + level_channel
        channels_in += guide * (in_channels + 1) + known_channel + 2 * self.coordinates
        self.conv_in = nn.Conv2d(channels_in * patchify**2, channels[0], 3, padding=1)

        def level(index: int) -> Level:
            return Level(
                channels[index],
                features,
                blocks=blocks[index],
                head_channels=head_channels if attending[index] else 0,
                dropout=dropout,
                token_width=width,
                gate=gate,
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
        channels_out = (in_channels + variance_head) * patchify**2
        self.conv_out = zeroed(nn.Conv2d(channels[0], channels_out, 3, padding=1))

    @property
    def gates(self) -> dict[str, nn.Parameter]:
        """The gates of the attention to tokens, by the names of their blocks."""
        return {
            name.removesuffix(".gate").replace(".contexts", ""): parameter
            for name, parameter in self.named_parameters()
            if name.endswith(".gate")
        }

    @override
    def forward(
        self, x: Image, c_noise: NoiseField, conditions: Conditions | None = None
    ) -> Float[Tensor, "batch out_channels height width"]:
        conditions = conditions or Conditions()
        tokens = None if self.tokens is None else self.tokens(conditions, len(x))
        x = self._with_channels(x, c_noise, conditions)
        if c_noise.shape[-2:] != (1, 1):
            c_noise = c_noise.expand(-1, -1, *x.shape[-2:])
        fields = [self.embedding(level) for level in self._pyramid(c_noise)]
        fields = self._conditioned(fields, conditions)
        h = self.conv_in(F.pixel_unshuffle(x, self.patchify))
        skips = []
        for down, shrink, field in zip(self.down, self.shrink, fields[:-1], strict=True):
            h = down(h, field, tokens)
            skips.append(h)
            h = shrink(h)
        for level in self.middle:
            h = level(h, fields[-1], tokens)
        for index in reversed(range(len(self.up))):
            h = F.interpolate(self.grow[index](h), scale_factor=2.0)
            h = self.merge[index](torch.cat([h, skips[index]], dim=1))
            h = self.up[index](h, fields[index], tokens)
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(h))), self.patchify)

    def _with_channels(
        self, x: Image, c_noise: NoiseField, conditions: Conditions
    ) -> Float[Tensor, "batch in_channels height width"]:
        """Returns the image and all that comes in as channels beside it."""
        level = c_noise.to(x.dtype).expand(len(x), 1, *x.shape[-2:])
        extra = extra_channels(
            conditions,
            x,
            guide="guide" in self.takes,
            known="known" in self.takes,
            coordinates=self.coordinates,
        )
        return torch.cat([x, *([level] if self.level_channel else []), *extra], dim=1)

    def _conditioned(self, fields: list[Tensor], conditions: Conditions) -> list[Tensor]:
        """Adds what holds for a window as a whole to the fields of its levels."""
        if self.place is not None:
            place = self.place(conditions.place)
            fields = [field + place for field in fields]
        if self.mode is not None:
            # Not told is told that it is none: training tells it always.
            plan = fields[0].new_zeros(1) if conditions.plan is None else conditions.plan
            mode = self.mode(plan.long())[..., None, None]
            fields = [field + mode for field in fields]
        return fields

    def _pyramid(self, c_noise: NoiseField) -> list[Float[Tensor, "#batch 1 _ _"]]:
        """Returns the noise field at every resolution; a uniform one stays a single pixel."""
        levels = []
        for index in range(len(self.up) + 1):
            factor = self.patchify if index == 0 else 2
            if c_noise.shape[-2:] != (1, 1) and factor > 1:
                c_noise = F.avg_pool2d(c_noise, factor)
            levels.append(c_noise)
        return levels
