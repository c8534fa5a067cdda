"""What is written down, as JSON: dataclasses as plain values, a file in one stroke."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from patchcanvas.files import whole

__all__ = ["changes", "plain", "write_json"]


def plain(value: Any) -> Any:
    """Returns a dataclass as JSON values, every nested one with its class."""
    if dataclasses.is_dataclass(value):
        fields = {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
        return {"class": f"{type(value).__module__}.{type(value).__qualname__}"} | fields
    return value


def write_json(path: Path, content: Any) -> None:
    """Writes JSON in one stroke."""
    text = json.dumps(content, indent=2, allow_nan=False, default=str) + "\n"
    with whole(path) as part:
        part.write_text(text)


def changes(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns all that two fingerprints differ in, nested names with dots; None where absent.

    >>> changes({"versions": {"torch": "2.11"}}, {"versions": {"torch": "2.12"}})
    {'versions.torch': ('2.11', '2.12')}
    """
    left, right = _flat(first), _flat(second)
    return {
        name: (left.get(name), right.get(name))
        for name in [*left, *(name for name in right if name not in left)]
        if left.get(name) != right.get(name)
    }


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in content.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
