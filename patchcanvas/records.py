"""What is written down, as JSON: dataclasses as plain values, a file in one stroke, and back."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any, TypeVar

from patchcanvas.files import whole

__all__ = ["RecordError", "changes", "from_json", "plain", "read_record", "write_json"]
__all__ += ["write_record"]

T = TypeVar("T")

MEND = "make it again"


class RecordError(ValueError):
    """A record that cannot be used: of another program or version, or not even JSON.

    Args:
        message: Which one, and what is wrong with it.
        broken: Whether it is no JSON, so that nothing says whose it was.
    """

    def __init__(self, message: str, *, broken: bool) -> None:
        super().__init__(message)
        self.broken = broken


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


def write_record(path: Path, record: Any) -> None:
    """Writes a dataclass as JSON in one stroke: a reader never sees half a file."""
    write_json(path, dataclasses.asdict(record))


def read_record(kind: type[T], path: Path, *, mend: str = MEND) -> T:
    """Reads what `write_record` wrote.

    Args:
        kind: The dataclass; its annotations say what must be there.
        path: The file.
        mend: What errors advise.

    Raises:
        OSError: If the file cannot be read.
        RecordError: If it is damaged, or another program or version of this code wrote it.
    """
    return from_json(kind, path.read_bytes(), str(path), mend=mend)


def from_json(kind: type[T], text: str | bytes, name: str, *, mend: str = MEND) -> T:
    """Rebuilds a dataclass from its JSON; types must be right, and no key may be unknown.

    Args:
        kind: The dataclass.
        text: The JSON.
        name: What errors call it.
        mend: What errors advise.

    Raises:
        RecordError: If it is not of that kind; names the first key that is wrong.
    """
    from pydantic import ValidationError  # here, since most that starts reads no record

    try:
        reader: Any = _reader(kind)  # type: ignore[arg-type]  # a class is hashable
        return reader.validate_json(text, strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        wrong = f"{key}: {first['msg']}" if key else first["msg"]
        raise RecordError(
            f"{name} must be a record ({kind.__name__}) of this version, but is damaged or of "
            f"another program or version ({wrong}); {mend}.",
            broken=first["type"] == "json_invalid",
        ) from error


@functools.cache
def _reader(kind: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


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
    flat: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
