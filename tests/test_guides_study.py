"""One denoiser told in every way: what is asked of the harness, and what is made of its rows."""

from pathlib import Path

import pytest
import torch

from benchmarks.comparison.plan import parse
from benchmarks.metrics.estimates import Estimate
from benchmarks.results.records import Results, Row
from benchmarks.tables.columns import ABSENT
from denoisers.checkpoint import sha256_of
from patchcanvas.pictures import write_picture
from studies import harness
from studies.guides import __main__ as guides
from studies.guides.__main__ import GROWING, WAYS, study, tables

FIGURE = Estimate(0.25, 0.2, 0.3)


def row(strategy: str, **figures: Estimate) -> Row:
    return Row(
        strategy=strategy,
        parallel=None,
        edge_columns=[],
        settings={"solver": {"num_steps": 7}},
        fingerprint={},
        figures=figures,
        real={},
        curves={},
        real_curves={},
        cost=None,
        canvases=[],
        budget=64.0,
    )


def results(*rows: Row) -> Results:
    return Results(
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
        real=row("real", palette_distance=FIGURE),
        rows=list(rows),
    )


@pytest.mark.parametrize("way", WAYS)
def test_the_harness_understands_every_way(way):
    plan = parse([*WAYS[way], "strategy=naive"])
    assert plan.settings.context.mode != "auto"


def test_every_way_is_measured_at_one_budget(tmp_path, monkeypatch, capsys):
    asked = []

    def measured(folder, name, strategies, *words):
        asked.append((name, strategies, words))
        rows = (row(f"{strategy}@64", fid_plus=FIGURE) for strategy in strategies)
        return harness.Run(tmp_path, results(*rows))

    monkeypatch.setattr(guides, "measured", measured)
    settings = ("lshape_repaint.jump_n_sample=1", "precision=bf16")
    assert study(settings=settings, folder=tmp_path) == 0
    assert len({name for name, _, _ in asked}) == len(asked) == len(WAYS)
    for (_, strategies, words), way in zip(asked, WAYS, strict=True):
        assert strategies == (
            ["lshape_repaint"] if way in GROWING else ["diffcollage", "lshape_repaint"]
        )
        assert {*WAYS[way], "budget=[64.0]", *settings} <= set(words)
    # The settings of a strategy that is not run would be refused.
    asked.clear()
    assert (
        study(strategies=("diffcollage",), ways=("plan",), settings=settings[1:], folder=tmp_path)
        == 0
    )
    assert "precision=bf16" in asked[0][2]
    assert (tmp_path / "table.md").read_text() in capsys.readouterr().out


def test_the_table_has_a_line_for_every_way():
    found = {
        "unconditional": results(row("diffcollage@64", palette_distance=FIGURE), row("naive@64")),
        "plan": results(row("diffcollage@64", fid_plus=FIGURE)),
    }
    runs = {way: harness.Run(Path("nowhere"), one) for way, one in found.items()}
    lines = tables(runs, ("diffcollage",), "N = 3").splitlines()
    assert lines[:3] == ["N = 3", "", "`diffcollage`:"]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in lines[6:]]
    interval = "0.25 (0.2 to 0.3)"
    assert rows == [
        ["unconditional", ABSENT, interval, *[ABSENT] * 4, "7"],
        ["plan", interval, *[ABSENT] * 5, "7"],
        ["other real panoramas", ABSENT, interval, *[ABSENT] * 5],
    ]


def test_a_run_that_is_there_is_not_made_again(tmp_path, monkeypatch):
    found = results(row("naive@64"), row("direct@64"))
    monkeypatch.setattr(harness, "readable", lambda kind, path, name: found)
    monkeypatch.setattr(harness, "run", lambda *words: pytest.fail("it was made again"))
    (tmp_path / "20260101-000000-name").mkdir()
    (tmp_path / "20260101-000000-name" / "results.json").touch()
    assert harness.measured(tmp_path, "name", ["naive", "direct"]).results is found
    # Asked for otherwise, or of other weights.
    found.command = "python -m benchmarks.run strategy=naive seed=1 batch_size=8"
    found.denoiser["weights_sha256"] = sha256_of(__file__)
    asked = tmp_path, "name", ["naive"]
    assert harness.finished(*asked, "seed=1", "batch_size=4", f"denoiser={__file__}")
    assert not harness.finished(*asked, "seed=2")
    assert not harness.finished(*asked, "seed=1", f"denoiser={guides.__file__}")
    # One row is missing.
    assert harness.finished(tmp_path, "name", ["naive", "direct", "diffcollage"]) is None


def test_pictures_of_all_ways_lie_under_what_was_shown(tmp_path):
    for folder, name in (("a", "seed images"), ("a", "diffcollage@64"), ("b", "diffcollage@64")):
        for index in range(2):
            picture = torch.full((3, 4, 8), 100 * index + len(folder + name), dtype=torch.uint8)
            write_picture(picture, tmp_path / folder / "canvases" / f"{name}-{index:03d}.png")
    found = {way: harness.Run(tmp_path / way, results()) for way in ("a", "b")}
    rows = harness.pictured(found, "diffcollage@*")
    assert list(rows) == ["seed images", "a", "b"]
    assert rows["a"][:, 0, 0, 0].tolist() == [15, 115]
    assert harness.pictured(found, "naive@*") == {}


def test_ways_that_nothing_can_see_are_refused(tmp_path, capsys):
    assert study(strategies=("naive",), ways=("autoregressive",), folder=tmp_path / "none") == 2
    assert "naive sees nothing of a canvas before it is done" in capsys.readouterr().err


def test_unknown_ways_are_refused(tmp_path, capsys):
    assert study(ways=("sideways",), folder=tmp_path / "none") == 2
    assert "ways must be among unconditional, seed image" in capsys.readouterr().err
    assert study(strategies=("diffcolage",), folder=tmp_path / "none") == 2
    assert "did you mean 'diffcollage'?" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
