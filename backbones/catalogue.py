"""Backbones by name, and from what a checkpoint says of them."""

import difflib
import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from backbones.contract import Backbone

__all__ = ["build", "named", "names"]

CLASS_PATHS = {
    "downsampled": "backbones.downsampled.Downsampled",
    "random": "backbones.random_features.RandomFeatures",
    "clip": "backbones.clip.Clip",
    "openclip": "backbones.openclip.OpenClip",
    "dino": "backbones.dino.Dino",
}
KEYS = ("class_path", "init_args", "fingerprint")


def names() -> list[str]:
    """Returns the short names."""
    return sorted(CLASS_PATHS)


def named(name: str) -> type[Backbone]:
    """Returns the backbone of a short name, or of a dotted class path.

    Raises:
        ValueError: If there is none, with the nearest name that there is.
    """
    if "." in name:
        return _by_path(name)
    if name not in CLASS_PATHS:
        raise ValueError(
            f"backbone must be one of {', '.join(names())}, or the dotted path of a class of your "
            f"own, got {name!r}{_nearest(name, names(), otherwise='.')}"
        )
    return _by_path(CLASS_PATHS[name])


def build(description: Mapping[str, Any]) -> Backbone:
    """Returns the backbone that a description names, with the same weights.

    Args:
        description: A `Backbone.description`; the arguments and the fingerprint may be left out,
            and the class be named by its short name.

    Raises:
        ValueError: If it names no backbone, has settings that this backbone has not, or has the
            fingerprint of other weights or settings than are found.
    """
    if "class_path" not in description:
        raise ValueError(f"a backbone's description must have a class_path, got {description}.")
    for key in description:
        if key not in KEYS:
            hint = _nearest(key, KEYS, otherwise=f"; it has {', '.join(KEYS)}.")
            raise ValueError(f"a backbone's description has no {key!r}{hint}")
    found = named(description["class_path"])
    settings = description.get("init_args") or {}
    _validate_settings(found, settings)
    backbone = found(**settings)
    _validate_weights(backbone, description.get("fingerprint"))
    return backbone


def _by_path(path: str) -> type[Backbone]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"backbone {path!r} cannot be imported: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, Backbone)):
        raise ValueError(
            f"backbone {path!r} must be a class derived from backbones.contract.Backbone."
        )
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ValueError(f"backbone {path!r} must not be abstract: it lacks {missing}.")
    return found


def _validate_settings(found: type[Backbone], settings: Mapping[str, Any]) -> None:
    known = list(inspect.signature(found).parameters)
    for key in settings:
        if key not in known:
            hint = _nearest(key, known, otherwise=f"; it has {', '.join(known)}.")
            raise ValueError(f"{found.__name__} has no setting {key!r}{hint}")


def _validate_weights(backbone: Backbone, fingerprint: str | None) -> None:
    if fingerprint not in (None, backbone.fingerprint):
        raise ValueError(
            f"the backbone must have the fingerprint {fingerprint}, but the weights and settings "
            f"of {backbone.description['class_path']} with {backbone.description['init_args']} "
            f"have {backbone.fingerprint}: name the weights that it had."
        )


def _nearest(word: str, known: Iterable[str], *, otherwise: str) -> str:
    """Returns the hint that ends a sentence about an unknown word."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else otherwise
