import dataclasses

import pytest

from benchmarks.compare import differ, main
from benchmarks.metrics.estimates import Estimate
from benchmarks.results.fingerprint import MUST_AGREE
from benchmarks.results.records import Results, Row
from patchcanvas.records import write_record

FINGERPRINT = {name: f"some {name}" for name in MUST_AGREE} | {"seed": 0, "device": "an abacus"}
FIGURES = {"fid_plus": Estimate(3.5, 3.0, 4.0), "seam_ratio": Estimate(1.5, 1.4, 1.6)}


def results_of(*rows: Row, name: str = "one") -> Results:
    return Results(
        name=name,
        created="2026-11-20T00:00:00+00:00",
        command="python -m benchmarks.run",
        settings={},
        environment={},
        denoiser={},
        data={},
        features={"name": "random_conv"},
        num_samples=64,
        num_reference=500,
        canvas=(32, 192),
        drift_distance=None,
        rows=list(rows),
    )


def row(name: str, figures=FIGURES, **changed) -> Row:
    return Row(name, True, [], {}, FINGERPRINT | changed, figures, {}, {}, {}, None, [])


@pytest.fixture
def compared(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def compare(first: Results, second: Results) -> tuple[int, str]:
        for number, results in enumerate((first, second)):
            folder = tmp_path / str(number)
            folder.mkdir()
            write_record(folder / "results.json", results)
        # One by its folder and one by its file: both are understood.
        outcome = main([str(tmp_path / "0"), str(tmp_path / "1" / "results.json")])
        return outcome, capsys.readouterr().out

    return compare


def test_equal_runs_are_equal(compared):
    outcome, said = compared(results_of(row("naive")), results_of(row("naive")))
    assert outcome == 0
    assert "no difference" in said
    assert "2 figures are equal to the last bit" in said


def test_protocol_is_printed_before_figures(compared):
    better = FIGURES | {"fid_plus": Estimate(2.0, 1.6, 2.4)}
    outcome, said = compared(results_of(row("naive")), results_of(row("naive", better, seed=1)))
    assert outcome == 0
    assert said.index("seed") < said.index("FID+")
    (line,) = (line for line in said.splitlines() if "FID+" in line)
    # 1.5 apart, where the margin of a difference is hypot(0.5, 0.4) = 0.64.
    assert "-1.5" in line
    assert "beyond chance" in line
    assert "1 figures are equal" in said


@pytest.mark.parametrize("name", MUST_AGREE)
def test_incomparable_runs_are_marked_and_no_verdict_is_given(compared, name):
    other = row("naive", FIGURES | {"fid_plus": Estimate(9.0, 8.0, 9.5)}, **{name: "another"})
    outcome, said = compared(results_of(row("naive")), results_of(other))
    assert outcome == 1
    (line,) = (line for line in said.splitlines() if f" {name} " in line)
    assert line.lstrip().startswith("!")
    assert "must not be compared" in said
    assert "figures (not comparable)" in said
    assert "beyond chance" not in said


@pytest.mark.parametrize(
    ("figure", "name"),
    [("colour_drift", "strip"), ("correlation_gap", "strip"), ("consistency", "clip_sha256")],
)
def test_a_figure_of_another_definition_gets_no_verdict(compared, figure, name):
    first, second = (
        row("naive", {figure: Estimate(value, value - 0.01, value + 0.01)}, **{name: value})
        for value in (0.25, 0.75)
    )
    outcome, said = compared(results_of(first), results_of(second))
    assert outcome == 0
    assert f"another {name}: not comparable" in said
    assert "beyond chance" not in said


@pytest.mark.parametrize(
    ("changed", "name", "values"),
    [
        ({"versions": {"transformers": "5.1"}}, "versions.transformers", "5.1"),
        ({"versions": {"open_clip_torch": "3.2"}}, "versions.open_clip_torch", "3.2"),
        (
            {"context": {"seen_by": {"preprocessing": {"resized_by": "pil"}}}},
            "context.seen_by.preprocessing.resized_by",
            "pil",
        ),
        ({"clip": {"activation": "QuickGELU"}}, "clip.activation", "QuickGELU"),
    ],
)
def test_what_images_are_seen_by_is_printed_where_it_differs(compared, changed, name, values):
    outcome, said = compared(results_of(row("naive")), results_of(row("naive", **changed)))
    assert outcome == 0
    (line,) = (line for line in said.splitlines() if name in line)
    assert values in line


def test_rows_that_only_one_run_has_are_named(compared):
    first = results_of(row("naive"), row("direct"))
    second = results_of(row("naive"), row("diffcollage"), name="two")
    _, said = compared(first, second)
    assert "only in one: direct." in said
    assert "only in two: diffcollage." in said


def test_real_images_and_patches_are_compared_too(compared):
    first, second = (
        dataclasses.replace(results_of(), real=row("real"), patches=row("patches"))
        for _ in range(2)
    )
    _, said = compared(first, second)
    assert "4 figures are equal" in said


def test_chance_is_the_interval_of_a_difference():
    # Half-widths 3 and 4: differences up to 5 are within chance.
    assert not differ(Estimate(10.0, 7.0, 13.0), Estimate(14.9, 10.9, 18.9))
    assert differ(Estimate(10.0, 7.0, 13.0), Estimate(15.1, 11.1, 19.1))


@pytest.mark.parametrize("content", ["{half", "[]", '{"name": "old"}', "null"])
def test_a_damaged_file_is_said_in_one_sentence(tmp_path, capsys, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    assert main([str(path), str(path)]) == 2
    said = capsys.readouterr().err
    assert "results.json must be a record" in said
    assert len(said.strip().splitlines()) == 1


def test_a_missing_file_is_said(tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path)]) == 2
    assert "results.json" in capsys.readouterr().err
