"""Every preset must parse, and a scaled-down twin must be its big one in all but size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.comparison.plan import parse
from benchmarks.latency.__main__ import main as latency
from benchmarks.latency.plan import read_command
from benchmarks.run import main as run
from datamodules.lhq import Lhq
from datamodules.lsun_tower import LsunTower
from sampling.solvers import Heun

CONFIGS = Path(__file__).parents[1] / "configs"
BENCHMARKS = sorted(path.stem for path in (CONFIGS / "benchmarks").glob("*.yaml"))
LATENCY = sorted(path.stem for path in (CONFIGS / "latency").glob("*.yaml"))
TWINS = [name for name in BENCHMARKS + LATENCY if f"{name}_small" in BENCHMARKS + LATENCY]

# What a twin may change: the data and weights that one has, how much of it, and its features.
SIZE = {"data", "denoiser", "num_samples", "num_reference", "batch_size", "features"}
SIZE |= {"runtime.precision", "repeats", "solver.init_args.num_steps"}
SIZE |= {"widths", "most_seconds", "batches"}

STOCHASTIC = Heun(num_steps=80, churn=40.0, s_min=0.05, s_max=50.0, s_noise=1.003)


@pytest.fixture
def photographs(tmp_path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(np.full((256, 300, 3), 60 * number, np.uint8)).save(
            folder / f"{number}.png"
        )
    return folder


def tokens(name: str, photographs: Path) -> list[str]:
    """The command line of a preset, with the folder it asks for."""
    text = (CONFIGS / "benchmarks" / f"{name}.yaml").read_text()
    return [f"preset={name}", *([f"data.root={photographs}"] if "datamodules.lhq" in text else [])]


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and name != "data":
            found |= flat(value, f"{above}{name}.")
        else:
            found[above + name] = value
    return found


def record(name: str, photographs: Path) -> dict[str, Any]:
    if name in LATENCY:
        return flat(read_command([f"preset={name}"]).record)
    return flat({**parse(tokens(name, photographs)).record, "config": None})


def test_the_tables_and_the_figure_are_there_with_their_twins():
    assert TWINS == ["diffcollage_table1", "diffcollage_table2", "diffcollage_fig5"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_preset_parses(name, photographs):
    assert parse(tokens(name, photographs)).strategies


@pytest.mark.parametrize("name", LATENCY)
def test_a_preset_of_the_latency_benchmark_parses(name):
    assert read_command([f"preset={name}"]).classes


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_has_the_protocol_of_its_big_one(name, photographs):
    big, small = record(name, photographs), record(f"{name}_small", photographs)
    assert set(big) == set(small)
    different = {key for key in big if big[key] != small[key]}
    assert different - {"config"} <= SIZE
    assert "solver.init_args.num_steps" in different


@pytest.mark.parametrize(
    ("name", "strategies", "patches"),
    [
        ("diffcollage_table1", ["naive", "replacement", "reconstruction", "diffcollage"], False),
        ("diffcollage_table2", ["replacement", "reconstruction", "diffcollage"], True),
    ],
)
def test_a_table_is_what_the_paper_says(name, strategies, patches, photographs):
    plan = parse(tokens(name, photographs))
    settings = plan.settings
    assert list(plan.strategies) == strategies
    assert all(strategy.solver == STOCHASTIC for strategy in plan.strategies.values())
    assert (settings.num_samples, settings.features) == (50_000, "inception")
    assert (settings.canvas.height, settings.canvas.width) == (None, None)  # W/H = 6
    assert settings.plain_fid == patches
    assert isinstance(settings.data, Lhq)
    assert settings.data.side == settings.data.patch_size == 256
    # A run that was given no weights must stop, not fall back on those of another data set.
    assert not (CONFIGS.parent / settings.denoiser).exists()


def test_the_figure_is_what_the_paper_says():
    command = read_command(["preset=diffcollage_fig5"])
    assert list(command.classes) == ["naive", "replacement", "reconstruction", "diffcollage"]
    assert command.settings.widths == (1, 2, 4, 8, 16, 32)
    assert command.settings.solver == STOCHASTIC
    assert not (CONFIGS.parent / command.settings.denoiser).exists()


def test_the_other_half_of_table_2_takes_its_words(tmp_path):
    pytest.importorskip("lmdb")
    from tests.test_lsun_tower import encoded, key, put

    root = put(tmp_path, {key(number): encoded(number, (256, 256)) for number in range(5)})
    words = ["preset=diffcollage_table2", "data=datamodules.lsun_tower.LsunTower"]
    settings = parse([*words, f"data.root={root}"]).settings
    assert isinstance(settings.data, LsunTower)
    assert settings.data.side == settings.data.patch_size == 256
    assert settings.num_samples == 50_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["diffcollage_table1_small", "diffcollage_table2_small"])
def test_a_twin_runs_to_the_end(name, tmp_path, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    assert not run([f"preset={name}", f"results={tmp_path}", f"cache={tmp_path / 'cache'}"])
    assert list(tmp_path.glob("*/report.html"))


@pytest.mark.slow
def test_the_twin_of_the_figure_runs_to_the_end(tmp_path, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    assert latency(["preset=diffcollage_fig5_small", f"results={tmp_path}"]) == 0
    assert list(tmp_path.glob("*/latency.png"))
