"""Which activation a model of open_clip has: a part of its name, and of no file of weights.

OpenAI's weights, and those of some others, were trained with QuickGELU, x sigmoid(1.702 x). The
library has models of both kinds, as `ViT-B-32` and `ViT-B-32-quickgelu`; it gives weights of one to
a model of the other, and warns.
"""

import warnings
from pathlib import Path
from types import ModuleType

__all__ = ["activation", "with_its_activation"]

SUFFIX = "-quickgelu"


def activation(open_clip: ModuleType, model: str) -> str:
    """Returns the activation of a model by its configuration: `QuickGELU` or `GELU`."""
    return "QuickGELU" if open_clip.get_model_config(model).get("quick_gelu") else "GELU"


def with_its_activation(open_clip: ModuleType, model: str, weights: str | Path) -> str:
    """Returns the model of the activation that weights were trained with.

    Of pretrained weights the library's table says which that is. Of a file it does not: there the
    model's name is taken at its word, with a warning where there is a model of either kind.

    Args:
        open_clip: The library.
        model: A model that it knows.
        weights: The tag of pretrained weights, or a file of some.

    Raises:
        ValueError: If the table says QuickGELU, and the library has no such model.
    """
    if activation(open_clip, model) == "QuickGELU":
        return model
    other = f"{model}{SUFFIX}"
    exists = other in open_clip.list_models()
    if str(weights) not in open_clip.list_pretrained_tags_by_model(model):
        if exists:
            warnings.warn(
                f"the weights in {weights} are taken to be of GELU, as {model} says: those of "
                f"OpenAI, and of others trained with QuickGELU, need the model {other}.",
                stacklevel=2,
            )
        return model
    if not open_clip.get_pretrained_cfg(model, str(weights)).get("quick_gelu"):
        return model
    if not exists:
        raise ValueError(
            f"the weights {weights} were trained with QuickGELU, and open_clip has no {other}: "
            "take other weights."
        )
    return other
