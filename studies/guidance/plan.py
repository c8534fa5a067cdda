"""Which rows there are: weights and weak branches, at equal evaluations and at equal steps."""

import dataclasses
from typing import Any

from benchmarks.inpainting.masks import MaskName
from benchmarks.inpainting.study import Trial, within
from benchmarks.metrics.texture import OCTAVES
from patchcanvas.cli.command_line import Command
from patchcanvas.cli.keys import chosen
from patchcanvas.model import Model
from strategies.base import Strategy
from strategies.canvas import Canvas
from studies.guidance.settings import BRANCHES

__all__ = ["EQUAL_STEPS", "MASK", "planned"]

MASK: MaskName = "half"
EQUAL_STEPS = "equal steps"
UNGUIDED = 1.0
SMALLEST = 2**OCTAVES


def planned(command: Command, model: Model, canvas: Canvas) -> list[Trial]:
    """Returns the trials: at equal evaluations first, then those at equal steps.

    Raises:
        ValueError: If the strategy has no guidance or not that weak branch, or the budget is too
            small, or the halves are not alike or too small for their texture.
    """
    if canvas.width % 2:
        raise ValueError(f"width must be even, so that halves are alike, got {canvas.width}.")
    if min(canvas.height, canvas.width // 2) < SMALLEST:
        raise ValueError(
            f"halves must be at least {SMALLEST} px a side, so that they have {OCTAVES} octaves, "
            f"got {canvas.height} x {canvas.width // 2} px."
        )
    settings = command.settings
    ((name, _),) = command.classes.items()
    strategy = command.build(name, solver=settings.solver)
    plain = within(settings, guided(strategy, UNGUIDED, None), model, canvas, MASK)
    trials, again = [], []
    for weight in settings.weights:
        for branch in _branches(weight, settings.weak_branches):
            own = guided(strategy, weight, branch)
            own = within(settings, own, model, canvas, MASK)
            label = row_name(weight, branch)
            trials.append(Trial(MASK, label, own))
            if settings.equal_steps and own.solver.num_steps != plain.solver.num_steps:
                same = own.with_steps(plain.solver.num_steps)
                again.append(Trial(MASK, f"{label}, {EQUAL_STEPS}", same))
    return trials + again


def guided(strategy: Strategy, weight: float, branch: str | None) -> Strategy:
    """Returns the strategy with guidance of that weight; None leaves the weak branch as it is.

    Raises:
        ValueError: If it has no such setting.
    """
    changes: dict[str, Any] = {"guidance": weight}
    if branch is not None:
        changes["weak_branch"] = branch
    known = {field.name for field in dataclasses.fields(strategy)}
    for name in changes:
        if name not in known:
            raise ValueError(
                f"strategy must have a setting {name!r}, which {type(strategy).__name__} has not."
            )
    return dataclasses.replace(strategy, **changes)


def row_name(weight: float, branch: str | None) -> str:
    """Returns what a row is called.

    >>> row_name(1.0, None), row_name(1.5, "pure_noise")
    ('w = 1', 'w = 1.5, pure_noise')
    """
    return f"w = {weight:g}" + ("" if branch is None else f", {branch}")


def _branches(weight: float, asked: str) -> list[str] | list[None]:
    """Returns the weak branches that a weight has: none where they play no part."""
    return [None] if weight == UNGUIDED else chosen("weak_branches", asked, BRANCHES)
