"""The study must train both networks alike, and say of a known error what it is."""

import math
from pathlib import Path

import pytest
import torch

from benchmarks.comparison.plan import parse
from benchmarks.metrics.estimates import Estimate
from benchmarks.results.records import Results, Row
from benchmarks.tables.columns import ABSENT
from denoisers.full_size import FullSize
from denoisers.gaussian import GaussianDenoiser
from lightning_modules.__main__ import main
from studies.half_patches import canvases
from studies.half_patches.__main__ import study
from studies.half_patches.canvases import network_canvases, perfect_canvases
from studies.half_patches.estimates import (
    Halves,
    asked,
    excess_over_best,
    excess_over_exact,
    ways_of,
)
from studies.half_patches.fields import FIELD, Fields
from studies.half_patches.measuring import Measuring
from studies.half_patches.table import canvas_table, excess_table, perfect_table
from studies.half_patches.training import DATA, NETWORKS, Training
from studies.harness import Run

EXACT = GaussianDenoiser(FIELD, patch_size=8)
LEVELS = (0.2, 1.0, 5.0)
NOTHING = Estimate(0.0, 0.0, 0.0)
OFF, NOT = ("off", "own_size"), ("exact", "own_size")


def training(folder, data: str = "fields", network: str = "wholes") -> Training:
    return Training.of(data, network, steps=7, seed=3, folder=folder)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("data", DATA)
def test_every_training_can_be_built(data, network, tmp_path, monkeypatch):
    subcommand, *flags = training(tmp_path, data, network).command
    assert subcommand == "fit"
    monkeypatch.chdir(tmp_path)
    cli = main(flags, run=False)
    assert cli.model.half_share == NETWORKS[network]
    assert cli.model.half_axes == ("width",)
    assert cli.model.denoiser.takes_noise_maps
    assert cli.model.denoiser.patch_size == cli.datamodule.patch_size
    assert isinstance(cli.datamodule.data, Fields) == (data == "fields")
    if data == "fields":
        assert cli.model.denoiser.sigma_data == math.sqrt(FIELD.variance)


@pytest.mark.parametrize("data", DATA)
def test_networks_differ_in_their_halves_alone(data, tmp_path):
    commands = [training(tmp_path, data, network).command for network in NETWORKS]
    differ = [pair for pair in zip(*commands, strict=True) if pair[0] != pair[1]]
    halves, wholes = zip(*differ, strict=True)
    assert "--model.half_share=0.5" in halves
    assert "--model.half_share=0.0" in wholes
    assert [flag.replace("halves", "wholes") for flag in halves if "share" not in flag] == [
        flag for flag in wholes if "share" not in flag
    ]


def test_crops_are_samples_of_the_field():
    data = Fields()
    crops = data.crops("train", 2048, 4, 4).double() / 127.5 - 1
    assert torch.equal(data.crop("train", 3, 4, 4), data.crops("train", 1, 4, 4, first=3)[0])
    assert not torch.equal(data.crop("train", 3, 4, 4), data.crop("test", 3, 4, 4))
    assert not torch.equal(data.crop("train", 3, 4, 4), Fields(seed=1).crop("train", 3, 4, 4))
    scaled = math.sqrt(3) / FIELD.columns_length
    neighbours = (1 + scaled) * math.exp(-scaled)
    across = (crops[..., 1:] * crops[..., :-1]).mean() / FIELD.variance
    # At least 6,144 independent numbers, so a standard error of 0.018 on both; bytes add 1e-4.
    assert crops.square().mean().item() / FIELD.variance == pytest.approx(1, abs=0.09)
    assert across.item() == pytest.approx(neighbours, abs=0.09)


def halves(count: int = 64) -> Halves:
    return Halves.of_field(FIELD, 8, count, seed=0)


def shifted(by: float):
    """The exact denoiser, off by so much everywhere."""
    return lambda x_t, sigma, context=None: EXACT(x_t, sigma) + by


