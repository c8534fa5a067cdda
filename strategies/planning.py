"""A coarse plan of the whole canvas first, then the canvas after it; and passes over what is done.

Both are ways to call any strategy more than once, and no strategy knows of them. A plan is a canvas
of its own, a pixel of which stands for a cell of the real one; the same denoiser makes it in its
plan mode, with the same strategy, and each window of the canvas is then guided by its region.

References:
    [T] Trio Diffusion (v2), "Open questions" 2 (hierarchical latent planning) and "Seamless outputs
    gallery" (C21 v3: one model in plan and detail modes)
"""

import dataclasses

from denoisers.contract import Image, PatchDenoiser
from sampling.noise import CanvasNoise, seed_of
from strategies.base import Strategy
from strategies.canvas import Canvas, Known
from strategies.context import CanvasContext

__all__ = ["plan_canvas", "planned_context", "refined"]


def plan_canvas(canvas: Canvas, scale: tuple[int, int], window: tuple[int, int]) -> Canvas:
    """Returns the canvas of a plan: as many cells as cover the real one, and a window at least.

    Raises:
        ValueError: If an axis that wraps is no whole number of cells.
    """
    sides = []
    for name, length, cell, least, wraps in (
        ("height", canvas.height, scale[0], window[0], canvas.wrap_height),
        ("width", canvas.width, scale[1], window[1], canvas.wrap_width),
    ):
        if wraps and (length % cell or length // cell < least):
            raise ValueError(
                f"the {name} of a canvas that wraps must be a multiple of {cell} px, and at least "
                f"{cell * least} px, to be planned in cells of {cell} px, got {length} px."
            )
        sides.append(max(-(-length // cell), least))
    return dataclasses.replace(canvas, height=sides[0], width=sides[1])


def planned_context(
    strategy: Strategy,
    denoiser: PatchDenoiser,
    canvas: Canvas,
    noise: CanvasNoise,
    context: CanvasContext,
    *,
    scale: tuple[int, int],
) -> CanvasContext:
    """Makes a plan of every sample, and returns the context of the canvases that follow it.

    The plan is told the same tokens. Its noise is its own, so that the canvas does not begin with
    the noise that its plan began with. It costs what `strategy` costs on the plan's canvas.

    Args:
        strategy: Makes the plan.
        denoiser: Was trained with plans.
        canvas: What is to be planned.
        noise: The noise of the canvases.
        context: What they are told beside the plan.
        scale: Height and width of a plan's cell, in pixels.

    Raises:
        ValueError: If the denoiser knows no plans, or the canvas cannot be planned.
    """
    if "plan" not in getattr(denoiser, "takes", ()):
        raise ValueError(
            "this denoiser was not trained to make plans: take one trained with "
            "model.context.plan_share above 0."
        )
    if context.encode is not None or context.grown_guide:
        raise ValueError(
            "a plan is made before there is a canvas to be seen: give tokens, or none."
        )
    small = plan_canvas(canvas, scale, strategy.window_of(denoiser))
    own = CanvasNoise(
        seed_of(noise.seed, "plan"), noise.indices, device=noise.device, dtype=noise.dtype
    )
    wishes = dataclasses.replace(context, is_plan=True, plan=None, scale=None)
    plan = strategy.generate(denoiser, small, own, context=wishes)
    return dataclasses.replace(context, plan=plan, scale=scale)


def refined(
    strategy: Strategy,
    denoiser: PatchDenoiser,
    canvas: Canvas,
    noise: CanvasNoise,
    *,
    context: CanvasContext,
    passes: int,
    known: Known | None = None,
) -> Image:
    """Makes canvases again and again, each pass told of the canvas that the pass before has made.

    What was encoded of the growing canvas is then encoded of the finished one, and a guide that
    grew with it shows all of it. The noise is the same in every pass: what differs is what is told.
    Costs `passes` times what one takes, and one pass is `strategy.generate` itself.

    Raises:
        ValueError: If `passes` is below 1, or nothing of the context is made of the canvas.
    """
    if passes < 1:
        raise ValueError(f"passes must be at least 1, got {passes}.")
    if passes > 1 and context.encode is None and not context.grown_guide:
        raise ValueError(
            "another pass would be told what the first one was: passes need a context that looks "
            "at the canvas, by its encoder or its grown guide."
        )
    image = strategy.generate(denoiser, canvas, noise, known=known, context=context)
    for _ in range(passes - 1):
        seen = context.after(image)
        image = strategy.generate(denoiser, canvas, noise, known=known, context=seen)
    return image
