"""Settings that every command shares, with their units and defaults."""

from patchcanvas.context.settings import ContextSettings
from patchcanvas.model import CanvasSize
from sampling.solvers import Heun

__all__ = ["DEFAULT_SOLVER"]


DEFAULT_SOLVER = Heun(num_steps=18, churn=18.0)


DEFAULT_CONTEXT = ContextSettings()


DEFAULT_SIZE = CanvasSize()
