"""Noise, levels and losses are float32 whatever type the Trainer gives the weights."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = ["exact_pixels", "in_float32"]

P = ParamSpec("P")
R = TypeVar("R")


def in_float32(step: Callable[P, R]) -> Callable[P, R]:
    """Returns a step in which new tensors are float32.

    `precision=bf16-true` makes bfloat16 the default type of new tensors, random ones included: of
    eight bits, a level has an error of 0.4 % and a uniform number can be 1.
    """

    @functools.wraps(step)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            return step(*args, **kwargs)
        finally:
            torch.set_default_dtype(before)

    return wrapped


def exact_pixels(batch: Tensor) -> Tensor:
    """Returns images of 8 bits in [-1, 1] in float32 at least, as they were before the Trainer.

    With half precision weights it rounds what it serves, by less than half a step of 8 bits.
    """
    if torch.finfo(batch.dtype).bits >= 32:
        return batch
    return ((batch.float() + 1) * 127.5).round() / 127.5 - 1
