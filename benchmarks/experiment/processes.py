"""The processes of a run: one, several on this machine, or many on several, by Lightning Fabric.

Every process runs the same command. Work that is counted, samples and reference crops, is dealt out
by its number, so that who does it plays no part; what is done once is done by the first process.
"""

import contextlib
import dataclasses
import errno
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.fabric.strategies import DDPStrategy

__all__ = [
    "ALONE",
    "LostProcessError",
    "Processes",
    "SharedError",
    "is_fatal",
    "launched",
    "runs_of",
]

T = TypeVar("T")


# Of the system: whatever is tried next would fail alike.
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class SharedError(RuntimeError):
    """A process failed, and all of them raise this at the same place.

    Args:
        message: What went wrong, and where.
        fatal: Whether whatever is tried next would fail alike.
        trace: The traceback of the process that failed.
    """

    def __init__(self, message: str, fatal: bool = False, trace: str = "") -> None:
        super().__init__(message)
        self.fatal = fatal
        self.trace = trace

    def __reduce__(self) -> tuple[type, tuple[str, bool, str]]:
        return type(self), (str(self), self.fatal, self.trace)

    @classmethod
    def of(cls, error: BaseException, rank: int) -> "SharedError":
        """Returns what others are told of an error."""
        message = f"{type(error).__name__}: {error} (process {rank})"
        return cls(message, is_fatal(error), "".join(traceback.format_exception(error)))


class LostProcessError(RuntimeError):
    """Another process is gone, so that nothing more can be exchanged."""


@dataclasses.dataclass(frozen=True)
class Processes:
    """This process among all of a run.

    Args:
        fabric: Lightning's; launched. None for a process that is alone, on the CPU.
    """

    fabric: Fabric | None = None

    @property
    def rank(self) -> int:
        """The number of this process; 0 is the first."""
        return self.fabric.global_rank if self.fabric else 0

    @property
    def count(self) -> int:
        """How many there are."""
        return self.fabric.world_size if self.fabric else 1

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.fabric.device if self.fabric else torch.device("cpu")

    def share(self, items: Sequence[T]) -> list[T]:
        """Returns this process's share of the work: every `count`-th item."""
        return list(items[self.rank :: self.count])

    def once(self, work: Callable[[], T]) -> T:
        """Lets the first process do it; all return what it returned.

        Raises:
            Exception: What it raised, if it is alone.
            SharedError: The same in all processes, if there are several.
        """
        if self.fabric is None or self.count == 1:
            return work()
        done: Any = None
        if self.first:
            try:
                done = work()
            except Exception as error:  # a process that waits for it must hear of it
                done = SharedError.of(error, self.rank)
        with exchanging():
            done = self.fabric.broadcast(done)
        if isinstance(done, SharedError):
            raise done
        return done

    def agree(self, error: Exception | None) -> None:
        """Waits for all; if any brings an error, all raise.

        Raises:
            Exception: What this process brings, if it is alone.
            SharedError: The first of what all bring, one that is fatal before others.
        """
        if self.count == 1:
            if error is not None:
                raise error
            return
        said = None if error is None else SharedError.of(error, self.rank)
        found = [one for one in self.gathered(said) if one is not None]
        if found:
            raise max(found, key=lambda one: one.fatal)

    def gathered(self, value: T) -> list[T]:
        """Returns the values of all processes, by their numbers."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        with exchanging():
            torch.distributed.all_gather_object(values, value)
        return values

    def close(self) -> None:
        """Says goodbye to the others, so that none waits for another."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            with exchanging():
                torch.distributed.barrier()
            torch.distributed.destroy_process_group()


ALONE = Processes()


@contextlib.contextmanager
def exchanging() -> Iterator[None]:
    """Says what the failure of an exchange means.

    Raises:
        LostProcessError: If another process did not answer.
    """
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(f"another process of the run is gone: {error}") from error


def is_fatal(error: BaseException) -> bool:
    """Whether whatever is tried next would fail alike: the disk is full, say."""
    if isinstance(error, SharedError):
        return error.fatal
    return isinstance(error, OSError) and error.errno in FATAL


def follow_parent() -> None:
    """Ends this process when the one that started it is gone, even by a kill."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def launched(
    device: torch.device, *, devices: int, num_nodes: int, arguments: list[str]
) -> Processes:
    """Starts the processes; under torchrun or SLURM, joins those that were started.

    Args:
        device: What each computes on; one with an index is the only one.
        devices: Processes on each node, each with a device of its own.
        num_nodes: Nodes; each must run the command itself, as torchrun and SLURM do.
        arguments: The words of the command line, which every process will be given.

    Raises:
        ValueError: If several processes are asked for in a way that cannot work.
    """
    several = devices * num_nodes > 1
    by_torchrun = TorchElasticEnvironment.detect()
    started_outside = by_torchrun or SLURMEnvironment.detect()
    if by_torchrun and int(os.environ["WORLD_SIZE"]) != devices * num_nodes:
        raise ValueError(
            f"torchrun has started {os.environ['WORLD_SIZE']} processes, but devices={devices} and "
            f"num_nodes={num_nodes} make {devices * num_nodes}; let them agree."
        )
    if num_nodes > 1 and not started_outside:
        raise ValueError(
            f"num_nodes={num_nodes} needs the command to be started on each node by torchrun or "
            "SLURM, which was not the case."
        )
    if several and device.index is not None:
        raise ValueError(
            f"device must name no single one where there are several, got {device} and "
            f"devices={devices}; say device={device.type}."
        )
    if several and device.type == "mps":
        raise ValueError("several processes need cpu or cuda, got mps; say devices=1.")
    if several and not started_outside and arguments != sys.argv[1:]:
        raise ValueError(
            "several processes each run the command line again: start the run from there, "
            f"got devices={devices} from within Python."
        )
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise ValueError(
            f"devices must be at most the {torch.cuda.device_count()} CUDA devices here, got "
            f"{devices}."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice on Fabric's own settings
        fabric = Fabric(
            accelerator=device.type,
            devices=devices if device.index is None else [device.index],
            num_nodes=num_nodes,
            # A process may be done long before the others; one that dies is noticed at once.
            strategy=DDPStrategy(timeout=timedelta(days=1)) if several else "auto",
        )
        fabric.launch()
    if several and not started_outside and fabric.local_rank > 0:
        follow_parent()
    return Processes(fabric)


def runs_of(indices: list[int], *, longest: int) -> list[range]:
    """Returns ascending numbers as runs of neighbours, none longer than `longest`.

    Runs begin at multiples of `longest` where they can, so that a run that goes on makes the same
    batches as one that was never stopped.

    >>> runs_of([0, 1, 2, 3, 5, 6, 7, 8], longest=4)
    [range(0, 4), range(5, 8), range(8, 9)]
    """
    runs: list[range] = []
    for index in indices:
        if runs and index == runs[-1].stop and index % longest:
            runs[-1] = range(runs[-1].start, index + 1)
        else:
            runs.append(range(index, index + 1))
    return runs
