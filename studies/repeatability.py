"""`python -m studies.repeatability`: one experiment in many ways, all figures equal.

The same comparison is run in batches of several sizes, on one process and on two, and killed at
random moments and continued. What comes out is compared to the last bit: every figure, and a hash
over all canvases. Settings of `benchmarks.run` may be given; `window_batch=16` is the default here,
since kernels round by the size of a batch.
"""

import dataclasses
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.comparison.samples import SampleFiles
from benchmarks.experiment.folder import new_folder
from benchmarks.metrics.catalogue import FIGURES
from benchmarks.results.records import Results, Row
from benchmarks.tables.columns import by_rows, markdown
from patchcanvas.records import read_record

__all__ = ["Variant", "main"]

KILLS = 3
DEFAULTS = [
    "strategy=diffcollage,async_patch",
    "num_samples=64",
    "num_reference=500",
    "solver.num_steps=6",
    "window_batch=16",
    "repeats=1",
    "device=cpu",
    "loggers=[]",
]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to run the experiment.

    Args:
        name: What the table calls it.
        settings: What it adds to the common settings.
        kills: How often it is killed on the way.
    """

    name: str
    settings: tuple[str, ...]
    kills: int = 0


VARIANTS = (
    Variant("batches of 8", ("batch_size=8",)),
    Variant("batches of 1", ("batch_size=1",)),
    Variant("batches of 32", ("batch_size=32",)),
    Variant("2 processes, batches of 8", ("batch_size=8", "devices=2")),
    Variant(f"killed {KILLS} times, batches of 8", ("batch_size=8",), KILLS),
    Variant(f"2 processes, killed {KILLS} times", ("batch_size=8", "devices=2"), KILLS),
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a variant left behind.

    Args:
        variant: How it was run.
        results: Its record.
        canvases: SHA-256 over all canvases of each row, by its name.
        killed_at: Samples that were finished when it was killed, each time.
    """

    variant: Variant
    results: Results
    canvases: dict[str, str]
    killed_at: list[int]


def main(arguments: list[str] | None = None) -> int:
    """Runs all variants one after another.

    Returns:
        0 if all figures and canvases are equal, 1 if any is not, 2 if a run failed.
    """
    given = sys.argv[1:] if arguments is None else arguments
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    folder = new_folder(Path("results"), "repeatability")
    chance = random.Random(0)
    outcomes: list[Outcome] = []
    total = 0
    try:
        for variant in VARIANTS:
            console.print(f"{variant.name} …")
            # Anywhere in the run, whose length the first variant has shown.
            moments = sorted(chance.sample(range(1, total), variant.kills)) if total else []
            outcomes.append(_run(variant, [*DEFAULTS, *given], folder, moments, chance))
            total = total or _finished(folder / _folder_name(variant))
    except (RuntimeError, ValueError) as error:
        console.print(f"error: {error}", markup=False)
        return 2
    page = "\n\n".join(_tables(outcomes))
    (folder / "repeatability.md").write_text(page + "\n")
    print(page)
    return 0 if all(_same(outcome, outcomes[0]) for outcome in outcomes) else 1


def _run(
    variant: Variant, settings: list[str], folder: Path, moments: list[int], chance: random.Random
) -> Outcome:
    """Runs a variant to its end, killed when so many samples are finished."""
    own = folder / _folder_name(variant)
    command = [sys.executable, "-m", "benchmarks.run", *settings, *variant.settings]
    command += [f"results={own}", f"cache={folder / 'cache'}", "name=experiment"]
    own.mkdir(parents=True)
    log = own / "log.txt"
    killed_at = []
    for moment in moments:
        process = _started(command, log)
        while process.poll() is None and _finished(own) < moment:
            time.sleep(0.01)
        # Somewhere in what follows: inside the network, a metric or a file that is being written.
        time.sleep(0.3 * chance.random())
        if process.poll() is not None:
            raise RuntimeError(f"{variant.name} ended before it was killed; give more num_samples.")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed_at.append(_finished(own))
    process = _started(command, log)
    if process.wait():
        raise RuntimeError(f"{variant.name} failed: {log.read_text()[-2000:]}")
    (path,) = own.glob("*/results.json")
    results = read_record(Results, path)
    rows = ["patches", *(row.strategy for row in results.rows)]
    hashes = {name: _hash(path.parent / "samples" / name, results.num_samples) for name in rows}
    return Outcome(variant, results, hashes, killed_at)


def _folder_name(variant: Variant) -> str:
    return variant.name.replace(" ", "-").replace(",", "")


def _started(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    # One thread for each process: a sum over two threads rounds otherwise than over one.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _finished(folder: Path) -> int:
    """Returns how many samples are on disk."""
    found = folder.glob("*/samples/*/*.safetensors")
    return sum(int(path.stem[7:]) - int(path.stem[:6]) + 1 for path in found)


def _hash(folder: Path, count: int) -> str:
    """Returns the SHA-256 of all canvases of a row; all must be there, each once."""
    files = SampleFiles(folder)
    finished = files.finished(count)
    if [index for indices in finished for index in indices] != list(range(count)):
        raise ValueError(f"{folder} must hold samples 0 to {count - 1}, each once.")
    digest = hashlib.sha256()
    for path in finished.values():
        digest.update(files.read(path).canvases.numpy().tobytes())
    return digest.hexdigest()


def _same(outcome: Outcome, other: Outcome) -> bool:
    return outcome.canvases == other.canvases and all(
        left.figures == right.figures and left.curves == right.curves
        for left, right in zip(_rows(outcome), _rows(other), strict=True)
    )


def _rows(outcome: Outcome) -> list[Row]:
    results = outcome.results
    return [row for row in (results.real, results.patches, *results.rows) if row is not None]


def _tables(outcomes: list[Outcome]) -> list[str]:
    """Returns a table for each strategy: all its figures, as many digits as they have."""
    parts = []
    for place, row in enumerate(outcomes[0].results.rows):
        names = [name for name in FIGURES if name in row.figures]
        rows = []
        for outcome in outcomes:
            values = [f"{outcome.results.rows[place].figures[name].value:.12g}" for name in names]
            kills = ", ".join(map(str, outcome.killed_at))
            name = outcome.variant.name + (f" (at {kills} samples)" if kills else "")
            equal = "yes" if _same(outcome, outcomes[0]) else "no"
            rows.append([name, *values, outcome.canvases[row.strategy][:12], equal])
        head = ["", *(FIGURES[name].title for name in names), "canvases", "equal"]
        parts += [f"`{row.strategy}`", markdown(by_rows(head, rows))]
    return parts


if __name__ == "__main__":
    sys.exit(main())