def test_a_known_error_is_what_is_measured():
    found = excess_over_exact({OFF: shifted(0.1), NOT: EXACT}, EXACT, halves(), LEVELS)
    x_t = torch.zeros(1, 3, 8, 4)
    for level, off, exactly in zip(LEVELS, found[OFF], found[NOT], strict=True):
        least = EXACT.variance(x_t, torch.full((1, 1, 1, 1), level)).mean().item()
        # float32 estimates.
        assert off.value == pytest.approx(0.01 / least, rel=1e-4)
        assert off.high - off.low == pytest.approx(0, abs=1e-3 * off.value)
        assert exactly == NOTHING


def test_both_measures_agree_where_the_best_is_exact():
    """The error of the posterior mean is uncorrelated with what is made of x_t."""
    denoisers = {("exact", "grey"): FullSize(EXACT, "grey"), OFF: shifted(0.05)}
    many = halves(1024)
    exactly = excess_over_exact(denoisers, EXACT, many, LEVELS)
    above = excess_over_best(denoisers, EXACT, many, LEVELS)
    for name in denoisers:
        for one, other in zip(exactly[name], above[name], strict=True):
            # Intervals are 1.96 standard errors: five of them.
            assert abs(one.value - other.value) < 5 / 1.96 * (other.high - other.value)


def test_the_best_is_not_above_itself():
    (found,) = excess_over_best({NOT: EXACT}, EXACT, halves(), LEVELS).values()
    assert found == [NOTHING] * 3


