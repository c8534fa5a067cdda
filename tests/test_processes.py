"""Runs as users start them: in processes of their own, several together, killed and gone on."""

import dataclasses
import errno
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import psutil
import pytest
import torch
from lightning.fabric import Fabric

from benchmarks.experiment.processes import Processes, SharedError, launched
from benchmarks.results.records import Results
from benchmarks.run import main
from patchcanvas.records import read_record
from strategies.naive import Naive

ROOT = Path(__file__).parent.parent
SAMPLES = 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Full(Naive):
    """Naive tiling on a disk that is full for the second process."""

    def generate(self, *given, **settings):
        if os.environ.get("LOCAL_RANK") == "1":
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().generate(*given, **settings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wrong(Naive):
    """Naive tiling that goes wrong in the second process."""

    def generate(self, *given, **settings):
        if os.environ.get("LOCAL_RANK") == "1":
            raise ArithmeticError("bad mood")
        return super().generate(*given, **settings)


class Runner:
    """Starts the harness on its command line; one folder of results each."""

    def __init__(self, weights: Path, folder: Path) -> None:
        self.folder = folder
        self.settings = [
            f"denoiser={weights}",
            f"results={folder / 'results'}",
            f"cache={folder / 'cache'}",
            f"num_samples={SAMPLES}",
            "num_reference=16",
            "solver.num_steps=3",
            "repeats=1",
            "device=cpu",
            "window_batch=4",
            "loggers=[]",
            "strategy=diffcollage",
        ]
        self.command = [sys.executable, "-m", "benchmarks.run", *self.settings]

    def start(self, *settings: str) -> subprocess.Popen:
        return self.started([*self.command, *settings])

    @staticmethod
    def started(command: list[str]) -> subprocess.Popen:
        # One thread each: a sum over two threads rounds otherwise than one over one.
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *settings: str) -> Results:
        process = self.start(*settings)
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0, said
        return self.results()

    def results(self) -> Results:
        (path,) = self.folder.glob("results/*/results.json")
        return read_record(Results, path)

    def files(self) -> dict[str, int]:
        """The finished files of samples, and when they were written."""
        found = self.folder.glob("results/*/samples/*/*.safetensors")
        return {str(path): path.stat().st_mtime_ns for path in found}

    def until_files(self, count: int) -> None:
        deadline = time.monotonic() + 120
        while len(self.files()) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        assert len(self.files()) >= count


@pytest.fixture(scope="module")
def whole(tiny_checkpoint, tmp_path_factory):
    """One process, this one, that nothing disturbs."""
    runner = Runner(tiny_checkpoint, tmp_path_factory.mktemp("whole"))
    assert main([*runner.settings, "batch_size=8"]) == 0
    return runner.results()


@dataclasses.dataclass(frozen=True)
class GoneOn:
    """A run that was killed and gone on with by two processes, in one of which a strategy fails.

    The features of the reference are not kept in between, so that both have their share of them.
    """

    runner: Runner
    made: dict[str, int]  # files of the process that was killed
    status: int
    said: str


@pytest.fixture(scope="module")
def gone_on(tiny_checkpoint, tmp_path_factory) -> GoneOn:
    runner = Runner(tiny_checkpoint, tmp_path_factory.mktemp("gone_on"))
    strategies = "strategy=diffcollage,tests.test_processes.Wrong"
    process = runner.start("batch_size=1", strategies)
    # Of patches and of diffcollage's canvases; a few are left for two.
    runner.until_files(random.Random(time.time()).randint(1, 2 * SAMPLES - 4))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    made = runner.files()
    another = f"cache={runner.folder / 'another'}"
    again = runner.start("batch_size=2", "devices=2", strategies, another)
    said, _ = again.communicate(timeout=240)
    return GoneOn(runner, made, again.returncode, said)


def assert_same(results: Results, whole: Results, *, but: str = "") -> None:
    for name in ("real", "patches"):
        assert getattr(results, name).figures == getattr(whole, name).figures
    (row,), (expected,) = results.rows, whole.rows
    # To the last bit: the rows of statistics are sorted before they are summed.
    assert row.figures == expected.figures
    assert row.curves == expected.curves
    assert row.fingerprint | {but: None} == expected.fingerprint | {but: None}


def worker_of(process: subprocess.Popen) -> psutil.Process:
    """Of the children the one that runs the harness, not a compiler's or a tracker's."""
    (worker,) = [
        child
        for child in psutil.Process(process.pid).children()
        if "benchmarks.run" in " ".join(child.cmdline())
    ]
    return worker


def test_two_processes_make_the_figures_of_one(gone_on, whole):
    # The strategy that goes wrong is code of its own.
    assert_same(gone_on.runner.results(), whole, but="sources")
    held = [
        index
        for path in map(Path, gone_on.runner.files())
        if path.parent.name == "diffcollage"
        for index in range(int(path.stem[:6]), int(path.stem[7:]) + 1)
    ]
    assert sorted(held) == list(range(SAMPLES))  # exactly so many, none twice


