"""Runs as users start them: in processes of their own, several together, killed and gone on."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from benchmarks.processes import launched
from benchmarks.records import Results
from denoisers.checkpoint import save_denoiser
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet

ROOT = Path(__file__).parent.parent
SAMPLES = 9


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    denoiser = EDMPrecond(UNet(channels=(32,), blocks=(1,), attention_levels=0), 16)
    for parameter in denoiser.parameters():
        parameter.data.normal_(std=0.1)  # a fresh network ends in zeros, which hides rounding
    save_denoiser(denoiser, path, provenance={"command": "none: untrained"})
    return path


class Runner:
    """Starts the harness on its command line; one folder of results each."""

    def __init__(self, weights: Path, folder: Path) -> None:
        self.folder = folder
        self.command = [
            *(sys.executable, "-m", "benchmarks.run"),
            "strategy=diffcollage",
            f"denoiser={weights}",
            f"results={folder / 'results'}",
            f"cache={folder / 'cache'}",
            f"num_samples={SAMPLES}",
            "num_reference=16",
            "solver.num_steps=3",
            "latency_repeats=1",
            "device=cpu",
            "window_batch=4",
            "loggers=[]",
        ]

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
        return Results.read(path)

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
def whole(weights, tmp_path_factory):
    """One process that nothing disturbs."""
    return Runner(weights, tmp_path_factory.mktemp("whole")).run("batch_size=8")


def assert_same(results: Results, whole: Results) -> None:
    for name in ("real", "patches"):
        assert getattr(results, name).figures == getattr(whole, name).figures
    (row,), (expected,) = results.rows, whole.rows
    # To the last bit: the rows of statistics are sorted before they are summed.
    assert row.figures == expected.figures
    assert row.curves == expected.curves
    assert row.fingerprint == expected.fingerprint


def test_two_processes_make_the_figures_of_one(weights, tmp_path, whole):
    runner = Runner(weights, tmp_path)
    assert_same(runner.run("batch_size=2", "devices=2"), whole)
    names = [Path(name) for name in runner.files()]
    held = [
        index
        for path in names
        if path.parent.name == "diffcollage"
        for index in range(int(path.stem[:6]), int(path.stem[7:]) + 1)
    ]
    assert sorted(held) == list(range(SAMPLES))  # exactly so many, none twice


def test_a_killed_run_goes_on_with_more_processes_and_makes_nothing_twice(weights, tmp_path, whole):
    runner = Runner(weights, tmp_path)
    process = runner.start("batch_size=1")
    runner.until_files(random.Random(time.time()).randint(1, SAMPLES))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    made = runner.files()
    assert_same(runner.run("batch_size=2", "devices=2"), whole)
    after = runner.files()
    assert made.items() <= after.items()  # neither lost nor written again


def test_a_worker_that_dies_ends_the_run_and_the_same_command_goes_on(weights, tmp_path, whole):
    runner = Runner(weights, tmp_path)
    process = runner.start("batch_size=1", "devices=2")
    runner.until_files(2)
    # Of the children the one that runs the harness, not a compiler's or a tracker's.
    (worker,) = [
        child
        for child in psutil.Process(process.pid).children()
        if "benchmarks.run" in " ".join(child.cmdline())
    ]
    worker.kill()
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0, said
    made = runner.files()
    assert_same(runner.run("batch_size=1", "devices=2"), whole)
    assert made.items() <= runner.files().items()


@pytest.mark.slow
def test_processes_that_torchrun_starts_on_two_nodes_make_the_figures_of_one(
    weights, tmp_path, whole
):
    runner = Runner(weights, tmp_path)
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


def test_bad_settings_are_said_once_and_before_any_process_starts(weights, tmp_path):
    process = Runner(weights, tmp_path).start("devices=2", "canvas.width=8")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert said.count("at least one window of 16 px") == 1
    assert "distributed" not in said


def test_several_processes_need_the_command_line():
    with pytest.raises(ValueError, match="start the run from there, got devices=2"):
        launched(torch.device("cpu"), devices=2, num_nodes=1, arguments=["devices=2"])


def test_one_named_device_is_no_several():
    with pytest.raises(ValueError, match="name no single one"):
        launched(torch.device("cuda:1"), devices=2, num_nodes=1, arguments=sys.argv[1:])
