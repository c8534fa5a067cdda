"""The types and shapes that the suite runs under are checked: what conftest.py puts there bites."""

import beartype
import jaxtyping
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from torch import Tensor

from denoisers.gaussian import GaussianField
from strategies.region_graph import Rectangle, intersections


@jaxtyping.jaxtyped(typechecker=beartype.beartype)
def added(
    x: Float[Tensor, " length"], y: Float[Tensor, " length"], cut: int = 0
) -> Float[Tensor, " length"]:
    return (x + y)[cut:]


def test_axes_of_one_name_are_of_one_length_within_a_call():
    assert len(added(torch.zeros(3), torch.zeros(3))) == 3
    assert len(added(torch.zeros(4), torch.zeros(4))) == 4
    with pytest.raises(BeartypeCallHintViolation):
        added(torch.zeros(3), torch.zeros(1))  # torch itself would broadcast
    with pytest.raises(BeartypeCallHintViolation):
        added(torch.zeros(3), torch.zeros(3), cut=1)
    with pytest.raises(BeartypeCallHintViolation):
        added(torch.zeros(3), torch.zeros(3), cut=0.0)


@jaxtyping.jaxtyped(typechecker=beartype.beartype)
def zeros(length: int, made: int) -> Float[Tensor, " {length}"]:
    return torch.zeros(made)


def test_axes_may_be_named_by_arguments():
    assert len(zeros(3, 3)) == 3
    with pytest.raises(TypeError):
        zeros(3, 4)


def test_what_is_imported_is_checked():
    with pytest.raises(BeartypeCallHintViolation):
        intersections(Rectangle(0, 0, 8, 8), Rectangle(0, 4, 8, 8), canvas=None)
    with pytest.raises(BeartypeCallHintViolation):
        GaussianField().sample(torch.zeros(4, 4))


def test_checks_can_be_turned_off(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    assert len(added(torch.zeros(3), torch.zeros(1))) == 3