def test_a_killed_run_goes_on_with_more_processes_and_makes_nothing_twice(gone_on):
    assert gone_on.made
    assert gone_on.made.items() <= gone_on.runner.files().items()  # neither lost nor written again


def test_a_failure_in_one_process_is_a_failure_of_the_strategy_in_all(gone_on):
    assert gone_on.status == 1, gone_on.said
    results = gone_on.runner.results()
    assert [row.strategy for row in results.rows] == ["diffcollage"]
    assert results.failures == {
        "tests.test_processes.Wrong": "ArithmeticError: bad mood (process 1)"
    }
    (trace,) = gone_on.runner.folder.glob("results/*/*.error.txt")
    assert "raise ArithmeticError" in trace.read_text()  # of the process that failed


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_run_and_the_same_command_goes_on(
    tiny_checkpoint, tmp_path, whole
):
    runner = Runner(tiny_checkpoint, tmp_path)
    process = runner.start("batch_size=1", "devices=2")
    runner.until_files(2)
    worker_of(process).kill()
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0, said
    made = runner.files()
    assert_same(runner.run("batch_size=1", "devices=2"), whole)
    assert made.items() <= runner.files().items()


@pytest.mark.slow
def test_processes_that_torchrun_starts_on_two_nodes_make_the_figures_of_one(
    tiny_checkpoint, tmp_path, whole
):
    runner = Runner(tiny_checkpoint, tmp_path)
    launch = ["torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    for rank in (0, 1):
        own = [f"--node-rank={rank}", "--master-addr=127.0.0.1", f"--master-port={port}", "-m"]
        command = [sys.executable, "-m", *launch, *own, *runner.command[2:]]
        nodes.append(Runner.started([*command, "batch_size=2", "num_nodes=2"]))
    for node in nodes:
        said, _ = node.communicate(timeout=240)
        assert node.returncode == 0, said
    assert_same(runner.results(), whole)


@pytest.mark.slow
def test_workers_do_not_outlive_a_first_process_that_was_killed(tiny_checkpoint, tmp_path, whole):
    runner = Runner(tiny_checkpoint, tmp_path)
    process = runner.start("batch_size=1", "devices=2", "num_samples=2000")
    runner.until_files(4)
    worker = worker_of(process)
    process.kill()
    process.communicate(timeout=60)
    worker.wait(timeout=30)  # it looks twice a second


def test_a_disk_that_is_full_for_one_process_ends_all_in_one_sentence(tiny_checkpoint, tmp_path):
    process = Runner(tiny_checkpoint, tmp_path).start(
        "devices=2", "strategy=tests.test_processes.Full", "plain_fid=false", "batch_size=2"
    )
    said, _ = process.communicate(timeout=120)  # nobody waits for anybody
    assert process.returncode == 2, said
    assert said.count("No space left on device (process 1): what was finished is kept") == 1


def test_of_several_errors_one_that_ends_the_run_is_told(monkeypatch):
    errors = [SharedError("bad mood"), None, SharedError("no space", fatal=True)]
    monkeypatch.setattr(Processes, "gathered", lambda self, value: errors)
    with pytest.raises(SharedError, match="no space"):
        Processes(mock.Mock(Fabric, world_size=3, global_rank=1)).agree(None)


@pytest.mark.parametrize(
    ("world", "message"),
    [("3", "3 processes"), (None, "num_nodes=2")],
)
def test_processes_that_do_not_add_up_are_refused(monkeypatch, world, message):
    if world is not None:
        monkeypatch.setenv("WORLD_SIZE", world)
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
        monkeypatch.setenv("GROUP_RANK", "0")
    with pytest.raises(ValueError, match=message):
        launched(torch.device("cpu"), devices=1, num_nodes=2, arguments=sys.argv[1:])


def test_bad_settings_are_said_once_and_before_any_process_starts(
    tiny_checkpoint, tmp_path, capsys
):
    # Here no process could be started at all: that would be refused for another reason.
    assert main([*Runner(tiny_checkpoint, tmp_path).settings, "devices=2", "canvas.width=8"]) == 2
    said = capsys.readouterr().err
    assert said.count("at least one window of 16 px") == 1
    assert "devices" not in said


def test_several_processes_need_the_command_line():
    with pytest.raises(ValueError, match="devices=2"):
        launched(torch.device("cpu"), devices=2, num_nodes=1, arguments=["devices=2"])


def test_one_named_device_is_no_several():
    with pytest.raises(ValueError, match="name no single one"):
        launched(torch.device("cuda:1"), devices=2, num_nodes=1, arguments=sys.argv[1:])
