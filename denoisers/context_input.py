"""How what a conditional U-Net is told enters it: tokens by attention, the rest as channels.

References:
    [T] Trio Diffusion (v2): autoregressive infinite image generation with diffusion models,
    "Global context via vision backbones"
    [PE] Vaswani et al.: Attention Is All You Need, 2017, Sec. 3.5. arXiv:1706.03762
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from denoisers.conditions import Conditions, Tokens
from denoisers.contract import Image

__all__ = [
    "ContextTokens",
    "CrossAttention",
    "PlaceEmbedding",
    "Position",
    "extra_channels",
    "zeroed",
]

Position = Literal["none", "block", "coordinates"]


class CrossAttention(nn.Module):
    """Residual attention of the pixels of a coarse feature map to tokens, behind a learned gate.

    [T]: the output is multiplied by tanh(gate). Like every block of the network this one begins as
    the identity, its last layer being 0. That layer's gradient is in proportion to tanh(gate) and
    the gate's to that layer: where both begin at 0 neither ever moves. [T] describes such a
    starvation, without saying how its last layer began.

    Args:
        channels: Channels of the feature map.
        features: Width of the tokens.
        head_channels: Channels of an attention head.
        norm: Normalises the feature map.
        gate: The gate at the beginning.
    """

    def __init__(
        self, channels: int, features: int, head_channels: int, *, norm: nn.Module, gate: float
    ) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.norm = norm
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Linear(features, 2 * channels)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))
        self.gate = nn.Parameter(torch.tensor(float(gate)))

    @override
    def forward(self, x: Image, tokens: Tokens) -> Image:
        query = self.query(self.norm(x)).flatten(2).unflatten(1, (self.heads, -1)).mT
        key, value = self.key_value(tokens).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        mixed = mixed.mT.flatten(1, 2).unflatten(2, x.shape[-2:])
        return x + self.gate.tanh() * self.out(mixed)


class ContextTokens(nn.Module):
    """Tokens as the network attends to them: projected, placed, or learned where none are given.

    Args:
        features: Width of the backbone's tokens.
        width: Width of what comes out.
        grid: Rows and columns of the tokens after the first, which then get sinusoidal codes of
            their place ([PE], half of the width for each axis); None for no codes.
    """

    codes: Tensor | None

    def __init__(self, features: int, width: int, grid: Sequence[int] | None) -> None:
        super().__init__()
        self.features = features
        self.project = nn.Linear(features, width)
        self.unconditional = nn.Parameter(0.02 * torch.randn(1, 1, width))
        codes = None if grid is None else grid_codes(grid[0], grid[1], width)
        self.register_buffer("codes", codes, persistent=False)

    @override
    def forward(
        self, conditions: Conditions, batch: int
    ) -> Float[Tensor, "rows context_tokens width"]:
        nothing = self.unconditional.expand(batch, -1, -1)
        if conditions.tokens is None:
            return nothing
        self._validate_fit(conditions.tokens)
        tokens = self.project(conditions.tokens)
        if self.codes is not None and tokens.shape[1] > 1:
            tokens = tokens + F.pad(self.codes, (0, 0, 1, 0))
        if conditions.given is None:
            return tokens
        return torch.where(conditions.given[:, None, None], tokens, nothing)

    def _validate_fit(self, tokens: Tokens) -> None:
        if tokens.shape[-1] != self.features:
            raise ValueError(
                f"this denoiser takes tokens of {self.features} features, got "
                f"{tokens.shape[-1]}: give those of the backbone that it was trained with."
            )
        if self.codes is not None and tokens.shape[1] not in (1, 1 + len(self.codes)):
            raise ValueError(
                f"this denoiser knows the places of {len(self.codes)} tokens after the first, got "
                f"{tokens.shape[1] - 1}: give those of the backbone that it was trained with."
            )


class PlaceEmbedding(nn.Module):
    """Embeds where a window lies; 0 at first.

    Args:
        features: Width of the embedding.
        frequencies: Sines and cosines of each edge, of half a period over the canvas and up.
    """

    octaves: Tensor

    def __init__(self, features: int, frequencies: int = 6) -> None:
        super().__init__()
        octaves = torch.pi / 2 * 2.0 ** torch.arange(frequencies)
        self.register_buffer("octaves", octaves, persistent=False)
        self.hidden = nn.Linear(8 * frequencies, features)
        self.out = zeroed(nn.Linear(features, features))

    @override
    def forward(self, place: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch features 1 1"]:
        phase = (place[..., None] * self.octaves).flatten(1)
        hidden = F.silu(self.hidden(torch.cat([phase.cos(), phase.sin()], dim=1)))
        return self.out(hidden)[..., None, None]


def zeroed(layer: nn.Module) -> nn.Module:
    """Returns the layer, all of its parameters set to 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def grid_codes(rows: int, columns: int, width: int) -> Float[Tensor, "places width"]:
    """Returns the codes of [PE] of the rows, then of the columns, of a grid, row by row."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.cat([_codes(row.flatten(), width // 2), _codes(column.flatten(), width // 2)], 1)


def _codes(place: Tensor, width: int) -> Tensor:
    frequencies = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    phase = place[:, None] * frequencies
    return torch.stack([phase.sin(), phase.cos()], dim=2).flatten(1)


def extra_channels(
    conditions: Conditions, x: Image, *, guide: bool, known: bool, coordinates: bool
) -> list[Tensor]:
    """Returns what comes in as channels beside the image; 0 for what is not told.

    Args:
        conditions: What is told.
        x: The image.
        guide: Whether the network takes a guide: its channels and how much it says.
        known: Whether it takes a mask of known pixels.
        coordinates: Whether it takes the row and the column of every pixel on the canvas.
    """
    extra: list[Tensor] = []
    empty = x.new_zeros(len(x), 1, *x.shape[-2:])
    if guide and conditions.guide is not None and conditions.guided is not None:
        extra += [conditions.guide * conditions.guided, conditions.guided]
    elif guide:
        extra += [torch.zeros_like(x), empty]
    if known:
        extra.append(empty if conditions.known is None else conditions.known)
    if coordinates:
        # The denoiser has refused windows without a place.
        extra.append(pixel_coordinates(conditions.place, *x.shape[-2:]))  # type: ignore[arg-type]
    return [channels.to(x.dtype) for channels in extra]


def pixel_coordinates(
    place: Float[Tensor, "batch 4"], height: int, width: int
) -> Float[Tensor, "batch 2 {height} {width}"]:
    """Returns the row and the column of the middle of every pixel, as shares of the canvas."""
    top, left, bottom, right = place.view(-1, 4, 1, 1).unbind(1)
    down = ((torch.arange(height, device=place.device) + 0.5) / height).view(1, -1, 1)
    across = ((torch.arange(width, device=place.device) + 0.5) / width).view(1, 1, -1)
    rows = (top + (bottom - top) * down).expand(-1, -1, width)
    columns = (left + (right - left) * across).expand(-1, height, -1)
    return torch.stack([rows, columns], dim=1)
