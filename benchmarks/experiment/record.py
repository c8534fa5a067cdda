"""What every run says of itself, before any figure."""

import dataclasses
import json
import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import torch

from patchcanvas.environment import describe_environment
from patchcanvas.sources import MEASURING, sha256_of_sources

__all__ = ["Record"]

R = TypeVar("R", bound="Record")


@dataclasses.dataclass
class Record:
    """A whole run; a program adds what it measures.

    Two runs are the same, and the second goes on with the first, where `AGREE` are equal.

    Args:
        name: The run's name.
        created: When it was begun, ISO 8601, UTC.
        command: The command that makes it again.
        settings: Every setting, defaults included.
        environment: Device, threads, library versions, commit, hash of the code.
    """

    FILE: ClassVar[str]  # its own for every program, so that none meets another's
    AGREE: ClassVar[tuple[str, ...]] = ("settings", "environment")
    # What in them may differ all the same: it changes how the work is done, not what comes out. The
    # hash of the code tells more than the commit.
    IGNORED: ClassVar[frozenset[str]] = frozenset({"results", "cache", "threads", "commit"})

    name: str
    created: str
    command: str
    settings: dict[str, Any]
    environment: dict[str, Any]

    @classmethod
    def begun(
        cls: type[R],
        program: str,
        arguments: Sequence[str],
        *,
        name: str,
        settings: dict[str, Any],
        device: torch.device,
        classes: Iterable[type] = (),
        packages: Iterable[str] = MEASURING,
        **facts: Any,
    ) -> R:
        """Returns the record of a run that has not begun.

        Args:
            program: The command, without `python -m`.
            arguments: The words after it.
            name: The run's name.
            settings: Every setting, defaults included.
            device: Where it takes place.
            classes: Whose source counts, wherever it lies.
            packages: Whose source counts.
            facts: What else the program's record begins with.
        """
        sources = sha256_of_sources(classes, packages)
        return cls(
            name=name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=shlex.join(["python", "-m", program, *arguments]),
            settings=settings,
            environment=describe_environment(device) | {"sources": sources},
            **facts,
        )

    def same_run(self, other: "Record") -> bool:
        """Whether one may go on with the other."""
        return self._agreed == other._agreed

    @property
    def _agreed(self) -> dict[str, Any]:
        """What must be equal, as a file holds it."""
        agreed = {name: self._counting(getattr(self, name)) for name in self.AGREE}
        return json.loads(json.dumps(agreed, default=str))

    def _counting(self, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        return {name: value for name, value in content.items() if name not in self.IGNORED}
