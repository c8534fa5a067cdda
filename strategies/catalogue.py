"""Strategies by name: adding one is adding one file to this folder."""

import difflib
import importlib
import inspect
import pkgutil

import strategies
from strategies.base import Strategy

__all__ = ["names", "strategy_class"]


def names() -> list[str]:
    """Returns the short names: the modules of this folder with one public strategy."""
    modules = [module.name for module in pkgutil.iter_modules(strategies.__path__)]
    return sorted(name for name in modules if _public_strategies(f"strategies.{name}"))


def strategy_class(name: str) -> type[Strategy]:
    """Returns the one public strategy of `strategies/<name>.py`, or of a dotted class path.

    Raises:
        ValueError: If there is none, with the nearest name that there is.
    """
    if "." in name:
        return _by_path(name)
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(
            f"strategy must be one of {', '.join(names())}, or the dotted path of a class of your "
            f"own, got {name!r}{hint}"
        )
    return _public_strategies(f"strategies.{name}")[0]


def _by_path(path: str) -> type[Strategy]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"strategy {path!r} cannot be imported: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, Strategy)):
        raise ValueError(
            f"strategy {path!r} must be a class derived from strategies.base.Strategy."
        )
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ValueError(f"strategy {path!r} must not be abstract: it lacks {missing}.")
    return found


def _public_strategies(module_name: str) -> list[type[Strategy]]:
    module = importlib.import_module(module_name)
    public = [getattr(module, name) for name in getattr(module, "__all__", [])]
    return [
        item
        for item in public
        if inspect.isclass(item) and issubclass(item, Strategy) and not inspect.isabstract(item)
    ]
