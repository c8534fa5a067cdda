"""Which keys a command has, worked out from its dataclass of settings; a wrong one is refused."""

import dataclasses
import difflib
import importlib
import inspect
from collections.abc import Iterable
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

__all__ = ["chosen", "key_and_value", "keys_of", "nearest", "validate_keys", "validate_values"]

Name = TypeVar("Name", bound=str)
NUMBERS = {int: "int", float: "float", bool: "bool"}


def keys_of(settings: type) -> dict[str, Any]:
    """Returns the types of all settings by their keys, those of groups (`canvas.width`) included.

    What lies below a key that holds a class of the user's choice is not among them.
    """
    hints, found = get_type_hints(settings), {}
    for field in dataclasses.fields(settings):
        kind = found[field.name] = hints[field.name]
        is_group = isinstance(kind, type) and dataclasses.is_dataclass(kind)
        if is_group and not inspect.isabstract(kind):
            found |= {f"{field.name}.{name}": inner for name, inner in keys_of(kind).items()}
    return found


def validate_keys(
    settings: type, tokens: list[str], defaults: dict[str, Any] | None = None
) -> None:
    """Refuses words whose key is none, also where it is one of a class that is chosen.

    Args:
        settings: The dataclass.
        tokens: Words, each `--key=value`.
        defaults: Values of keys that hold a class, as `{"class_path": …}`.

    Raises:
        ValueError: If there is one, with the nearest valid name.
    """
    keys = keys_of(settings)
    known = [*keys, "config", "help"]
    for token in tokens:
        key, _ = key_and_value(token)
        owner, _, name = key.partition(".")
        if key not in known and _holds_a_class(keys.get(owner)):
            of_class = _parameters(_class_path(owner, tokens, defaults or {}))
            if of_class is not None and name.partition(".")[0] not in of_class:
                below = [f"{owner}.{one}" for one in of_class]
                hint = nearest(key, below, otherwise=f"; there are {', '.join(below)}.")
                raise ValueError(f"there is no setting {key!r}{hint}")
        elif key not in known and key.removesuffix(".help") not in known:
            hint = nearest(key, known, otherwise="; --help lists them.")
            raise ValueError(f"there is no setting {key!r}{hint}")


def validate_values(settings: type, tokens: list[str]) -> None:
    """Refuses numbers that are none, and choices that are not offered.

    Other values are left to the parser and to the dataclass itself.

    Raises:
        ValueError: If there is one, with the nearest choice.
    """
    kinds = keys_of(settings)
    for key, value in map(key_and_value, tokens):
        kind = kinds.get(key)
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        if choices and value not in choices:
            hint = nearest(value, map(str, choices), otherwise=".")
            raise ValueError(f"{key} must be one of {', '.join(choices)}, got {value!r}{hint}")
        if kind in NUMBERS and not isinstance(yaml.safe_load(value), _numbers(kind)):
            raise ValueError(f"{key} must be of type {NUMBERS[kind]}, got {value!r}.")


def key_and_value(token: str) -> tuple[str, str]:
    """Splits a word.

    >>> key_and_value("--canvas.width=64")
    ('canvas.width', '64')
    """
    key, _, value = token.removeprefix("--").partition("=")
    return key, value


def nearest(word: str, known: Iterable[str], *, otherwise: str) -> str:
    """Returns the hint that ends a sentence about an unknown word."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else otherwise


def chosen(key: str, value: str, known: tuple[Name, ...]) -> list[Name]:
    """Returns the names in a list with commas, each once.

    Raises:
        ValueError: If one is not known, with the nearest that is, or there is none.
    """
    found = list(dict.fromkeys(name for name in value.split(",") if name))
    if not found:
        raise ValueError(f"{key} must name at least one of {', '.join(known)}, got none.")
    for name in found:
        if name not in known:
            hint = nearest(name, known, otherwise=".")
            raise ValueError(f"{key} must be among {', '.join(known)}, got {name!r}{hint}")
    return [known[known.index(name)] for name in found]


def _numbers(kind: type) -> Any:
    return (float, int, str) if kind is float else kind  # YAML takes 1e-3 for a word


def _holds_a_class(kind: Any) -> bool:
    """Whether a setting is an object of a class that is named by its path."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return any(
        inspect.isclass(one)
        and one.__module__ != "builtins"
        and (inspect.isabstract(one) or not dataclasses.is_dataclass(one))
        and not get_args(one)
        for one in kinds
    )


def _class_path(key: str, tokens: list[str], defaults: dict[str, Any]) -> str | None:
    """Returns the class that a key holds; None where a file may say so."""
    said = [value for name, value in map(key_and_value, tokens) if name == key]
    if said:
        return said[-1]
    if any(token.startswith("--config=") for token in tokens):
        return None
    return defaults.get(key, {}).get("class_path")


def _parameters(class_path: str | None) -> list[str] | None:
    """Returns what a class is built with; None where that cannot be told beforehand."""
    module, _, name = (class_path or "").rpartition(".")
    try:
        parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    except (ImportError, AttributeError, ValueError, TypeError):
        return None
    open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return None if open_ended else list(parameters)
