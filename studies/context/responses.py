"""How much a canvas moves when other tokens are given: from other images, or from other words.

[T] reports that "blue", "red" and "cat" give nearly identical outputs where images do not.

References:
    [T] Trio Diffusion (v2), "CLIP text conditioning"
"""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from denoisers.conditions import Tokens
from denoisers.contract import PatchDenoiser
from sampling.noise import CanvasNoise
from strategies.base import Strategy
from strategies.canvas import Canvas
from strategies.context import CanvasContext

__all__ = ["response"]


@torch.no_grad()
def response(
    strategy: Strategy, denoiser: PatchDenoiser, canvas: Canvas, tokens: Tokens, *, seed: int
) -> float:
    """Returns the root mean square difference of a pixel between canvases of different tokens.

    The canvases begin with the same noise; the mean is over all pairs of them. Images in [-1, 1].
    They are made where the tokens lie.

    Raises:
        ValueError: If there are fewer than two.
    """
    if len(tokens) < 2:
        raise ValueError(f"a response needs at least two rows of tokens, got {len(tokens)}.")
    noise = CanvasNoise(seed, [0], device=tokens.device)
    images = [
        strategy.generate(denoiser, canvas, noise, context=CanvasContext(tokens=row[None]))
        for row in tokens
    ]
    return mean_difference(torch.cat(images))


def mean_difference(images: Float[Tensor, "n channels height width"]) -> float:
    """Returns the root of the mean squared difference over pairs, channels and pixels."""
    pairs = itertools.combinations(images, 2)
    squares = [(first - second).square().mean() for first, second in pairs]
    return torch.stack(squares).mean().sqrt().item()
