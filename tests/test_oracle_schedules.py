"""The sweep over schedules: every cell within its budget, and as biased as the oracle says."""

import re

import pytest

from benchmarks.oracle.measure import Trial
from benchmarks.oracle.plan import planned, read_command
from benchmarks.tables.columns import ABSENT
from studies.schedules import SCHEDULES, Cell, Sweep, main, measured

SMALL = ["fields=line", "line.width=6", "line.window=4", "line.overlap=2", "line.length=3"]
SMALL += ["solver=euler", "async_patch.region=1"]


def test_the_sweep_prints_every_schedule_within_every_budget(capsys, monkeypatch):
    chosen = ("joint", "uncertainty, stretch 2", "dual_loop")
    monkeypatch.setattr("studies.schedules.SCHEDULES", {name: SCHEDULES[name] for name in chosen})
    assert main([*SMALL, "budget=4,8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[2:4] for line in lines if "(" in line}
    assert set(rows) == set(chosen)
    # Two windows of 4 px on 6: 4/3 of a canvas for every step of a window.
    found = {
        name: [re.findall(r"\((\d+) steps, ([\d.]+)\)", cell) for cell in cells]
        for name, cells in rows.items()
    }
    assert found["joint"] == [[("3", "4.0")], [("6", "8.0")]]
    assert found["uncertainty, stretch 2"] == [[], [("3", "8.0")]]  # 2 steps are 4 of 4/3
    assert found["dual_loop"] == [[], [("2", "8.0")]]
    assert rows["dual_loop"][0].strip() == ABSENT


def test_a_cell_is_what_the_oracle_says_of_so_many_steps():
    command = [
        *SMALL,
        "strategy=async_patch",
        "true_start=false",
        "async_patch.schedule=uncertainty",
    ]
    (job,) = planned(read_command(command))
    cell = measured(job.trials[0], 16.0)
    (again,) = planned(read_command([*command, f"sequential_steps={cell.steps}"]))
    row = again.trials[0].measured()
    assert (cell.w2, cell.steps, cell.error) == (row.w2, 6, None)
    # Fewer evaluations, more bias: 3 levels in place of 6, of a first-order solver.
    assert measured(job.trials[0], 8.0).w2 > 2 * cell.w2


def test_samples_show_their_error_and_their_floor():
    cell = Cell(w2=0.01, error=0.002, floor=0.003, evaluations=16.0, steps=6)
    assert str(cell) == "1.0e-02 ± 2.0e-03 (floor 3.0e-03) (6 steps, 16.0)"


@pytest.mark.parametrize("words", ["budget=many", "budget="])
def test_a_budget_that_is_no_number_is_refused(words, capsys):
    assert main([*SMALL, words]) == 2
    assert "numbers with commas between" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("budget=nan", "budget must be finite numbers above 0, got nan."),
        ("budget=8,inf", "budget must be finite numbers above 0, got 8,inf."),
        ("budget=0", "budget must be finite numbers above 0, got 0."),
        (
            "strategy=replacement",
            "strategy must be async_patch, whose schedules these are, got rep",
        ),
        ("strategy=async_patch,direct", "whose schedules these are, got async_patch, direct."),
    ],
)
def test_what_cannot_be_swept_is_refused_before_any_work(wrong, said, capsys):
    own = SMALL if "budget" in wrong else SMALL[:-1]
    assert main([*own, wrong]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert not captured.out


def test_growth_is_from_nothing_and_settings_are_the_oracles():
    sweep = Sweep.prepare([*SMALL, "budget=[8,9.5]", "async_patch.certain=0.25"])
    assert sweep.budgets == [8.0, 9.5]
    (trial,) = sweep.trials
    assert isinstance(trial, Trial)
    assert trial.true_start is None
    assert trial.strategy.certain == 0.25