def test_all_denoisers_are_shown_the_same_noise():
    seen = []
    one = halves(300)
    for _ in range(2):
        one.estimates(lambda x_t, sigma, context=None: seen.append(x_t) or x_t, 1.0)
    # In parts, so that the memory of a call is bounded.
    assert len(seen) > 2
    assert torch.equal(torch.cat(seen[: len(seen) // 2]), torch.cat(seen[len(seen) // 2 :]))


def test_ways_are_those_that_a_denoiser_takes():
    assert ways_of(EXACT) == ["own_size", "mirrored", "pure_noise", "grey"]
    alone = GaussianDenoiser(FIELD, patch_size=8)
    alone.takes_noise_maps = False
    assert ways_of(alone) == ["own_size", "mirrored", "grey"]
    assert asked(alone, "own_size") is alone
    assert asked(alone, "grey").filling == "grey"


@pytest.mark.parametrize("way", ways_of(EXACT))
def test_the_harness_is_asked_for_canvases_of_a_way(way, tmp_path, monkeypatch):
    def measured(folder, name, strategies, *words):
        return name, parse([f"strategy={','.join(strategies)}", *words])

    monkeypatch.setattr(canvases, "measured", measured)
    name, plan = network_canvases.__wrapped__(
        Path("checkpoints/landscapes.safetensors"), way, tmp_path, "num_samples=3"
    )
    assert name == f"landscapes-{way}"
    assert plan.strategies["diffcollage"].variables == way
    assert plan.settings.num_samples == 3


ROW = Row(
    strategy="diffcollage",
    parallel=True,
    edge_columns=[],
    settings={},
    fingerprint={},
    figures={"fid_plus": Estimate(1.5, 1.0, 2.0)},
    real={},
    curves={},
    real_curves={},
    cost=None,
    canvases=[],
)


RESULTS = Results(
    name="",
    created="",
    command="",
    settings={},
    environment={},
    denoiser={},
    data={},
    features={},
    num_samples=3,
    num_reference=5,
    canvas=(32, 192),
    drift_distance=128,
    real=ROW,
    rows=[ROW],
)


def test_tables_have_a_row_for_every_denoiser_and_way():
    head, _, row, real = cells_of(canvas_table({("wholes", "grey"): Run(Path("nowhere"), RESULTS)}))
    assert row == ["`wholes`", "`grey`", "1.5 (1 to 2)", *[ABSENT] * 5]
    assert real == ["other real panoramas", ABSENT, "1.5 (1 to 2)", *[ABSENT] * 5]
    assert len(head) == len(row)
    excess = {("wholes", "grey"): [Estimate(0.0213, 0.0173, 0.0253)]}
    head, _, row = cells_of(excess_table(excess, (0.5,)))
    assert head == ["denoiser", "variables", "sigma 0.5"]
    assert row == ["`wholes`", "`grey`", "2.1 ± 0.4"]
    excess = {("wholes", "grey"): [Estimate(-1e-6, -2e-6, 0.0)]}
    assert cells_of(excess_table(excess, (0.5,)))[-1][-1] == "0.0 ± 0.0"


def cells_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]


@pytest.mark.parametrize(
    ("wrong", "must"),
    [
        ({"num_crops": 1}, "num_crops must be at least 2, and levels positive"),
        ({"levels": ()}, "num_crops must be at least 2, and levels positive"),
        ({"levels": (0.0, 1.0)}, "num_crops must be at least 2, and levels positive"),
        ({"checkpoints": (Path("none.safetensors"),)}, "checkpoints must be files, got none"),
    ],
)
def test_bad_input_is_said_before_any_training(wrong, must, tmp_path, capsys):
    assert study(folder=tmp_path / "study", **wrong) == 2
    assert must in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_landscapes_are_compared_with_the_best_of_their_own(tmp_path, monkeypatch):
    measuring = Measuring(
        steps=7,
        seed=0,
        num_crops=2,
        levels=(1.0,),
        num_samples=3,
        num_reference=5,
        num_steps=2,
        checkpoints=(Path("checkpoints/one.safetensors"),),
        folder=tmp_path,
    )
    small = GaussianDenoiser(FIELD, patch_size=8)
    monkeypatch.setattr(Measuring, "_loaded", lambda self, path: small)
    trained = {network: Path(f"landscapes-{network}.safetensors") for network in NETWORKS}
    monkeypatch.setattr(Measuring, "trained", lambda self, data: trained)
    found = measuring.landscapes()
    assert {name for name, _ in found} == {"halves", "wholes", "one"}
    for name in ("halves", "wholes", "one"):
        assert found[name, "own_size"] == [NOTHING]
    assert ("perfect", "own_size") not in measuring.fields()
    monkeypatch.setattr(Measuring, "_run", lambda self, path, way: Run(path / way, RESULTS))
    rows = measuring.canvases()
    assert next(iter(rows)) == ("halves", "own_size")
    assert rows["wholes", "grey"].folder == trained["wholes"] / "grey"
    assert len(rows) == 1 + 4 + 4


@pytest.mark.slow
def test_a_perfect_denoiser_is_perfect_beside_pure_noise():
    rows = perfect_canvases()
    fields = {field for field, _ in rows}
    for field in fields:
        own = rows[field, "own_size"].w2
        assert rows[field, "pure_noise"].w2 == pytest.approx(own, abs=1e-3)
        assert rows[field, "mirrored"].w2 > own + 0.005
    assert len(perfect_table(rows).splitlines()) == 2 + 4 * len(fields)


@pytest.mark.slow
def test_a_study_from_training_to_table(tmp_path, monkeypatch, capfd):
    # A minute each time, and tested above.
    monkeypatch.setattr("studies.half_patches.__main__.perfect_canvases", dict)
    settings = {"steps": 4, "num_crops": 4, "levels": (1.0,), "num_steps": 2}
    settings |= {"num_samples": 3, "num_reference": 8, "checkpoints": ()}
    assert study(folder=tmp_path, **settings) == 0
    (folder,) = tmp_path.iterdir()
    table = (folder / "table.md").read_text()
    assert table.count("| `wholes` ") == 4 + 4 + 4
    # Again: nothing is trained or sampled anew.
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    capfd.readouterr()
    assert study(folder=tmp_path, **settings) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(folder.glob("*-landscapes-wholes-grey"))) == 1
