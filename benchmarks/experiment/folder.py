"""The folder of a run: `results/<time>-<name>/`, locked, and gone on with where it was left."""

import dataclasses
import re
import traceback
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console

from benchmarks.experiment.record import Record
from patchcanvas.files import lock, unlock
from patchcanvas.records import RecordError, read_record, write_record

__all__ = ["Experiment", "file_name", "new_folder", "readable"]

R = TypeVar("R", bound=Record)
T = TypeVar("T")


@dataclasses.dataclass
class Experiment(Generic[R]):
    """A run in its folder, which no other run may enter: `with experiment:` lets others in after.

    Args:
        path: The folder.
        record: What is known so far.
    """

    path: Path
    record: R

    @classmethod
    def opened(
        cls, fresh: R, root: Path, *, complete: Callable[[R], bool], last: str
    ) -> "Experiment[R]":
        """Returns the newest unfinished folder of the same run, else a new one; it is locked.

        What other runs have left there never ends a new one: a record that cannot be read is
        passed over.

        Args:
            fresh: The record of a run that has not begun.
            root: Folder of the runs.
            complete: Whether a record has all that is asked for; a row that has failed is tried
                again.
            last: The file that a run writes at its end.

        Raises:
            OSError: If nothing can be written there.
            ValueError: If the same run is going on.
        """

        def unfinished(path: Path) -> R | None:
            found = readable(type(fresh), path, fresh.name)
            if found is None or not found.same_run(fresh):
                return None
            return None if complete(found) and path.with_name(last).is_file() else found

        root.mkdir(parents=True, exist_ok=True)
        for path in sorted(root.glob(f"*/{fresh.FILE}"), reverse=True):
            if unfinished(path) is None:
                continue
            lock(path.parent)
            # Whoever had the lock may have written since.
            found = unfinished(path)
            if found is not None:
                return cls(path.parent, found)
            unlock(path.parent)
        experiment = cls(new_folder(root, fresh.name), fresh)
        lock(experiment.path)
        experiment.write()
        return experiment

    def __enter__(self) -> "Experiment[R]":
        return self

    def __exit__(self, *raised: Any) -> None:
        self.close()

    def close(self) -> None:
        """Lets other runs in."""
        unlock(self.path)

    def write(self) -> None:
        """Writes the record."""
        write_record(self.path / self.record.FILE, self.record)

    def attempt(
        self,
        name: str,
        make: Callable[[], T],
        *,
        failed: Callable[[str], None],
        console: Console,
        place: str = "",
    ) -> T | None:
        """Does a piece of the work; its failure is kept, and does not cost the others theirs.

        Args:
            name: What is made.
            make: Makes it.
            failed: Is told why it failed, and puts that on record.
            console: Tells the user.
            place: Where it was made, as it stands after `failed`: `at 8`, say.

        Raises:
            OSError: What the system raised: every piece would fail alike.
        """
        try:
            return make()
        except OSError:
            raise
        except Exception as error:
            failed(f"{type(error).__name__}: {error}")
            self.write()
            where = f"{name} failed {place}".rstrip()
            self.keep_error(name, f"{where}\n{traceback.format_exc()}")
            console.print(f"{where}: {error}", markup=False)
            return None

    def keep_error(self, name: str, trace: str) -> None:
        """Keeps the traceback of what went wrong, below those of earlier attempts."""
        with (self.path / f"{file_name(name)}.error.txt").open("a") as file:
            file.write(f"{trace}\n")


def file_name(*parts: str) -> str:
    """Returns a name for files out of names for people.

    >>> file_name("half", "w = 1.5, pure_noise")
    'half-w-1.5-pure_noise'
    """
    return "-".join(re.sub(r"[^\w.@]+", "-", part).strip("-") for part in parts)


def new_folder(root: Path, name: str) -> Path:
    """Makes a folder in `root` that nothing has yet, called by the time and the name."""
    stem = path = root / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}"
    number = 1
    while True:
        try:
            path.mkdir(parents=True)
        except FileExistsError:  # of another run that began in this second
            number += 1
            path = stem.with_name(f"{stem.name}-{number}")
        else:
            return path


def readable(kind: type[R], path: Path, name: str) -> R | None:
    """Returns a record that was left behind; None for one that cannot be read.

    A warning says so if it may be that of a run of this name; one of another program or version is
    not.
    """
    try:
        return read_record(kind, path)
    except OSError as error:
        warnings.warn(f"{path} cannot be read ({error}) and is passed over.", stacklevel=3)
    except RecordError as error:
        if error.broken and name in path.parent.name:
            warnings.warn(
                f"{path} is damaged: if it is the record of this run, what it made is there, but a "
                "new folder is begun.",
                stacklevel=3,
            )
    return None
