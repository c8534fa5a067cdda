"""Pictures larger than the patches that a denoiser was trained on.

    import patchcanvas as pc

    model = pc.load_denoiser("landscapes")
    images = pc.generate(model, "diffcollage", height=32, width=192, seed=0)
    images[0].save("landscape.png")

A name is imported when it is first used: importing this package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from patchcanvas.api import LoadedDenoiser, generate, load_denoiser, outpaint, strategy
    from patchcanvas.generated_image import GeneratedImage
    from sampling.diffusers_solver import Diffusers
    from sampling.noise import CanvasNoise
    from sampling.solvers import Euler, Heun, Solver
    from strategies.async_patch import AsyncPatch
    from strategies.base import Strategy
    from strategies.canvas import Canvas, Known
    from strategies.diffcollage import DiffCollage
    from strategies.direct import Direct
    from strategies.lshape_repaint import LShapeRepaint
    from strategies.multidiffusion import MultiDiffusion
    from strategies.naive import Naive
    from strategies.parallel import ParallelStrategy
    from strategies.reconstruction import Reconstruction
    from strategies.replacement import Replacement
    from strategies.sequential import SequentialStrategy

    # Of benchmarks.evaluation, which stands on this package and is not imported by it.
    evaluate: Callable[..., Any]
    fid_plus: Callable[..., Any]

__all__ = [
    "AsyncPatch",
    "Canvas",
    "CanvasNoise",
    "DiffCollage",
    "Diffusers",
    "Direct",
    "Euler",
    "GeneratedImage",
    "Heun",
    "Known",
    "LShapeRepaint",
    "LoadedDenoiser",
    "MultiDiffusion",
    "Naive",
    "ParallelStrategy",
    "Reconstruction",
    "Replacement",
    "SequentialStrategy",
    "Solver",
    "Strategy",
    "evaluate",
    "fid_plus",
    "generate",
    "load_denoiser",
    "outpaint",
    "strategy",
]

# Where the names lie, by module.
PLACES = {
    "benchmarks.evaluation": "evaluate fid_plus",
    "patchcanvas.api": "LoadedDenoiser generate load_denoiser outpaint strategy",
    "patchcanvas.generated_image": "GeneratedImage",
    "sampling.diffusers_solver": "Diffusers",
    "sampling.noise": "CanvasNoise",
    "sampling.solvers": "Euler Heun Solver",
    "strategies.async_patch": "AsyncPatch",
    "strategies.base": "Strategy",
    "strategies.canvas": "Canvas Known",
    "strategies.diffcollage": "DiffCollage",
    "strategies.direct": "Direct",
    "strategies.lshape_repaint": "LShapeRepaint",
    "strategies.multidiffusion": "MultiDiffusion",
    "strategies.naive": "Naive",
    "strategies.parallel": "ParallelStrategy",
    "strategies.reconstruction": "Reconstruction",
    "strategies.replacement": "Replacement",
    "strategies.sequential": "SequentialStrategy",
}


def __getattr__(name: str) -> Any:
    for module, names in PLACES.items():
        if name in names.split():
            found = getattr(importlib.import_module(module), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
