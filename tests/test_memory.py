"""What a run holds on to: as much after 64 steps as after 8, whatever the strategy."""

import dataclasses
import gc

import pytest
import torch

from denoisers.gaussian import GaussianDenoiser, GaussianField
from sampling.diffusers_solver import Diffusers
from sampling.noise import CanvasNoise
from sampling.solvers import Euler, Heun
from strategies.async_patch import AsyncPatch
from strategies.base import Strategy
from strategies.canvas import Canvas, Known
from strategies.catalogue import names, strategy_class
from strategies.diffcollage import DiffCollage
from strategies.lshape_repaint import LShapeRepaint

# numpy 2 deprecates how diffusers hands it tensors; what it computes is not affected.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

# Settings that take other paths through the code than the defaults.
OPTIONS = [
    (AsyncPatch, {"guidance": 2.0, "clean_level": 0.01}),
    (AsyncPatch, {"schedule": "sequential"}),
    (AsyncPatch, {"schedule": "wavefront", "max_batch": 1}),
    (DiffCollage, {"known_method": "reconstruction", "max_batch": 3}),
    (LShapeRepaint, {"jump_length": 4, "jump_n_sample": 2}),
]


def is_image(thing: object) -> bool:
    """Whether it is larger than a level: a ladder of numbers may be there at once."""
    return issubclass(type(thing), torch.Tensor) and thing.ndim >= 4 and thing.numel() > 1


class Watching(GaussianDenoiser):
    """The exact denoiser; it counts the images that are alive whenever it is called."""

    def __init__(self) -> None:
        super().__init__(GaussianField(), patch_size=4)
        self.alive: list[int] = []

    def __call__(self, x_t, sigma, context=None):
        self.alive.append(sum(map(is_image, gc.get_objects())))
        return super().__call__(x_t, sigma, context)


def alive(strategy: Strategy) -> list[int]:
    """The images of a run with a corner known, canvases, windows, masks and maps, call by call.

    The garbage collector is off, so that what would only be waiting for it counts as well, and
    what was there before is frozen, which hides it.
    """
    denoiser = Watching()
    mask = torch.zeros(1, 1, 4, 6, dtype=torch.bool)
    mask[..., :2, :3] = True
    known = Known(torch.zeros(1, 1, 4, 6, dtype=torch.float64), mask)
    noise = CanvasNoise(0, [0, 1], dtype=torch.float64)
    gc.disable()
    gc.freeze()
    try:
        strategy.generate(denoiser, Canvas(height=4, width=6, channels=1), noise, known=known)
    finally:
        gc.unfreeze()
        gc.enable()
    return denoiser.alive


def assert_no_growth(few: list[int], many: list[int]) -> None:
    """Compares runs of 8 and of 64 steps, of which the first may also fill caches."""
    assert len(many) > 6 * len(few)
    # Canvases, windows, their noise, their levels, what is known: 6 to 16. One a step is 56 more.
    assert max(many) <= max(few) < 25


@pytest.mark.parametrize(
    ("strategy", "options"),
    [*((strategy_class(name), {}) for name in names()), *OPTIONS],
    ids=lambda value: value.__name__ if isinstance(value, type) else "-".join(value),
)
def test_memory_does_not_grow_with_the_number_of_steps(strategy, options):
    assert_no_growth(
        *(alive(strategy(solver=Euler(num_steps=steps), **options)) for steps in (8, 64))
    )


@pytest.mark.parametrize(
    "solver",
    [Heun(churn=1.0), *(Diffusers(scheduler=name) for name in ("dpmsolver++", "deis", "ddim"))],
    ids=lambda solver: getattr(solver, "scheduler", "heun"),
)
def test_no_solver_remembers_more_after_more_steps(solver):
    assert_no_growth(
        *(
            alive(DiffCollage(solver=dataclasses.replace(solver, num_steps=steps)))
            for steps in (8, 64)
        )
    )
