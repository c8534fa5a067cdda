"""The processes of a run: one, several on this machine, or many on several, by Lightning Fabric.

Every process runs the same command. Work that is counted, samples and reference crops, is dealt out
by its number, so that who does it plays no part; what is done once is done by the first process.
"""

import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.fabric.strategies import DDPStrategy

__all__ = ["LostProcessError", "Processes", "RemoteError", "launched"]

T = TypeVar("T")


class RemoteError(RuntimeError):
    """Another process failed; the message is its own."""


class LostProcessError(RuntimeError):
    """Another process is gone, so that nothing more can be exchanged."""


@dataclasses.dataclass(frozen=True)
class Processes:
    """This process among all of a run.

    Args:
        fabric: Lightning's; launched.
    """

    fabric: Fabric

    @property
    def rank(self) -> int:
        """The number of this process; 0 is the first."""
        return self.fabric.global_rank

    @property
    def count(self) -> int:
        """How many there are."""
        return self.fabric.world_size

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.fabric.device

    def share(self, items: Sequence[T]) -> list[T]:
        """Returns this process's share of the work: every `count`-th item."""
        return list(items[self.rank :: self.count])

    def once(self, work: Callable[[], T]) -> T:
        """Lets the first process do it; all return what it returned, or raise what it raised."""
        outcome: list[T | BaseException] = [RuntimeError("nothing was done")]
        if self.first:
            try:
                outcome = [work()]
            except Exception as error:  # a process that waits for it must hear of it
                outcome = [error]
        done = outcome[0]
        if self.count > 1:
            with exchanging():
                done = self.fabric.broadcast(done)
        if isinstance(done, BaseException):
            raise done
        return done

    def agree(self, error: Exception | None) -> None:
        """Waits for all; if any brings an error, all raise: their own, or the first of the others.

        Raises:
            Exception: What this process brings.
            RemoteError: What another one brings.
        """
        if self.count == 1:
            if error is not None:
                raise error
            return
        said = None if error is None else f"{type(error).__name__}: {error}"
        everybody: list[str | None] = [None] * self.count
        with exchanging():
            torch.distributed.all_gather_object(everybody, said)
        if error is not None:
            raise error
        for rank, other in enumerate(everybody):
            if other is not None:
                raise RemoteError(f"process {rank}: {other}")

    def gathered(self, value: T) -> list[T]:
        """Returns the values of all processes, by their numbers."""
        if self.count == 1:
            return [value]
        values: list[T | None] = [None] * self.count
        with exchanging():
            torch.distributed.all_gather_object(values, value)
        return values

    def close(self) -> None:
        """Says goodbye to the others, so that none waits for another."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            with exchanging():
                torch.distributed.barrier()
            torch.distributed.destroy_process_group()


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
    started_outside = TorchElasticEnvironment.detect() or SLURMEnvironment.detect()
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
    return Processes(fabric)
